"""The list of rows: what each is for, how it is run, what it takes, its state.

Three lines a row; the third is the command.
"""

import shlex
from collections.abc import Sequence

from etils import epath

from experiments import costs
from experiments._paper import catalog
from lth_jax.config import configs, plan
from lth_jax.config.configs import Config
from lth_jax.parallel import progress
from lth_jax.runner import workdir
from lth_jax.storage import files, store

_HEAD = f"""\
Time (h:mm:ss) is that of all trainings, about, on 2 CPU cores.
Where data are not found, add --data_dir=DIR. Figure {catalog.NETWORKS} shows \
the networks and
needs no training: python -m experiments.paper --figure={catalog.NETWORKS}
"""
_LINE = "{:<24}{:<53}{:<6}{:>5}{:>10}{:>12}  {}"


def text(
  rows: Sequence[catalog.Row], scale: str, folder: epath.Path | None
) -> str:
  """Lists rows.

  Args:
    rows: of the catalog.
    scale: one of `catalog.SCALES`.
    folder: where their runs lie, or None.
  """
  columns = "row", "figures", "scale", "runs", "trainings", "time", "state"
  lines = [_HEAD, _LINE.format(*columns)]
  for row in rows:
    lines += [
      _numbers(row, scale, folder),
      f"  {row.what}",
      f"  {_command(row, scale, folder)}",
    ]
  return "\n".join(lines)


def _numbers(row, scale, folder) -> str:
  runs = {run.name: catalog.config(run) for run in catalog.runs(row, scale)}
  counts = {
    name: catalog.num_trainings(config) for name, config in runs.items()
  }
  needed = sum(
    counts[name] * costs.seconds(config) for name, config in runs.items()
  )
  return _LINE.format(
    row.name,
    ", ".join(row.figures),
    scale,
    len(runs),
    sum(counts.values()),
    progress.duration(needed),
    "-" if folder is None else _state(runs, folder),
  )


def _command(row, scale, folder) -> str:
  where = shlex.quote(str(folder or "runs/paper"))
  return (
    f"python -m experiments.paper --row={row.name} --scale={scale} "
    f"--workdir={where}"
  )


def _state(runs: dict[str, Config], folder: epath.Path) -> str:
  if any(_is_other(config, folder / name) for name, config in runs.items()):
    return "other runs are there"
  found = [num_done(config, folder / name) for name, config in runs.items()]
  done, planned = map(sum, zip(*found))
  if done == planned:
    return "complete"
  return f"{done} of {planned} trainings" if done else "not begun"


def _is_other(config: Config, folder: epath.Path) -> bool:
  """Says whether a folder holds another run, such as one of another scale."""
  if not (folder / "config.json").exists():
    return False
  stored = workdir.read_config(folder)
  return configs.run_id(stored) != configs.run_id(config)


def num_done(config: Config, folder: epath.Path) -> tuple[int, int]:
  """Counts a run's trainings that are stored, and all that it will have.

  Where masks would come from a trial that diverged, the replicate's series has
  ended.

  Args:
    config: the run.
    folder: its workdir; files are trusted, not checked.
  """
  done = planned = 0
  for replicate in plan.replicates(config):
    for index in range(config.study.rounds + 1):
      asked = plan.of_round(config, replicate, index)
      stored = [trial for trial in asked if store.exists(folder / trial.name)]
      planned += len(asked)
      done += len(stored)
      if any(
        plan.supplies_masks(config, trial)
        and files.read_json(folder / trial.name / "record.json")["diverged"]
        for trial in stored
      ):
        break
  return done, planned
