"""Copies what is kept of runs into the repository, and draws them there.

Of each run, finished or not, that is a small file of records. Tables and
drawings are made from these files alone.
"""

import functools
import hashlib
import io
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from etils import epath
from PIL import Image, PngImagePlugin

from experiments._paper import catalog, figures, results_page
from lth_jax import errors, report, runner
from lth_jax.config import configs
from lth_jax.report import (
  comparison,
  provenance,
  records,
  summary_file,
  tables,
  winning,
)
from lth_jax.report.figures import canvas

# The field of a drawing with the digest of the records that it shows.
RECORDS = "records"


def into_folder(workdir: epath.Path, scale: str, folder: pathlib.Path) -> None:
  """Copies the records of the runs below a workdir; other files stay.

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
    about, drawings = provenance.read(workdir / name), _report_drawings(name)
    text = summary_file.pack(run, about, drawings)
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    runner.log(f"Collected: {name}")


class Drawing(NamedTuple):
  """A drawing, the runs that it shows, and a function that draws it."""

  name: str
  runs: tuple[str, ...]
  draw: Callable[[], canvas.Drawn]


def draw(scale: str, folder: pathlib.Path) -> None:
  """Draws and tabulates the runs in a folder; other drawings are removed.

  Raises:
    InputError: a file of records is damaged.
  """
  collected = results_page.read(folder)
  found = drawings(scale, collected)
  for each in found:
    content = _small(each.draw().png, digest(folder, each.runs))
    (folder / f"{each.name}.png").write_bytes(content)
    runner.log(f"Drawn: {each.name}")
  for path in folder.glob("*.png"):
    if path.stem not in {each.name for each in found}:
      path.unlink()
      runner.log(f"Removed: {path}, which no record here can draw")
  for name, text in summaries(collected).items():
    (folder / f"{name}.md").write_text(text, encoding="utf-8")


def drawings(
  scale: str, collected: Mapping[str, results_page.Collected]
) -> list[Drawing]:
  """Lists what can be drawn from the runs that were collected at a scale.

  Of a figure that compares runs there is none if it would have a single line.
  """
  found = []
  for name, (run, _) in collected.items():
    parts = report.drawings(run)
    for stem in _report_drawings(name):
      if stem in parts:
        found.append(Drawing(f"{name}_{stem}", (name,), parts[stem]))
  for number in figures.FIGURES:
    for name, title, named, view in figures.comparisons(number, scale):
      shown = {shown: run for shown, run in named.items() if run in collected}
      runs = {label: collected[run].run for label, run in shown.items()}
      if comparison.num_lines(runs, view) > 1:
        drawn = functools.partial(comparison.draw, runs, title, view)
        found.append(Drawing(name, tuple(shown.values()), drawn))
  return found


def summaries(
  collected: Mapping[str, results_page.Collected],
) -> dict[str, str]:
  """Returns the tables of each run: its results, and where its tickets win."""
  found = {}
  for name, (run, _) in collected.items():
    caption = f"{name}, {results_page.protocol(name, run)}"
    wins = tables.verdicts(winning.winning(run)).text
    parts = (
      tables.markdown(tables.summary(run), caption),
      tables.markdown(wins, "Where tickets win, with one-sided 95% bounds"),
    )
    found[name] = "\n".join(parts)
  return found


def digest(folder: pathlib.Path, names: Iterable[str]) -> str:
  """Returns a digest of the records of runs, which their drawings carry."""
  content = [(folder / f"{name}.json").read_bytes() for name in sorted(names)]
  return hashlib.sha256(b"".join(content)).hexdigest()


def _report_drawings(name: str) -> list[str]:
  """The figures of a run's report that figures of the paper show."""
  every = [x for each in figures.FIGURES.values() for x in each.drawings]
  named = [x for x in dict.fromkeys(every) if x.startswith(f"{name}_")]
  return [each.removeprefix(f"{name}_") for each in named]


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


def _small(png: bytes, records_digest: str) -> bytes:
  """Returns the same picture in 256 colours, half of its size."""
  out, about = io.BytesIO(), PngImagePlugin.PngInfo()
  about.add_text(RECORDS, records_digest)
  picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(256)
  picture.save(out, "png", pnginfo=about)
  return out.getvalue()
