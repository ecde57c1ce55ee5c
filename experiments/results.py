"""Writes docs/results.md: what the paper says and what we found, by figure.

  python -m experiments.results --workdir=runs/paper --scale=cpu
  python -m experiments.results

The first command collects runs of `experiments.paper`, finished or not, into
docs/results/<scale>: of each run a small file of records. Both commands then
write everything else from these files, of all runs collected at any scale:
drawings, tables, docs/results.md and the results in README.md.
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
    command.parse(asked, argv)
    folder = pathlib.Path(flags.local(asked.folder))
    results = folder / results_page.FOLDER
    if asked.workdir:
      collect.into_folder(
        runner.connect(flags.workdir(asked)),
        asked.scale,
        results / asked.scale,
      )
    for scale in catalog.SCALES:
      collect.draw(scale, results / scale)
    path = folder / _PAGE
    path.write_text(results_page.text(folder), encoding="utf-8")
    runner.log(f"Results: {path}")
    readme = folder.parent / "README.md"
    if readme.exists():
      text = readme.read_text(encoding="utf-8")
      text = results_page.with_results(text, folder)
      readme.write_text(text, encoding="utf-8")

  command.call(run)


def _flags() -> absl_flags.FlagValues:
  values = absl_flags.FlagValues()
  own = flags.group(values)
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
