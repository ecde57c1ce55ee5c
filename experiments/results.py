"""What the paper says beside what we found, figure by figure: docs/results.md.

  python -m experiments.results --workdir=runs/paper --scale=cpu
  python -m experiments.results

The first collects finished and unfinished runs of `experiments.paper` into
docs/results/<scale>: a small file of records a run, and drawings. Both write
docs/results.md from what has been collected.
"""

import io
import json
import pathlib
from collections.abc import Iterable, Mapping

from absl import app
from absl import flags as absl_flags
from etils import epath
from PIL import Image

from experiments import catalog, figures, results_page
from lth_jax import command, configs, errors, flags, progress, report
from lth_jax.report import (
  comparison,
  digest,
  looks,
  records,
)

absl_flags.DEFINE_string("workdir", None, "Folder of the runs to collect.")
absl_flags.DEFINE_enum("scale", "cpu", catalog.SCALES, "Of these runs.")
absl_flags.DEFINE_string("folder", "docs", "Where results.md goes.")

_PAGE = "results.md"


def main(argv: list[str]) -> None:
  """Collects, and writes the page."""
  asked = absl_flags.FLAGS

  def run():
    command.check_no_arguments(argv)
    folder = pathlib.Path(asked.folder)
    if asked.workdir:
      collect(
        flags.workdir(), asked.scale, folder / results_page.FOLDER / asked.scale
      )
    path = folder / _PAGE
    path.write_text(results_page.text(folder), encoding="utf-8")
    progress.say(f"Results: {path}")

  command.call(run)


def collect(workdir: epath.Path, scale: str, folder: pathlib.Path) -> None:
  """Copies into `folder` what is to be kept of the runs below `workdir`.

  Args:
    workdir: as given to `experiments.paper`.
    scale: of these runs.
    folder: where to; what it has of other runs stays.

  Raises:
    InputError: no run of the catalog is there, one is damaged, or it is not the
      run that the catalog means.
  """
  found = {
    run.name: workdir / run.name
    for row in catalog.ROWS
    for run in catalog.runs(row, scale)
    if _begun(workdir / run.name)
  }
  if not found:
    raise errors.InputError(
      f"{workdir}: no run of the catalog is here; --workdir must be that of "
      "python -m experiments.paper."
    )
  folder.mkdir(parents=True, exist_ok=True)
  for row in catalog.ROWS:
    for run in catalog.runs(row, scale):
      if run.name in found:
        _check_same(run, found[run.name], scale)
        text = _digest(found[run.name])
        (folder / f"{run.name}.json").write_text(text, encoding="utf-8")
        progress.say(f"Collected: {run.name}")
  for name, png in _drawings(found, scale):
    (folder / f"{name}.png").write_bytes(_small(png))


def _begun(workdir: epath.Path) -> bool:
  return any(workdir.glob("replicate_*/round_*/*/commit.json"))


def _check_same(run: catalog.Run, workdir: epath.Path, scale: str) -> None:
  stored = configs.from_flat(records.read(workdir).config)
  asked = catalog.config(run)
  if configs.run_id(stored) != configs.run_id(asked):
    ours, theirs = configs.identity(asked), configs.identity(stored)
    changed = [name for name in ours if ours[name] != theirs[name]]
    raise errors.InputError(
      f"{workdir}: is not the {scale} run {run.name} of the catalog; "
      f"{', '.join(changed)} differ. Run it anew in another --workdir."
    )


def _digest(workdir: epath.Path) -> str:
  run = records.read(workdir)._replace(looks=looks.read(workdir))
  timings = workdir.glob("replicate_*/round_*/*/timing.json")
  seconds = sum(json.loads(path.read_text())["seconds"] for path in timings)
  environments = json.loads((workdir / "env.json").read_text())["environments"]
  return digest.pack(
    run,
    {"seconds": round(seconds), "environment": environments[-1]},
  )


def _small(png: bytes) -> bytes:
  """The same picture in 64 colours, a third of its size."""
  out = io.BytesIO()
  Image.open(io.BytesIO(png)).convert("RGB").quantize(64).save(out, "png")
  return out.getvalue()


def _drawings(
  found: Mapping[str, epath.Path], scale: str
) -> Iterable[tuple[str, bytes]]:
  """Names and PNGs of what is drawn of the runs that are there."""
  for number, figure in figures.FIGURES.items():
    for run, drawing in figure.drawings:
      if run in found:
        yield f"{run}_{drawing}", report.draw(found[run])[drawing].png
    for name, title, runs in results_page.beside(number, scale):
      here = {shown: found[run] for shown, run in runs.items() if run in found}
      if here:
        drawn = comparison.draw(
          {shown: records.read(path) for shown, path in here.items()},
          f"Figure {number}. {title}",
          arms=figure.arms,
          quantities=figure.quantities,
          by_weights=figure.by_weights,
        )
        yield name, drawn.png


if __name__ == "__main__":
  app.run(main, flags_parser=command.parse_flags)
