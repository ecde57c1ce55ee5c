"""Copies what is kept of runs into the repository, and compares them there.

Of each run, finished or not, these are a small file of records, a table, and
some of its report's drawings.
"""

import io
import pathlib

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


def into_folder(workdir: epath.Path, scale: str, folder: pathlib.Path) -> None:
  """Copies what is kept of the runs below a workdir; other files stay.

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
  wanted = {x for figure in figures.FIGURES.values() for x in figure.drawings}
  folder.mkdir(parents=True, exist_ok=True)
  for name, run in found.items():
    text = summary_file.pack(run, provenance.read(workdir / name))
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    caption = f"{name}, {results_page.protocol(name, run)}"
    summary = tables.markdown(tables.summary(run), caption)
    (folder / f"{name}.md").write_text(summary, encoding="utf-8")
    for drawing, drawn in report.draw(workdir / name).items():
      if f"{name}_{drawing}" in wanted:
        (folder / f"{name}_{drawing}.png").write_bytes(_small(drawn.png))
    runner.log(f"Collected: {name}")


def compare(scale: str, folder: pathlib.Path) -> None:
  """Draws comparisons of the runs in a folder; without any a drawing stays.

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


def _small(png: bytes) -> bytes:
  """Returns the same picture in 256 colours, half of its size."""
  out = io.BytesIO()
  Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(out, "png")
  return out.getvalue()
