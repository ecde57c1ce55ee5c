"""Reproduces the paper: the runs of any figure, by one command.

  python -m experiments.paper --list --workdir=runs/paper
  python -m experiments.paper --figure=4a --scale=cpu --workdir=runs/paper

Each run has its own folder below the workdir and is resumed there; figures that
need the same trainings share them. With a figure or a row, `--list` also prints
the command of each run alone, to copy and change. Flags that say how runs are
computed (`--devices`, `--data_dir`, ...) hold for all runs. `--data_dir` may
have a folder for each data set, `mnist` and `cifar10`.
"""

import dataclasses
import sys
from collections.abc import Sequence

from absl import flags as absl_flags
from etils import epath

from experiments._paper import catalog, figures, listing, networks
from lth_jax import errors, runner
from lth_jax.config import configs, flags
from lth_jax.report import comparison
from lth_jax.runner import command


def main(argv: Sequence[str]) -> None:
  """Lists rows of the catalog, or runs those of a figure."""

  def run():
    asked = _flags()
    command.parse(asked, argv)
    rows = _rows(asked)
    if asked.list:
      folder = runner.connect(flags.workdir(asked)) if asked.workdir else None
      command.show(listing.text(rows, asked.scale, folder))
    elif asked.figure == catalog.NETWORKS:
      command.show(networks.markdown())
    else:
      _train(rows, asked)

  command.call(run)


def _flags() -> absl_flags.FlagValues:
  values = absl_flags.FlagValues()
  own = flags.group(values)
  absl_flags.DEFINE_bool(
    "list", False, "Lists all rows, or those asked for, and ends.", **own
  )
  absl_flags.DEFINE_string(
    "figure",
    None,
    "Of the paper, such as 4a; or rewinding, or retraining.",
    **own,
  )
  absl_flags.DEFINE_string("row", None, "Of the list, or a figure.", **own)
  absl_flags.DEFINE_enum(
    "scale",
    "cpu",
    catalog.SCALES,
    "The paper's settings, smaller ones for a CPU, or seconds that show that "
    "the code runs.",
    **own,
  )
  flags.define(values, configs.Config(), ("execution",))
  return values


def _rows(asked: absl_flags.FlagValues) -> Sequence[catalog.Row]:
  if asked.list and asked.figure is None and asked.row is None:
    return catalog.ROWS
  if (asked.figure is None) == (asked.row is None):
    raise errors.InputError(
      "Give --figure=4a or --row=mnist_lenet, or --list to see all of them."
    )
  if asked.figure is not None:
    return catalog.find(asked.figure)
  found = [row for row in catalog.ROWS if row.name == asked.row]
  if not found:
    raise errors.InputError(
      f"--row={asked.row}: there is none; --list shows all of them."
    )
  return found


def _train(rows: Sequence[catalog.Row], asked: absl_flags.FlagValues) -> None:
  folder = runner.connect(flags.workdir(asked))
  folder.mkdir(parents=True, exist_ok=True)
  execution = [
    asked[field.name].serialize()
    for field in dataclasses.fields(configs.Execution)
    if asked[field.name].present
  ]
  todo = [
    (row, run.name, flags.parse([*run.arguments, *execution]))
    for row in rows
    for run in row.scales[asked.scale]
  ]
  # Before processes join, so that none waits in vain for one without images.
  command.check_data(config for _, _, config in todo)
  with command.runs(asked) as run_config:
    for row, name, config in todo:
      runner.log(f"{name}: {row.what}, {asked.scale} scale")
      run_config(row.name, config, folder / name)
  trained = {name for _, name, _ in todo}
  number = asked.figure or next(iter(rows[0].figures), None)
  if number is not None:
    runner.on_process_0(lambda: _compare(number, asked.scale, trained, folder))


def _compare(
  number: str, scale: str, trained: set[str], folder: epath.Path
) -> None:
  """Writes the comparisons of a figure whose runs have all been trained."""
  for each in figures.comparisons(number, scale):
    if len(each.runs) > 1 and trained >= set(each.runs.values()):
      path = comparison.write(
        {shown: folder / run for shown, run in each.runs.items()},
        folder / each.name,
        each.title,
        each.view,
      )
      runner.log(f"Comparison: {path}")


if __name__ == "__main__":
  main(sys.argv)
