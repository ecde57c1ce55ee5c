"""Reports on a run, from its records alone: figures, tables, claims, a page.

Nothing here needs jax or a device.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

from etils import epath

from lth_jax.report import (
  claim_table,
  claims,
  page,
  protocols,
  provenance,
  records,
  tables,
  winning,
)
from lth_jax.report.figures import canvas, distributions, layout
from lth_jax.report.measurements import read as read
from lth_jax.storage import buckets, files

_PAGE = "index.html"
_FIGURES = tuple(
  f"{name}.{kind}"
  for name in layout.NAMES + distributions.NAMES
  for kind in ("svg", "png")
)


def write(workdir: epath.PathLike) -> epath.Path:
  """Writes `<workdir>/report/` and returns the path of its index.html.

  Reports of equal records are equal byte for byte, but for the part of the page
  on how the run was made. A report is complete if its index.html is there: this
  file is removed first and written last, and every file is written whole. The
  run need not be finished.

  Raises:
    lth_jax.errors.InputError: no run, no finished trial, or a damaged record.
  """
  contents = _render(workdir)
  folder = epath.Path(workdir) / "report"
  folder.mkdir(parents=True, exist_ok=True)
  with _one_writer(folder):
    # Figures of an earlier run in this folder would be taken for those of this.
    for name in (_PAGE, *_FIGURES):
      if name == _PAGE or name not in contents:
        (folder / name).unlink(missing_ok=True)
    for name, content in contents.items():
      files.write(folder / name, content)
  return folder / _PAGE


def write_pdfs(workdir: epath.PathLike) -> epath.Path:
  """Writes `<workdir>/report/pdf/` and returns its path.

  Each panel of the figures is a file, as wide as a column of a paper, with
  fonts embedded. Title and note are left to the caption.

  Raises:
    lth_jax.errors.InputError: as `write`.
  """
  run, folder = records.read(workdir), epath.Path(workdir) / "report" / "pdf"
  folder.mkdir(parents=True, exist_ok=True)
  with _one_writer(folder.parent):
    for path in folder.glob("*.pdf"):
      path.unlink()
    for figure in (*layout.of(run), *distributions.of(run)):
      for index, content in enumerate(canvas.draw_pdfs(figure.panels)):
        files.write(folder / f"{figure.name}_{index + 1}.pdf", content)
  return folder


def drawings(run: records.Run) -> dict[str, Callable[[], canvas.Drawn]]:
  """Returns functions that draw a report's figures, the main one first."""
  protocol = protocols.differences(run.config)
  found = (*layout.of(run), *distributions.of(run))
  return {each.name: functools.partial(_draw, each, protocol) for each in found}


def _draw(figure: layout.Figure, protocol: str) -> canvas.Drawn:
  drawn = canvas.draw_parts(figure.name, figure.title, figure.panels, protocol)
  return drawn._replace(caption=figure.caption)


@contextlib.contextmanager
def _one_writer(folder: epath.Path) -> Iterator[None]:
  """Waits for another process that writes a report to this folder."""
  if buckets.is_remote(folder):  # objects appear at once; the last writer wins
    yield
    return
  import fcntl  # not on every platform

  with open(folder / ".lock", "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _render(workdir: epath.PathLike) -> dict[str, bytes]:
  """Returns the content of every file, the page last."""
  run = records.read(workdir)
  protocol = protocols.differences(run.config)
  wins = winning.winning(run)
  made = {
    "table": tables.results(run),
    "claims": claim_table.tabulate(claims.evaluate(run)),
    "verdicts": tables.verdicts(wins),
  }
  about = run.experiment, protocol or "protocol of the paper", *run.software
  caption = ", ".join(about)
  texts = {"summary.md": tables.markdown(tables.summary(run), caption)}
  for name, table in made.items():
    texts[f"{name}.csv"] = tables.csv(table.data, protocol)
    texts[f"{name}.md"] = tables.markdown(table.text, caption)
  figures = [draw() for draw in drawings(run).values()]
  shown = {name: table.text for name, table in made.items()}
  made_by = provenance.describe(epath.Path(workdir), run)
  content = page.Content(run, protocol, wins, shown, figures, made_by)
  files = {}
  for drawn in figures:
    files[f"{drawn.name}.svg"] = drawn.svg
    files[f"{drawn.name}.png"] = drawn.png
  files |= {name: text.encode() for name, text in texts.items()}
  return files | {_PAGE: page.render(content).encode()}
