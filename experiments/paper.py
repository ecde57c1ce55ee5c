"""The whole paper: every figure's runs, one command each.

  python -m experiments.paper --list --workdir=runs/paper
  python -m experiments.paper --figure=4a --scale=cpu --workdir=runs/paper

A figure's runs lie in folders of their own below the workdir and are resumed;
figures that need the same trainings share them. How they are computed
(`--devices`, `--data_dir`, ...) may be said here and holds for all of them;
`--data_dir` may have a folder for each data set, `mnist` and `cifar10`.
"""

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags as absl_flags
from etils import epath

from experiments._paper import catalog, figures, listing, networks
from lth_jax import data, errors
from lth_jax.config import configs, flags
from lth_jax.data import cifar, idx
from lth_jax.parallel import processes, progress
from lth_jax.report import comparison
from lth_jax.runner import command, experiment
from lth_jax.storage import buckets


def main(argv: Sequence[str]) -> None:
  """Lists the rows, or runs those of a figure."""

  def run():
    asked, read_config = _flags()
    command.check_no_arguments(command.parse(asked, argv))
    rows = _rows(asked.figure, asked.row, asked.list)
    if asked.list:
      folder = buckets.connect(flags.workdir(asked)) if asked.workdir else None
      command.show(listing.text(rows, asked.scale, folder) + "\n")
    elif asked.figure == catalog.NETWORKS:
      command.show(networks.markdown())
    else:
      _train(rows, asked, read_config)

  command.call(run)


def _flags() -> tuple[absl_flags.FlagValues, Callable[[], configs.Config]]:
  values = absl_flags.FlagValues()
  own = {"flag_values": values}
  absl_flags.DEFINE_bool(
    "list", False, "Lists all rows, or a figure's, and ends.", **own
  )
  absl_flags.DEFINE_string(
    "figure", None, "Figure of the paper, such as 4a.", **own
  )
  absl_flags.DEFINE_string(
    "row", None, "Row of the list, instead of a figure.", **own
  )
  absl_flags.DEFINE_enum("scale", "cpu", catalog.SCALES, "How large.", **own)
  return values, flags.define(values, configs.Config(), ("execution",))


def _rows(
  figure: str | None, name: str | None, every: bool
) -> Sequence[catalog.Row]:
  if every and figure is None and name is None:
    return catalog.ROWS
  if (figure is None) == (name is None):
    raise errors.InputError(
      "Say which: --figure=4a, or --row=mnist_lenet, or --list to see both."
    )
  if figure is not None:
    return catalog.find(figure)
  found = [row for row in catalog.ROWS if row.name == name]
  if not found:
    raise errors.InputError(
      f"--row={name}: there is none; --list shows all of them."
    )
  return found


def _train(
  rows: Sequence[catalog.Row],
  asked: absl_flags.FlagValues,
  read_config: Callable[[], configs.Config],
) -> None:
  folder = buckets.connect(flags.workdir(asked))
  folder.mkdir(parents=True, exist_ok=True)
  given = {
    name: value
    for name, value in vars(read_config().execution).items()
    if asked[name].present
  }
  todo = [
    (row, run, _config(run, given))
    for row in rows
    for run in catalog.runs(row, asked.scale)
  ]
  # Before processes join, so that none waits in vain for one without images.
  _check_data([config for _, _, config in todo])
  processes.join(flags.processes(asked))
  with command.stop_signals() as stop:
    for row, run, config in todo:
      processes.log(f"{run.name}: {row.what}, {asked.scale} scale")
      experiment.run(config, folder / run.name, row.name, stop)
      command.write_report(folder / run.name)
  trained = {run.name for _, run, _ in todo}
  number = asked.figure or rows[0].figures[0]
  complete = [
    each
    for each in figures.beside(number, asked.scale)
    if len(each.runs) > 1 and trained >= set(each.runs.values())
  ]
  processes.on_process_0(lambda: _compare_all(complete, folder, number))


def _compare_all(
  drawings: Sequence[figures.Beside], folder: epath.Path, number: str
) -> None:
  for each in drawings:
    _compare(each, folder, figures.FIGURES[number])


def _config(run: catalog.Run, given: dict[str, Any]) -> configs.Config:
  """A run's config, computed as was asked for here."""
  config = catalog.config(run)
  execution = dataclasses.replace(config.execution, **given)
  execution = dataclasses.replace(
    execution, data_dir=_folder(config.data.dataset, execution.data_dir)
  )
  return dataclasses.replace(config, execution=execution)


def _folder(dataset: str, data_dir: str | None) -> str | None:
  """The folder of a data set's original files, which may be a part of it."""
  if data_dir is None:
    return None
  part = os.path.join(os.path.expanduser(data_dir), dataset)
  holds = idx.holds(dataset, part) or cifar.holds(dataset, part)
  return part if holds else data_dir


def _check_data(asked: Sequence[configs.Config]) -> None:
  """Finds that a later row's images are missing now, and not after hours."""
  wanted = {
    (config.data.dataset, config.execution.source, config.execution.data_dir)
    for config in asked
  }
  if len(wanted) > 1:
    for dataset, source, data_dir in sorted(wanted, key=str):
      data.load(dataset, source=source, data_dir=data_dir)


def _compare(
  beside: figures.Beside, folder: epath.Path, figure: figures.Figure
) -> None:
  workdirs = {shown: folder / run for shown, run in beside.runs.items()}
  path = comparison.write(
    workdirs,
    folder / beside.name,
    beside.title,
    arms=figure.arms,
    quantities=figure.quantities,
    by_weights=figure.by_weights,
    whole=figure.whole,
  )
  progress.log(f"Comparison: {path}")


if __name__ == "__main__":
  main(sys.argv)
