"""Writes a run's report anew from its records.

python -m experiments.report --workdir=runs/quickstart
"""

from absl import app
from absl import flags as absl_flags

from lth_jax import command, progress, report

absl_flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)


def main(argv: list[str]) -> None:
  """Writes `<workdir>/report/`."""
  del argv
  workdir = absl_flags.FLAGS.workdir
  command.call(lambda: progress.say(f"Report: {report.write(workdir)}"))


if __name__ == "__main__":
  app.run(main)
