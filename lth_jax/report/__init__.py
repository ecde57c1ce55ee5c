"""Reports on a run, from its records alone: figures, tables, claims, a page.

Nothing here needs jax or a device.
"""

import contextlib
from collections.abc import Iterator

from etils import epath

from lth_jax.report import (
  claims,
  html,
  protocols,
  records,
  statistics,
  structure,
  tables,
)
from lth_jax.report.figures import canvas, distributions, layout
from lth_jax.storage import buckets
from lth_jax.storage import files as files_lib

_PAGE = "index.html"
_FIGURES = tuple(
  f"{name}.{kind}"
  for name in layout.NAMES + distributions.NAMES
  for kind in ("svg", "png")
)


def write(workdir: epath.PathLike) -> epath.Path:
  """Writes `<workdir>/report/` and returns the path of its index.html.

  Reports of equal records are equal byte for byte. A report is whole if its
  index.html is there: that file is removed first and comes back last, and
  every file appears whole.

  Args:
    workdir: folder of a run, finished or not.

  Returns:
    The path of the page.

  Raises:
    lth_jax.errors.InputError: no run, no finished trial, or a damaged record.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   write(folder)
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: ...: no config.json here; --workdir must name
  the folder of a run.
  """
  files = _render(workdir)
  folder = epath.Path(workdir) / "report"
  folder.mkdir(parents=True, exist_ok=True)
  with _one_at_a_time(folder):
    (folder / _PAGE).unlink(missing_ok=True)
    for name in _FIGURES:
      if name not in files:
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
      files_lib.write(folder / name, content)
  return folder / _PAGE


def draw(workdir: epath.PathLike) -> dict[str, canvas.Drawn]:
  """Returns the figures of a report, by their names.

  Args:
    workdir: folder of a run, finished or not.

  Raises:
    lth_jax.errors.InputError: as `write`.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   draw(folder)
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: ...: no config.json here; --workdir must name
  the folder of a run.
  """
  drawn = _draw(records.read(workdir), distributions.read(workdir))
  return {each.name: each for each in drawn}


@contextlib.contextmanager
def _one_at_a_time(folder: epath.Path) -> Iterator[None]:
  """Waits for another process that writes a report there."""
  if buckets.is_remote(folder):  # of several that write an object, one wins
    yield
    return
  import fcntl  # not on every platform

  with open(folder / ".lock", "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _draw(
  run: records.Run, rounds: tuple[distributions.Round, ...]
) -> tuple[canvas.Drawn, ...]:
  protocol = protocols.differences(run.config)
  return canvas.draw(run, protocol) + distributions.draw(rounds, protocol)


def _render(workdir: epath.PathLike) -> dict[str, bytes]:
  """Returns the content of every file, the page last."""
  run = records.read(workdir)
  described = structure.load(workdir)
  run = run._replace(looks=structure.of(described))
  protocol = protocols.differences(run.config)
  content = html.Content(
    run,
    protocol,
    statistics.winning(run),
    claims.evaluate(run),
    _draw(run, distributions.pool(described)),
  )
  files = {}
  for drawn in content.drawn:
    files[f"{drawn.name}.svg"] = drawn.svg
    files[f"{drawn.name}.png"] = drawn.png
  made = {
    "table": tables.results(run),
    "claims": tables.claim_table(content.claims),
    "verdicts": tables.verdicts(content.winning),
  }
  caption = f"{run.experiment}, {protocol or 'protocol of the paper'}"
  texts = {"summary.md": tables.markdown(tables.summary(run), caption)}
  for name, table in made.items():
    texts[f"{name}.csv"] = tables.csv(table.data, protocol)
    texts[f"{name}.md"] = tables.markdown(table.text, caption)
  texts[_PAGE] = html.page(content)
  return files | {name: text.encode() for name, text in texts.items()}
