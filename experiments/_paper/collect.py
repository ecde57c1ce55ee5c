"""Copies what is kept of runs into the repository, and compares them there.

Of each run, finished or not, these are a small file of records, a table, and
some of its report's drawings.
"""

import io
import pathlib
from collections.abc import Mapping

from etils import epath
from PIL import Image

from experiments._paper import catalog, figures, results_page
from lth_jax import errors, report, runner
from lth_jax.config import configs
from lth_jax.report import (
  comparison,
  provenance,
  records,
  summary_file,
  tables,
)
from lth_jax.report.figures.canvas import Drawn


def into_folder(workdir: epath.Path, scale: str, folder: pathlib.Path) -> None:
  """Copies what is kept of the runs below `workdir` into `folder`.

  Args:
    workdir: as given to `experiments.paper`.
    scale: of these runs.
    folder: where to; other runs in it stay.

  Raises:
    InputError: `workdir` has no run of the catalog, or a run is damaged or is
      another run than the catalog's.
  """
  asked = {
    name: catalog.config(run)
    for name, run in catalog.named(scale).items()
    if records.committed(workdir / name)
  }
  if not asked:
    raise errors.InputError(
      f"{workdir}: no run of the catalog is here; --workdir must be that of "
      "python -m experiments.paper."
    )
  found = {name: _read(workdir / name, asked[name]) for name in asked}
  folder.mkdir(parents=True, exist_ok=True)
  for name, run in found.items():
    text = summary_file.pack(run, provenance.read(workdir / name))
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    caption = f"{name}, {results_page.protocol(name, run)}"
    summary = tables.markdown(tables.summary(run), caption)
    (folder / f"{name}.md").write_text(summary, encoding="utf-8")
    _write_drawings(name, report.draw(workdir / name), folder)
    runner.log(f"Collected: {name}")


def compare(scale: str, folder: pathlib.Path) -> None:
  """Draws comparisons of the runs that were collected.

  Args:
    scale: of the runs.
    folder: where they were collected, and where drawings go. A drawing whose
      runs are not there is left as it is.

  Raises:
    InputError: a file of records is damaged.
  """
  collected = results_page.read(folder)
  for number in figures.FIGURES:
    for name, title, named, view in figures.comparisons(number, scale):
      runs = {
        shown: collected[run].run
        for shown, run in named.items()
        if run in collected
      }
      if runs:
        drawn = comparison.draw(runs, title, view)
        (folder / f"{name}.png").write_bytes(_small(drawn.png))
        runner.log(f"Drawn: {name}")


def _read(workdir: epath.Path, asked: configs.Config) -> records.Run:
  run = records.read(workdir)
  ours = configs.identity(asked)
  theirs = configs.identity(configs.from_flat(run.config))
  changed = [name for name in ours if ours[name] != theirs[name]]
  if changed:
    raise errors.InputError(
      f"{workdir} is another run than the catalog's; {', '.join(changed)} "
      "differ. Run it again in another --workdir."
    )
  return run


def _write_drawings(
  run: str, drawn: Mapping[str, Drawn], folder: pathlib.Path
) -> None:
  """Writes the drawings of a report that figures of the paper show."""
  wanted = {x for figure in figures.FIGURES.values() for x in figure.drawings}
  for name, each in drawn.items():
    if f"{run}_{name}" in wanted:
      (folder / f"{run}_{name}.png").write_bytes(_small(each.png))


def _small(png: bytes) -> bytes:
  """Returns the same picture in 256 colours, half of its size."""
  out = io.BytesIO()
  Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(out, "png")
  return out.getvalue()
