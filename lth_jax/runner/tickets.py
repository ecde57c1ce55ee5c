"""What tickets look like, described once they are trained.

Everything here follows from what the trials of a run have stored; it is made
whenever it is missing or of other trials, and trains nothing.
"""

import json
from typing import Any

from etils import epath

from lth_jax.analysis import summary
from lth_jax.config import plan
from lth_jax.config.plan import Trial
from lth_jax.runner import build
from lth_jax.runner import checkpoints as checkpoints_lib
from lth_jax.runner.checkpoints import Checkpoints
from lth_jax.runner.records import Results
from lth_jax.storage import files


def describe(
  components: build.Components, checkpoints: Checkpoints, results: Results
) -> None:
  """Writes `structure.json` of each replicate, unless it is up to date.

  It holds `analysis.summary.describe` of every ticket: its connections, its
  initial weights, and how far the dense network's weights moved inside and
  outside of it. A dense network that diverged has none.
  """
  for replicate in plan.replicates(components.config):
    _describe(components, checkpoints, results, replicate)


def _describe(components, checkpoints, results, replicate: int) -> None:
  dense = Trial(replicate, 0, "ticket")
  if dense.name not in results or results[dense.name]["diverged"]:
    return
  tickets = [
    ticket
    for index in range(components.config.study.rounds + 1)
    if (ticket := dense._replace(round=index)).name in results
  ]
  header = {
    "format": files.FORMAT,
    "run_id": checkpoints.run_id,
    "replicate": replicate,
    "theta_0": results[dense.name]["origin"]["theta_0"],
    "trained": results[dense.name]["digests"]["params"],
    "masks": {
      str(x.round): results[x.name]["digests"]["masks"] for x in tickets
    },
  }
  path = checkpoints.folder / f"replicate_{replicate}" / "structure.json"
  if _read_header(path) == header:
    return

  def arrays(name: str) -> dict[str, Any]:
    return checkpoints_lib.load_arrays(checkpoints, name, components.like)

  initial = arrays(checkpoints_lib.rewind_name(replicate))["params"]
  trained = arrays(dense.name)["params"]
  rounds = {
    str(ticket.round): summary.describe(
      initial, trained, arrays(ticket.name)["masks"]
    )
    for ticket in tickets
  }
  checkpoints.check()
  content = files.add_checksum(header | {"rounds": rounds})
  # On one line: indented, it would have a line for each number.
  text = json.dumps(content, allow_nan=False) + "\n"
  files.write(path, text.encode())


def _read_header(path: epath.Path) -> dict[str, Any] | None:
  """All but the description; None if it is not there or damaged."""
  try:
    content = files.verify_checksum(files.read_json(path))
  except ValueError:
    return None
  content.pop("rounds", None)
  return content
