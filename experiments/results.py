"""What the paper says beside what we found, figure by figure: docs/results.md.

  python -m experiments.results --workdir=runs/paper --scale=cpu
  python -m experiments.results

The first collects finished and unfinished runs of `experiments.paper` into
docs/results/<scale>: a small file of records and a table a run, and drawings of
one run. Both then draw runs beside each other and write docs/results.md, from
all that has been collected at any scale.
"""

import pathlib

from absl import app
from absl import flags as absl_flags

from experiments import catalog, collect, results_page
from lth_jax import command, flags, objects, progress

absl_flags.DEFINE_string("workdir", None, "Folder of the runs to collect.")
absl_flags.DEFINE_enum("scale", "cpu", catalog.SCALES, "Of these runs.")
absl_flags.DEFINE_string("folder", "docs", "Where results.md goes.")

_PAGE = "results.md"


def main(argv: list[str]) -> None:
  """Collects, draws comparisons, and writes the page."""
  asked = absl_flags.FLAGS

  def run():
    command.check_no_arguments(argv)
    folder = pathlib.Path(asked.folder)
    results = folder / results_page.FOLDER
    if asked.workdir:
      collect.into_folder(
        objects.connect(flags.workdir()),
        asked.scale,
        results / asked.scale,
      )
    for scale in catalog.SCALES:
      collect.compare(scale, results / scale)
    path = folder / _PAGE
    path.write_text(results_page.text(folder), encoding="utf-8")
    progress.say(f"Results: {path}")

  command.call(run)


if __name__ == "__main__":
  app.run(main, flags_parser=command.parse_flags)
