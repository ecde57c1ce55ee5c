"""Several runs beside each other: sweeps, and one method against another."""

import functools
import math
from collections.abc import Mapping

import numpy as np
from etils import epath
from matplotlib import axes as mpl_axes
from matplotlib import colormaps

from lth_jax.report import (
  claims,
  figures,
  panels,
  plan,
  records,
  statistics,
  tables,
)

_MARKERS = "os^Dv<>P"
_HEAD = (
  "Run",
  "Replicates",
  "Dense: early-stop step",
  "Dense: test accuracy (%)",
  "Largest gain (points)",
  "at",
  "Earliest stop: % earlier",
  "at",
  "As accurate as dense down to",
)


def write(
  runs: Mapping[str, epath.PathLike], folder: epath.PathLike, title: str
) -> epath.Path:
  """Draws tickets of several runs in one figure, and tabulates them.

  Args:
    runs: workdirs, by the names to show; in the order to show them in.
    folder: where `comparison.svg`, `comparison.png` and `comparison.md` go.
    title: of the figure.

  Returns:
    The path of the table.

  Raises:
    lth_jax.errors.InputError: a workdir holds no run, or a damaged one.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as empty:
  ...   write({"0.1": empty}, empty, "Learning rates")
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: ...: no config.json here; ...
  """
  read = {name: records.read(path) for name, path in runs.items()}
  notes = {name: claims.differences(run.config) for name, run in read.items()}
  note = next(iter(notes.values()))
  if len(set(notes.values())) > 1:
    note = ". ".join(f"{name}: {text}" for name, text in notes.items() if text)
  early = [
    any(math.isfinite(lane.early_stop.step) for lane in run.lanes)
    for run in read.values()
  ]
  quantities = [statistics.END_TEST, statistics.END_TRAIN]
  if all(early):
    quantities = [
      statistics.EARLY_STEP,
      statistics.EARLY_TEST,
      statistics.END_TEST,
    ]
  drawn = figures.draw_parts(
    "comparison",
    title,
    [functools.partial(_against_density, read, each) for each in quantities],
    note,
  )
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "comparison.svg").write_bytes(drawn.svg)
  (folder / "comparison.png").write_bytes(drawn.png)
  rows = [_row(name, run) for name, run in read.items()]
  caption = f"{title}. Tickets, at early stop{'; ' + note if note else ''}"
  text = tables.markdown(tables.Table(_HEAD, tuple(rows)), caption)
  (folder / "comparison.md").write_text(text)
  return folder / "comparison.md"


def _against_density(
  runs: Mapping[str, records.Run],
  quantity: statistics.Quantity,
  axes: mpl_axes.Axes,
) -> None:
  """Draws one line a run, each with its dense network as the first point."""
  colours = colormaps["viridis"](np.linspace(0, 0.8, len(runs)))
  every = set[float]()
  for index, (name, run) in enumerate(runs.items()):
    percent = 100 * statistics.grid(run).density
    every |= set(percent.round(1).tolist())
    panels.line(
      run,
      "ticket",
      quantity,
      axes,
      percent,
      label=name,
      color=colours[index],
      marker=_MARKERS[index % len(_MARKERS)],
    )
  axes.set_title(quantity.title)
  panels.density_axis(axes, np.array(sorted(every, reverse=True)), log=True)
  if quantity is statistics.EARLY_STEP:
    axes.set_ylim(bottom=0)


def _row(name: str, run: records.Run) -> tuple[str, ...]:
  quantity = statistics.EARLY_TEST
  if not any(math.isfinite(lane.early_stop.step) for lane in run.lanes):
    quantity = statistics.END_TEST
  accuracy, gains = _gains(run, quantity, lambda table, dense: table - dense)
  step, sooner = _gains(
    run,
    statistics.EARLY_STEP,
    lambda table, dense: 100 * (1 - table / np.where(dense > 0, dense, np.nan)),
  )
  density = 100 * statistics.grid(run).density
  missing = len(plan.missing(run))
  return (
    name + (f" ({missing} trainings to come)" if missing else ""),
    str(len(accuracy)),
    _mean(step, "{:,.0f}"),
    _mean(accuracy, "{:.2f}"),
    *_best(gains, density, "{:+.2f}"),
    *_best(sooner, density, "{:+.0f}"),
    _down_to(gains, density),
  )


def _gains(run, quantity, gain) -> tuple[np.ndarray, np.ndarray]:
  """The dense network's numbers `[R]`, and means over replicates `[K]`."""
  table = statistics.values(run, "ticket", quantity)
  dense = statistics.at(table, statistics.column(run, 1.0))
  found = gain(table, dense[:, None])
  means = [statistics.interval(column).mean for column in found.T]
  return dense, np.array(means)


def _best(means, density, form: str) -> tuple[str, str]:
  pruned = np.where(density < 100, means, np.nan)
  if not np.isfinite(pruned).any():
    return tables.DASH, tables.DASH
  best = int(np.nanargmax(pruned))
  return form.format(pruned[best]), f"{density[best]:.1f}%"


def _down_to(gains, density) -> str:
  """The sparsest density at which the mean is not below dense."""
  fine = density[np.isfinite(gains) & (gains >= 0)]
  return f"{fine.min():.1f}%" if len(fine) else tables.DASH


def _mean(values, form: str) -> str:
  known = values[np.isfinite(values)]
  return form.format(known.mean()) if len(known) else tables.DASH
