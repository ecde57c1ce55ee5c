"""Copies what is to be kept of finished and unfinished runs.

Of each run a small file of records and a table, and drawings.
"""

import dataclasses
import io
import pathlib
from collections.abc import Iterable
from typing import Any

from etils import epath
from PIL import Image

from experiments._paper import catalog, figures, results_page
from lth_jax import errors, report
from lth_jax.config import configs
from lth_jax.parallel import progress
from lth_jax.report import (
  claims,
  comparison,
  parsing,
  records,
  structure,
  summary_file,
  tables,
)
from lth_jax.report.figures.canvas import Drawn
from lth_jax.storage import files


def into_folder(workdir: epath.Path, scale: str, folder: pathlib.Path) -> None:
  """Copies into `folder` what is to be kept of the runs below `workdir`.

  Args:
    workdir: as given to `experiments.paper`.
    scale: of these runs.
    folder: where to; what it has of other runs stays.

  Raises:
    InputError: no run of the catalog is there, one is damaged, or it is not the
      run that the catalog means.
  """
  asked = {
    run.name: catalog.config(run)
    for row in catalog.ROWS
    for run in catalog.runs(row, scale)
    if records.committed(workdir / run.name)
  }
  if not asked:
    raise errors.InputError(
      f"{workdir}: no run of the catalog is here; --workdir must be that of "
      "python -m experiments.paper."
    )
  found = {name: _read(workdir / name, asked[name]) for name in asked}
  folder.mkdir(parents=True, exist_ok=True)
  for name, run in found.items():
    text = summary_file.pack(run, _about(workdir / name))
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    caption = f"{name}, {results_page.protocol(name, run)}"
    summary = tables.markdown(tables.summary(run), caption)
    (folder / f"{name}.md").write_text(summary, encoding="utf-8")
    progress.log(f"Collected: {name}")
  for name, drawn in _of_one(workdir, found):
    (folder / f"{name}.png").write_bytes(_small(drawn.png))


def compare(scale: str, folder: pathlib.Path) -> None:
  """Draws runs beside each other, from all that was collected of them.

  Args:
    scale: of the runs.
    folder: where they were collected, and where drawings go. One whose runs are
      not there is left as it is.

  Raises:
    InputError: a file of records is damaged.
  """
  for name, drawn in _of_several(scale, folder):
    (folder / f"{name}.png").write_bytes(_small(drawn.png))
    progress.log(f"Drawn: {name}")


def _read(workdir: epath.Path, asked: configs.Config) -> records.Run:
  tickets = structure.read(workdir)
  run = dataclasses.replace(records.read(workdir), tickets=tickets)
  stored = configs.from_flat(run.config)
  if configs.run_id(stored) != configs.run_id(asked):
    ours, theirs = configs.identity(asked), configs.identity(stored)
    changed = [name for name in ours if ours[name] != theirs[name]]
    raise errors.InputError(
      f"{workdir} is not the run that the catalog means; {', '.join(changed)} "
      "differ. Run it anew in another --workdir."
    )
  return run


def _parsed(path: epath.Path) -> Any:
  return files.parse(files.read(path).decode())


def _about(workdir: epath.Path) -> dict[str, Any]:
  path = workdir / "env.json"
  remedy = "remove it and start the run again, which makes it anew"
  try:
    environment = _parsed(path)["environments"][-1]
    seconds, begins = 0.0, []
    for commit in records.committed(workdir):
      path = commit.parent / "timing.json"
      remedy = f"remove {path.parent} and start the run again, which trains it"
      timing = _parsed(path)
      seconds += timing["seconds"]
      # Runs of before 2026-11-27 do not say when they were made.
      begins.append(timing.get("finished", 0) - timing["seconds"])
  except (*parsing.MALFORMED, OSError) as error:
    raise errors.InputError(
      f"{path}: damaged ({parsing.cause(error)}); {remedy}."
    ) from error
  about = {"seconds": round(seconds), "environment": environment}
  if min(begins) > 0:
    about["begun"] = claims.timestamp(min(begins))
  return about


def _of_one(
  workdir: epath.Path, found: Iterable[str]
) -> Iterable[tuple[str, Drawn]]:
  """What the reports of runs draw, by the name to keep it under."""
  wanted = {
    drawing for each in figures.FIGURES.values() for drawing in each.drawings
  }
  for run in sorted({run for run, _ in wanted} & set(found)):
    for name, drawn in report.draw(workdir / run).items():
      if (run, name) in wanted:  # before its end a run may lack some
        yield f"{run}_{name}", drawn


def _of_several(
  scale: str, folder: pathlib.Path
) -> Iterable[tuple[str, Drawn]]:
  """Runs beside each other, by the name to keep the drawing under."""
  collected = results_page.read(folder)
  for number, figure in figures.FIGURES.items():
    for name, title, runs in figures.beside(number, scale):
      here = {
        shown: collected[run].run
        for shown, run in runs.items()
        if run in collected
      }
      if here:
        yield (
          name,
          comparison.draw(
            here,
            title,
            comparison.View(
              figure.arms, figure.quantities, figure.by_weights, figure.whole
            ),
          ),
        )


def _small(png: bytes) -> bytes:
  """The same picture in 256 colours, half of its size."""
  out = io.BytesIO()
  Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(out, "png")
  return out.getvalue()
