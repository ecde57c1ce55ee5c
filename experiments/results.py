"""What the paper says beside what we found, figure by figure: docs/results.md.

  python -m experiments.results --workdir=runs/paper --scale=cpu
  python -m experiments.results

The first collects finished and unfinished runs of `experiments.paper` into
docs/results/<scale>: a small file of records and a table a run, and drawings of
one run. Both then draw runs beside each other and write docs/results.md, from
all that has been collected at any scale.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from experiments._paper import catalog, collect, results_page
from lth_jax import runner
from lth_jax.config import flags
from lth_jax.runner import command

_PAGE = "results.md"


def main(argv: Sequence[str]) -> None:
  """Collects, draws comparisons, and writes the page."""

  def run():
    asked = _flags()
    command.check_no_arguments(command.parse(asked, argv))
    folder = pathlib.Path(flags.local(asked.folder))
    results = folder / results_page.FOLDER
    if asked.workdir:
      collect.into_folder(
        runner.connect(flags.workdir(asked)),
        asked.scale,
        results / asked.scale,
      )
    for scale in catalog.SCALES:
      collect.compare(scale, results / scale)
    path = folder / _PAGE
    path.write_text(results_page.text(folder), encoding="utf-8")
    runner.log(f"Results: {path}")

  command.call(run)


def _flags() -> absl_flags.FlagValues:
  values = absl_flags.FlagValues()
  own = {"flag_values": values}
  absl_flags.DEFINE_string(
    "workdir", None, "Folder of the runs to collect.", **own
  )
  absl_flags.DEFINE_enum(
    "scale", "cpu", catalog.SCALES, "Of these runs.", **own
  )
  absl_flags.DEFINE_string("folder", "docs", "Where results.md goes.", **own)
  return values


if __name__ == "__main__":
  main(sys.argv)
