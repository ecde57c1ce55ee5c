"""What tickets look like, described once they are trained.

Everything here follows from what the trials of a run have stored; it is made
whenever it is missing or of other trials, and trains nothing.
"""

import json
from typing import Any

from etils import epath

from lth_jax.analysis import summary
from lth_jax.config.plan import Trial
from lth_jax.runner import build
from lth_jax.runner import checkpoints as checkpoints_lib
from lth_jax.storage import files, store

FORMAT = 2


def settle(
  parts: build.Study, stores: checkpoints_lib.Stores, replicate: int
) -> None:
  """Writes `replicate_<r>/structure.json` unless it is there and up to date.

  It holds `analysis.summary.describe` of every stored ticket: its connections,
  its initial weights, and how far the dense network's weights moved inside and
  outside of it. There is none of a dense network that diverged.

  Args:
    parts: of the run.
    stores: where its trials lie.
    replicate: index of the replicate.
  """
  tickets = [
    Trial(replicate, index, "ticket")
    for index in range(parts.config.study.rounds + 1)
  ]
  found = {
    ticket: record
    for ticket in tickets
    if (record := checkpoints_lib.read_record(stores, ticket.name)) is not None
    and not (ticket.round == 0 and record["diverged"])
  }
  if tickets[0] not in found:
    return
  header = {
    "format": FORMAT,
    "run_id": stores.run_id,
    "replicate": replicate,
    "theta_0": found[tickets[0]]["origin"]["theta_0"],
    "trained": found[tickets[0]]["digests"]["params"],
    "masks": {str(x.round): y["digests"]["masks"] for x, y in found.items()},
  }
  path = stores.folder / f"replicate_{replicate}" / "structure.json"
  if _read_header(path) == header:
    return
  start = build.initial_start(parts, replicate)

  def arrays(name: str) -> dict[str, Any]:
    stored = checkpoints_lib.read_arrays(stores, name, start)
    if stored is None:
      raise store.DamagedError(
        f"{stores.folder / name} was damaged meanwhile; start the same command "
        "to make it again."
      )
    return stored

  initial = arrays(checkpoints_lib.rewind_name(replicate))["params"]
  trained = arrays(tickets[0].name)["params"]
  rounds = {
    str(ticket.round): summary.describe(
      initial, trained, arrays(ticket.name)["masks"]
    )
    for ticket in found
  }
  stores.check()
  content = files.add_checksum(header | {"rounds": rounds})
  files.write(path, json.dumps(content, allow_nan=False).encode() + b"\n")


def _read_header(path: epath.Path) -> dict[str, Any] | None:
  """All but the description; None if it is not there or damaged."""
  try:
    content = files.verify_checksum(files.read_json(path))
  except ValueError:
    return None
  content.pop("rounds", None)
  return content
