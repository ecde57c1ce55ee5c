"""Several runs beside each other: sweeps, and one method against another."""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from matplotlib import axes as mpl_axes
from matplotlib import colormaps

from lth_jax.report import plan, protocols, records, statistics, tables
from lth_jax.report.figures import canvas, layout, panels

_MARKERS = "os^Dv<>P"
# Of arms, in their order.
_DASHES = ("-", "--", ":", "-.")
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


class _Line(NamedTuple):
  """A line of a panel: of what, and how it looks."""

  run: str
  arm: str
  label: str
  color: Any
  marker: str
  dashes: str


def write(
  runs: Mapping[str, epath.PathLike],
  folder: epath.PathLike,
  title: str,
  *,
  arms: Sequence[str] = ("ticket",),
  quantities: Sequence[statistics.Quantity] = (),
  by_weights: bool = False,
  whole: bool = False,
) -> epath.Path:
  """Draws several runs in one figure, and tabulates their tickets.

  Args:
    runs: workdirs, by the names to show; in the order to show them in.
    folder: where `comparison.svg`, `comparison.png` and `comparison.md` go.
    title: of the figure.
    arms: as for `draw`.
    quantities: likewise.
    by_weights: likewise.
    whole: likewise.

  Returns:
    The path of the table.

  Raises:
    lth_jax.errors.InputError: a workdir holds no run, or a damaged one.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as empty:
  ...   write({"0.1": empty}, empty, "Rates", arms=("ticket", "random"))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: ...: no config.json here; ...
  """
  read = {name: records.read(path) for name, path in runs.items()}
  drawn = draw(
    read,
    title,
    arms=arms,
    quantities=quantities,
    by_weights=by_weights,
    whole=whole,
  )
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "comparison.svg").write_bytes(drawn.svg)
  (folder / "comparison.png").write_bytes(drawn.png)
  rows = [_row(name, run) for name, run in read.items()]
  when = "early stop" if any(map(_has_early_stop, read.values())) else "the end"
  note = _note(read)
  caption = f"{title}. Tickets, at {when}{'; ' + note if note else ''}"
  text = tables.markdown(tables.Table(_HEAD, tuple(rows)), caption)
  (folder / "comparison.md").write_text(text)
  return folder / "comparison.md"


def draw(
  runs: Mapping[str, records.Run],
  title: str,
  *,
  arms: Sequence[str] = ("ticket",),
  quantities: Sequence[statistics.Quantity] = (),
  by_weights: bool = False,
  whole: bool = False,
) -> canvas.Drawn:
  """Draws several runs in one figure.

  A colour is a run, a dash an arm; of a single run, which the title then names,
  a colour is an arm. Controls have no dense network: their lines begin at the
  first density that they were trained at.

  Args:
    runs: by the names to show; in the order to show them in.
    title: of the figure.
    arms: which arms, of several runs at most four, in the order solid, dashed,
      dotted, dash-dotted; a run need not have all of them.
    quantities: a panel for each; by default those at early stop and at the end
      that all runs have, and of ResNet-20 and VGG-19 those of figures 7 and 8.
    by_weights: whether the axis is the number of weights left instead of their
      percentage.
    whole: whether vertical axes show all controls, however far below tickets.

  >>> from lth_jax.report import example
  >>> runs = {"a": example.run(ticket=[(500, 98.0), (400, 98.5)])}
  >>> draw(runs, "Rates").name
  'comparison'
  """
  parts = [
    functools.partial(_panel, runs, each, tuple(arms), by_weights, whole)
    for each in quantities or _quantities(tuple(runs.values()))
  ]
  if len(runs) == 1:
    title = f"{title} ({next(iter(runs))})"
  return canvas.draw_parts("comparison", title, parts, _note(runs))


def _note(runs: Mapping[str, records.Run]) -> str:
  """How the runs differ from the paper: what all share, then each its own."""
  notes = [
    protocols.differences(run.config).partition(": ") for run in runs.values()
  ]
  labels = dict.fromkeys(label for label, _, _ in notes if label)
  each = [[text for text in texts.split("; ") if text] for _, _, texts in notes]
  shared = [text for text in each[0] if all(text in own for own in each)]
  said = ["; ".join(shared)]
  for name, own in zip(runs, each):
    rest = "; ".join(text for text in own if text not in shared)
    said.append(f"{name}: {rest}" if rest else "")
  text = ". ".join(filter(None, said))
  return f"{' or '.join(labels)}: {text}" if text else ""


def _quantities(
  runs: Sequence[records.Run],
) -> Sequence[statistics.Quantity]:
  alike = {(run.config["model"], run.config["steps"]) for run in runs}
  if len(alike) == 1 and (found := layout.milestones(runs[0])):
    return found
  if all(map(_has_early_stop, runs)):
    return statistics.EARLY_STEP, statistics.EARLY_TEST, statistics.END_TEST
  return statistics.END_TEST, statistics.END_TRAIN


def _has_early_stop(run: records.Run) -> bool:
  return any(math.isfinite(trial.early_stop.step) for trial in run.trials)


def _panel(
  runs: Mapping[str, records.Run],
  quantity: statistics.Quantity,
  arms: Sequence[str],
  by_weights: bool,
  whole: bool,
  axes: mpl_axes.Axes,
) -> None:
  """Draws a line for each run and arm, tickets from the dense network on."""
  left = {
    name: statistics.grid(run).density
    * (run.trials[0].counted if by_weights else 100)
    for name, run in runs.items()
  }
  lines = _lines(runs, arms)
  for place, each in enumerate(lines):
    x = left[each.run]
    if not by_weights:
      x = panels.beside(x, place - (len(lines) - 1) / 2, log=True)
    panels.line(
      runs[each.run],
      each.arm,
      quantity,
      axes,
      x,
      label=each.label,
      color=each.color,
      marker=each.marker,
      dashes=each.dashes,
      zorder=4 - place / 10,
    )
  if len(runs) > 1:
    _explain(runs.values(), arms, axes)
  every = np.concatenate(list(left.values()))
  if by_weights:
    panels.weights_axis(axes, every)
  else:
    panels.density_axis(axes, np.unique(every), log=True)
  tickets = [
    statistics.values(run, "ticket", quantity).flatten()
    for run in runs.values()
  ]
  panels.value_axis(axes, quantity, np.concatenate(tickets), whole)


def _lines(runs: Mapping[str, records.Run], arms: Sequence[str]) -> list[_Line]:
  """The lines of a panel; of each run those of the arms that it has."""
  if len(runs) == 1:
    [(name, run)] = runs.items()
    return [
      _Line(name, arm, arm, *panels.look(arm, arms), "-")
      for arm in arms
      if arm in statistics.arms(run)
    ]
  colours = colormaps["viridis"](np.linspace(0, 0.8, len(runs)))
  return [
    _Line(
      name,
      arm,
      name if arm == arms[0] else "",
      colours[index],
      _MARKERS[index % len(_MARKERS)],
      dashes,
    )
    for index, (name, run) in enumerate(runs.items())
    for arm, dashes in zip(arms, _DASHES)
    if arm in statistics.arms(run)
  ]


def _explain(
  runs: Iterable[records.Run], arms: Sequence[str], axes: mpl_axes.Axes
) -> None:
  """Adds to the legend which dash is which arm, if several are shown."""
  shown = {arm for run in runs for arm in statistics.arms(run)}
  lines = [pair for pair in zip(arms, _DASHES) if pair[0] in shown]
  if len(lines) > 1:
    for arm, dashes in lines:
      axes.plot([], [], color="#444444", linestyle=dashes, label=arm)


def _row(name: str, run: records.Run) -> tuple[str, ...]:
  quantity = statistics.EARLY_TEST
  if not _has_early_stop(run):
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
  """The density before the first at which the mean is below dense."""
  gains, density = gains[np.isfinite(gains)], density[np.isfinite(gains)]
  fine = density[np.logical_and.accumulate(gains >= 0)]
  return f"{fine.min():.1f}%" if len(fine) else tables.DASH


def _mean(values, form: str) -> str:
  known = values[np.isfinite(values)]
  return form.format(known.mean()) if len(known) else tables.DASH
