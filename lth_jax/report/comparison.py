"""Several runs in one figure and one table, such as those of a sweep."""

from __future__ import annotations  # so that matplotlib is loaded late

import functools
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from lth_jax.config import configs
from lth_jax.report import plan, protocols, records, statistics, tables
from lth_jax.report.figures import canvas, layout, panels

if typing.TYPE_CHECKING:
  from matplotlib import axes as mpl_axes

_MARKERS = "os^Dv<>P"
# Of arms, in their order.
_DASHES = ("-", "--", ":", "-.")
# A run is not comparable if it is further from the best than so many times the
# others, and steps that differ by this factor need a logarithmic axis.
_FAR, _FACTOR = 3, 4
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
_Runs = Mapping[str, records.Run]


class View(NamedTuple):
  """What a comparison shows.

  Attributes:
    arms: of several runs at most four, in the order solid, dashed, dotted,
      dash-dotted; a run need not have all of them.
    quantities: a panel for each; empty for early stop and end, as far as all
      runs have them, and for the steps of figures 7 and 8 for ResNet-20 and
      VGG-19.
    by_weights: whether the axis is the number of weights left in the layers
      that are pruned, instead of the percentage of all.
    whole: whether vertical axes show all controls, however far below tickets.
  """

  arms: Sequence[str] = ("ticket",)
  quantities: Sequence[statistics.Quantity] = ()
  by_weights: bool = False
  whole: bool = False


TICKETS = View()


def write(
  runs: Mapping[str, epath.PathLike],
  folder: epath.PathLike,
  title: str,
  view: View = TICKETS,
) -> epath.Path:
  """Draws several runs in one figure, and tabulates their tickets.

  Args:
    runs: {name to show: workdir}, in the order to show them.
    folder: gets `comparison.svg`, `comparison.png` and `comparison.md`.
    title: of the figure.
    view: what to show.

  Returns:
    The path of the table.

  Raises:
    lth_jax.errors.InputError: a workdir holds no run, or a damaged one.
  """
  read = {name: records.read(path) for name, path in runs.items()}
  drawn = draw(read, title, view)
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "comparison.svg").write_bytes(drawn.svg)
  (folder / "comparison.png").write_bytes(drawn.png)
  when = (
    "early stop"
    if any(map(statistics.has_early_stop, read.values()))
    else "the end"
  )
  note = _note(read)
  caption = f"{title}. Tickets, at {when}{'; ' + note if note else ''}"
  text = tables.markdown(table(read), caption)
  (folder / "comparison.md").write_text(text)
  return folder / "comparison.md"


def draw(runs: _Runs, title: str, view: View = TICKETS) -> canvas.Drawn:
  """Draws several runs, {name to show: run}, in one figure.

  A colour is a run, a dash an arm; of a single run, which the title then names,
  a colour is an arm. Controls have no dense network: their lines begin at the
  first density that they were trained at.
  """
  quantities = view.quantities or _quantities(tuple(runs.values()))
  parts = [functools.partial(_panel, runs, each, view) for each in quantities]
  if len(runs) == 1:
    title = f"{title} ({next(iter(runs))})"
  return canvas.draw_parts("comparison", title, parts, _note(runs))


def num_lines(runs: _Runs, view: View) -> int:
  """Returns the number of lines in each panel; one compares nothing."""
  return len(_styles(runs, view.arms))


def table(runs: _Runs) -> tables.Table:
  """Tabulates the tickets of several runs, one row a run."""
  return tables.Table(_HEAD, tuple(_row(*item) for item in runs.items()))


def _note(runs: _Runs) -> str:
  """How the runs differ from the paper: first what all share, then each run."""
  notes = [
    protocols.differences(run.config).partition(": ") for run in runs.values()
  ]
  labels = dict.fromkeys(label for label, _, _ in notes if label)
  each = [[text for text in texts.split("; ") if text] for _, _, texts in notes]
  shared = [text for text in each[0] if all(text in own for own in each)]
  parts = ["; ".join(shared)]
  for name, own in zip(runs, each):
    rest = "; ".join(text for text in own if text not in shared)
    parts.append(f"{name}: {rest}" if rest else "")
  text = ". ".join(filter(None, parts))
  return f"{' or '.join(labels)}: {text}" if text else ""


def _quantities(runs: Sequence[records.Run]) -> Sequence[statistics.Quantity]:
  kinds = {(run.config["model"], run.config["steps"]) for run in runs}
  if len(kinds) == 1 and (found := layout.milestones(runs[0])):
    return found
  if all(map(statistics.has_early_stop, runs)):
    return statistics.EARLY_STEP, statistics.EARLY_TEST, statistics.END_TEST
  return statistics.END_TEST, statistics.END_TRAIN


def _panel(
  runs: _Runs, quantity: statistics.Quantity, view: View, axes: mpl_axes.Axes
) -> None:
  """Draws a line for each run and arm, tickets from the dense network on."""
  left = {
    name: _weights_left(run) if view.by_weights else 100 * run.grid.density
    for name, run in runs.items()
  }
  styles = _styles(runs, view.arms)
  for place, ((name, arm), style) in enumerate(styles.items()):
    x = left[name]
    if not view.by_weights:
      x = panels.shift(x, place - (len(styles) - 1) / 2, log=True)
    numbers = panels.numbers(runs[name], arm, quantity)
    panels.line(axes, x, *numbers, style._replace(zorder=4 - place / 10))
  if len(runs) > 1:
    _explain(runs, view.arms, axes)
  every = np.concatenate(list(left.values()))
  if view.by_weights:
    panels.weights_axis(axes, every)
  else:
    panels.density_axis(axes, np.unique(every), log=True)
  tickets = [
    found[np.isfinite(found)]
    for run in runs.values()
    for found in [statistics.values(run, "ticket", quantity)]
  ]
  _value_axis(axes, quantity, [x for x in tickets if len(x)], view.whole)


def _value_axis(
  axes: mpl_axes.Axes,
  quantity: statistics.Quantity,
  tickets: Sequence[np.ndarray],
  whole: bool,
) -> None:
  """Fits the vertical axis to the tickets of most runs."""
  kept = _comparable(tickets)
  shown = np.concatenate(kept or [np.empty(0)])
  panels.value_axis(axes, quantity, shown, whole)
  means = [found.mean() for found in tickets]
  if quantity is statistics.EARLY_STEP:
    if max(means, default=0) > _FACTOR * min(means, default=0):
      panels.log_steps(axes)
  elif len(kept) < len(tickets) and not whole:
    axes.set_ylim(bottom=shown.min() - np.ptp(shown) / 5)


def _weights_left(run: records.Run) -> np.ndarray:
  """The weights left in the layers that are pruned, `[K]`."""
  left = run.results[0].counted * run.grid.density
  if len(left) < 3 or all(rate for _, rate in configs.rules(run.typed_config)):
    return left
  # What a round prunes falls by one factor from round to round.
  first, second = -np.diff(left[:3])
  return left - left[0] + first / (1 - second / first)


def _comparable(tickets: Sequence[np.ndarray]) -> list[np.ndarray]:
  """Leaves out runs that would squeeze all others to the top of a panel."""
  if not tickets:
    return []
  top = max(found.max() for found in tickets)
  usual = np.median([top - found.min() for found in tickets])
  return [x for x in tickets if top - x.max() <= _FAR * max(usual, 0.5)]


def _styles(
  runs: _Runs, arms: Sequence[str]
) -> dict[tuple[str, str], panels.Style]:
  """{(run, arm): its style}, for the arms that each run has."""
  if len(runs) == 1:
    [(name, run)] = runs.items()
    return {
      (name, arm): panels.Style(arm, *panels.arm_style(arm, arms))
      for arm in arms
      if arm in statistics.arms(run)
    }
  from matplotlib import colormaps

  colours = colormaps["viridis"](np.linspace(0, 0.8, len(runs)))
  return {
    (name, arm): panels.Style(
      name if arm == arms[0] else "",
      colours[index],
      _MARKERS[index % len(_MARKERS)],
      dashes,
    )
    for index, (name, run) in enumerate(runs.items())
    for arm, dashes in zip(arms, _DASHES)
    if arm in statistics.arms(run)
  }


def _explain(runs: _Runs, arms: Sequence[str], axes: mpl_axes.Axes) -> None:
  """Adds the dash of each arm to the legend, if several arms are shown."""
  shown = {arm for run in runs.values() for arm in statistics.arms(run)}
  lines = [pair for pair in zip(arms, _DASHES) if pair[0] in shown]
  if len(lines) > 1:
    for arm, dashes in lines:
      axes.plot([], [], color="#444444", linestyle=dashes, label=arm)


def _row(name: str, run: records.Run) -> tuple[str, ...]:
  stops = statistics.has_early_stop(run)
  quantity = statistics.EARLY_TEST if stops else statistics.END_TEST
  accuracy, gains = _gains(run, quantity, lambda table, dense: table - dense)
  step, sooner = _gains(
    run,
    statistics.EARLY_STEP,
    lambda table, dense: 100 * (1 - table / np.where(dense > 0, dense, np.nan)),
  )
  density = 100 * run.grid.density
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


def _gains(
  run: records.Run,
  quantity: statistics.Quantity,
  gain: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
  """The dense networks' numbers `[R]`, and mean gains over replicates `[K]`."""
  dense = statistics.dense(run, quantity)
  found = gain(statistics.values(run, "ticket", quantity), dense[:, None])
  means = [statistics.interval(column).mean for column in found.T]
  return dense, np.array(means)


def _best(means: np.ndarray, density: np.ndarray, form: str) -> tuple[str, str]:
  """The largest mean and its density; dashes if there is none."""
  pruned = np.where(density < 100, means, np.nan)
  if not np.isfinite(pruned).any():
    return tables.DASH, tables.DASH
  best = int(np.nanargmax(pruned))
  return form.format(pruned[best]), f"{density[best]:.1f}%"


def _down_to(gains: np.ndarray, density: np.ndarray) -> str:
  """The density before the first at which the mean is below dense."""
  gains, density = gains[np.isfinite(gains)], density[np.isfinite(gains)]
  fine = density[np.logical_and.accumulate(gains >= 0)]
  return f"{fine.min():.1f}%" if len(fine) else tables.DASH


def _mean(values: np.ndarray, form: str) -> str:
  known = values[np.isfinite(values)]
  return form.format(known.mean()) if len(known) else tables.DASH
