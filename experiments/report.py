"""Writes a run's report anew from its records.

python -m experiments.report --workdir=runs/quickstart
"""

from absl import app
from absl import flags as absl_flags

from lth_jax import command, flags, progress, report

absl_flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)


def main(argv: list[str]) -> None:
  """Writes `<workdir>/report/`."""

  def write():
    command.check_no_arguments(argv)
    progress.say(f"Report: {report.write(flags.workdir())}")

  command.call(write)


if __name__ == "__main__":
  app.run(main, flags_parser=command.parse_flags)
