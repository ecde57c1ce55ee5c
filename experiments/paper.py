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
import threading
from collections.abc import Sequence

from absl import app
from absl import flags as absl_flags
from etils import epath

from experiments import catalog, figures, listing, networks
from lth_jax import (
  command,
  configs,
  data,
  errors,
  flags,
  objects,
  processes,
  progress,
  runner,
)
from lth_jax.data import cifar, idx
from lth_jax.report import comparison

absl_flags.DEFINE_bool(
  "list", False, "Lists all rows, or a figure's, and ends."
)
absl_flags.DEFINE_string("figure", None, "Figure of the paper, such as 4a.")
absl_flags.DEFINE_string("row", None, "Row of the list, instead of a figure.")
absl_flags.DEFINE_enum("scale", "cpu", catalog.SCALES, "How large.")

_execution = flags.define(configs.Config(), sections=("execution",))
absl_flags.adopt_module_key_flags(flags)


def main(argv: list[str]) -> None:
  """Lists the rows, or runs those of a figure."""
  asked = absl_flags.FLAGS

  def run():
    command.check_no_arguments(argv)
    rows = _rows(asked.figure, asked.row, asked.list)
    if asked.list:
      folder = objects.connect(flags.workdir()) if asked.workdir else None
      command.show(listing.text(rows, asked.scale, folder) + "\n")
    elif asked.figure == catalog.NETWORKS:
      command.show(networks.markdown())
    else:
      _train(rows, asked)

  command.call(run)


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


def _train(rows: Sequence[catalog.Row], asked: absl_flags.FlagValues) -> None:
  folder = objects.connect(flags.workdir())
  folder.mkdir(parents=True, exist_ok=True)
  command.quiet()
  # Before processes join, so that none waits in vain for one without images.
  _check_data(
    [_config(run) for row in rows for run in catalog.runs(row, asked.scale)]
  )
  processes.join(flags.processes())
  with command.stop_signals() as stop:
    for row in rows:
      _train_row(row, asked.scale, folder, stop)
  trained = {run.name for row in rows for run in catalog.runs(row, asked.scale)}
  number = asked.figure or rows[0].figures[0]
  complete = [
    each
    for each in figures.beside(number, asked.scale)
    if len(each.runs) > 1 and trained >= set(each.runs.values())
  ]
  processes.lead(lambda: _compare_all(complete, folder, number))


def _compare_all(
  drawings: Sequence[figures.Beside], folder: epath.Path, number: str
) -> None:
  for each in drawings:
    _compare(each, folder, figures.FIGURES[number])


def _train_row(
  row: catalog.Row, scale: str, folder: epath.Path, stop: threading.Event
) -> None:
  for run in catalog.runs(row, scale):
    processes.say(f"{run.name}: {row.what}, {scale} scale")
    runner.run(_config(run), folder / run.name, row.name, stop)
    command.write_report(folder / run.name)


def _config(run: catalog.Run) -> configs.Config:
  """A run's config, computed as was asked for here."""
  config = catalog.config(run)
  execution = _merged(config.execution, _execution().execution)
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
  progress.say(f"Comparison: {path}")


def _merged(run: configs.Execution, asked: configs.Execution):
  """What was asked for here, else what the run's flagfile says."""
  changed = {
    field.name: getattr(asked, field.name)
    for field in dataclasses.fields(asked)
    if absl_flags.FLAGS[field.name].present
  }
  return dataclasses.replace(run, **changed)


if __name__ == "__main__":
  app.run(main, flags_parser=command.parse_flags)
