"""The whole paper: every figure's runs, one command each.

  python -m experiments.paper --list
  python -m experiments.paper --figure=4a --scale=cpu --workdir=runs/paper

A figure's runs lie in folders of their own below the workdir and are resumed;
figures that need the same trainings share them. How they are computed
(`--devices`, `--data_dir`, ...) may be said here and holds for all of them.
"""

import dataclasses

from absl import app
from absl import flags as absl_flags

from experiments import catalog
from lth_jax import command, configs, errors, flags, progress, report, runner
from lth_jax.report import comparison

absl_flags.DEFINE_bool("list", False, "Lists what there is, and ends.")
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
    if asked.list:
      print(_listing(asked.scale))
      return
    rows = _rows(asked.figure, asked.row)
    folder, execution = flags.workdir(), _execution().execution
    command.quiet()
    with command.stop_signals() as stop:
      for row in rows:
        for each in catalog.runs(row, asked.scale):
          config = catalog.config(each)
          config = dataclasses.replace(
            config, execution=_merged(config.execution, execution)
          )
          progress.say(f"{each.name}: {row.what}, {asked.scale} scale")
          runner.run(config, folder / each.name, row.name, stop)
          progress.say(f"Report: {report.write(folder / each.name)}")
        if row.points:
          workdirs = {
            each.name.removeprefix(f"{row.name}_"): folder / each.name
            for each in catalog.runs(row, asked.scale)
          }
          path = comparison.write(workdirs, folder / row.name, row.what)
          progress.say(f"Comparison: {path}")
      single = [row for row in rows if not row.points]
      if len(single) > 1:
        workdirs = {row.name: folder / row.name for row in single}
        title = f"Figure {asked.figure}"
        path = comparison.write(
          workdirs, folder / f"figure_{asked.figure}", title
        )
        progress.say(f"Comparison: {path}")

  command.call(run)


def _rows(figure: str | None, name: str | None) -> list[catalog.Row]:
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


def _merged(run: configs.Execution, asked: configs.Execution):
  """What was asked for here, else what the run's flagfile says."""
  default = configs.Execution()
  changed = {
    field.name: getattr(asked, field.name)
    for field in dataclasses.fields(asked)
    if getattr(asked, field.name) != getattr(default, field.name)
  }
  return dataclasses.replace(run, **changed)


def _listing(scale: str) -> str:
  lines = [f"{'row':<22}{'figures':<34}{'runs':>5}{'trainings':>11}  question"]
  for row in catalog.ROWS:
    every = [catalog.config(run) for run in catalog.runs(row, scale)]
    trainings = sum(map(catalog.num_trainings, every))
    lines.append(
      f"{row.name:<22}{', '.join(row.figures):<34}{len(every):>5}"
      f"{trainings:>11}  {row.what}"
    )
  return "\n".join(lines)


if __name__ == "__main__":
  app.run(main, flags_parser=command.parse_flags)
