"""The panels of the figures: a run's numbers drawn on one pair of axes.

Lines are means over replicates, bars and bands run from the smallest to the
largest replicate, as in the paper. An arm has one colour in every figure
(Okabe and Ito's palette, safe for colour-blind readers).
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import ticker

from lth_jax.report import records, statistics, tables

DrawPanel = Callable[[mpl_axes.Axes], None]

# Colour and marker of each arm.
_ARMS = {
  "ticket": ("#0072B2", "o"),
  "reinit": ("#D55E00", "s"),
  "random": ("#009E73", "^"),
  "random_global": ("#AA4499", "D"),
  "redraw": ("#56B4E9", "P"),
  "magnitude_at_start": ("#806000", "v"),
}
# Any others in turn, from light to dark: levels of noise ascend.
_OTHERS = tuple(zip(("#F0C000", "#E69F00", "#B07000", "#704000"), "<>X*"))
_DENSE = "#333333"
# Shades of an arm's colour for its densities, dense to sparse, mixed with
# white (positive) or black (negative).
_SHADES = {51.3: 0.5, 21.1: 0.0, 7.0: 0.55, 3.6: 0.2, 1.9: -0.55}
_DASHES = {51.3: "-", 21.1: "-", 7.0: (0, (5, 1.5)), 3.6: "--", 1.9: ":"}
# Figure 3: title of a panel, and (arm, density in percent) of its curves.
_PANELS_3 = (
  ("First rounds", (("ticket", 51.3), ("ticket", 21.1))),
  (
    "Later rounds",
    (("ticket", 21.1), ("ticket", 7.0), ("ticket", 3.6), ("ticket", 1.9)),
  ),
  (
    "Reinitialized",
    (
      ("ticket", 51.3),
      ("ticket", 21.1),
      ("reinit", 51.3),
      ("reinit", 21.1),
    ),
  ),
)
# Figure 3 is about the rise of the curves; they are flat long before the end of
# the paper's 50,000 iterations.
_LAST_STEP_3 = 15000
# Distance of neighbouring arms at one density, as a share of the axis.
_BESIDE = 0.005
# Margins of the density axis, on a logarithmic and on a linear scale.
_LOG_MARGIN, _LINEAR_LIMIT = 1.06, 103


def against_density(
  run: records.Run,
  quantity: statistics.Quantity,
  axes: mpl_axes.Axes,
  log: bool = True,
) -> None:
  """Draws a quantity of every arm against the percentage of weights left.

  >>> from matplotlib import figure
  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Lane(0, 0, "ticket", 0, 1.0, [], [], end, end, False, ())
  >>> axes = figure.Figure().subplots()
  >>> run = records.Run("example", {}, (dense,))
  >>> against_density(run, statistics.EARLY_STEP, axes)
  >>> axes.get_title(), axes.get_xlabel()
  ('Early-stop step', 'Percent of weights left')
  """
  percent = 100 * statistics.grid(run).density
  shown = statistics.arms(run)
  for place, arm in enumerate(shown):
    colour, marker = _look(arm, shown)
    line(
      run,
      arm,
      quantity,
      axes,
      beside(percent, place - (len(shown) - 1) / 2, log),
      label=arm,
      color=colour,
      marker=marker,
      zorder=4 - place / 10,
    )
  _dense_line(run, quantity, axes)
  density_axis(axes, percent, log)
  axes.set_title(quantity.title)
  if quantity is statistics.EARLY_STEP:
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    axes.set_ylim(bottom=0)
  else:
    _zoom(axes, run, quantity)


def line(
  run: records.Run,
  arm: str,
  quantity: statistics.Quantity,
  axes: mpl_axes.Axes,
  x: np.ndarray,
  *,
  label: str,
  color: Any,
  marker: str,
  zorder: float = 4,
) -> None:
  """Draws an arm's mean over replicates, with bars from minimum to maximum.

  Steps of lanes whose early stop was not reached are open symbols.

  Args:
    run: the run.
    arm: one of its arms.
    quantity: what to draw.
    axes: where to.
    x: place of each density, `[K]`.
    label: for the legend.
    color: of line and markers.
    marker: matplotlib's name of one.
    zorder: what is drawn over what.

  >>> from matplotlib import figure
  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Lane(0, 0, "ticket", 0, 1.0, [], [], end, end, False, ())
  >>> run = records.Run("example", {}, (dense,))
  >>> axes = figure.Figure().subplots()
  >>> look = {"label": "0.1", "color": "k", "marker": "o"}
  >>> line(run, "ticket", statistics.END_TEST, axes, np.array([100]), **look)
  >>> axes.get_legend_handles_labels()[1]
  ['0.1']
  """
  spread = [
    statistics.interval(each)
    for each in statistics.values(run, arm, quantity).T
  ]
  known = np.array([each.n > 0 for each in spread])
  mean, low, high = np.array(
    [(each.mean, each.minimum, each.maximum) for each in spread]
  ).T
  late = statistics.not_reached(run, arm).any(axis=0)
  late &= quantity is statistics.EARLY_STEP
  style = {"color": color, "marker": marker, "markersize": 4.5}
  axes.errorbar(
    x[known],
    mean[known],
    yerr=np.maximum(0, [(mean - low)[known], (high - mean)[known]]),
    label=label,
    capsize=2,
    elinewidth=1,
    linewidth=1.5,
    zorder=zorder,
    **style,
  )
  axes.plot(
    x[known & late],
    mean[known & late],
    linestyle="none",
    markerfacecolor="white",
    zorder=5,
    **style,
  )


def density_axis(axes: mpl_axes.Axes, percent: np.ndarray, log: bool) -> None:
  """Makes the horizontal axis one of the percentage of weights left.

  Args:
    axes: whose.
    percent: the densities, `[K]`, dense to sparse.
    log: whether it is logarithmic.

  >>> from matplotlib import figure
  >>> axes = figure.Figure().subplots()
  >>> density_axis(axes, np.array([100.0, 50.0]), log=True)
  >>> axes.get_xlabel()
  'Percent of weights left'
  """
  if log:
    every = math.ceil(len(percent) / 7)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.FixedLocator(percent[::every].tolist()))
    axes.xaxis.set_major_formatter(
      ticker.FuncFormatter(lambda x, _: f"{x:.1f}".replace("100.0", "100"))
    )
    axes.xaxis.set_minor_locator(ticker.FixedLocator(percent.tolist()))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlim(percent.max() * _LOG_MARGIN, percent.min() / _LOG_MARGIN)
  else:
    axes.set_xlim(_LINEAR_LIMIT, 0)
  axes.set_xlabel("Percent of weights left")


def learning(run: records.Run) -> tuple[DrawPanel, ...]:
  """Returns the panels of figure 3: those whose arms the run has.

  >>> none, end = np.empty(0), records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Lane(
  ...   0, 0, "ticket", 0, 1.0, none, none, end, end, False, ()
  ... )
  >>> both = dense, dense._replace(round=1, density=0.5, arm="reinit")
  >>> runs = [records.Run("example", {"steps": 9}, x) for x in ((dense,), both)]
  >>> [len(learning(run)) for run in runs]  # the third panel is of reinit
  [2, 3]
  """
  limits = _limits_3(run)
  present = statistics.arms(run)
  return tuple(
    functools.partial(_learning_curves, run, title, curves, limits)
    for title, curves in _PANELS_3
    if all(arm in present for arm, _ in curves)
  )


def beside(percent: np.ndarray, places: float, log: bool) -> np.ndarray:
  """Moves an arm to the right, so that bars of arms stand beside each other.

  Args:
    percent: the densities, `[K]`.
    places: how many arms' distances to move by.
    log: whether the axis is logarithmic.

  Returns:
    Where to draw, `[K]`; the dense network stays, it has one arm only.

  >>> beside(np.array([100.0, 50.0]), 1, log=False).tolist()
  [100.0, 49.485]
  """
  if log:
    low, high = percent.min() / _LOG_MARGIN, percent.max() * _LOG_MARGIN
    moved = percent * (low / high) ** (_BESIDE * places)
  else:
    moved = percent - _LINEAR_LIMIT * _BESIDE * places
  return np.where(percent == 100, percent, moved)


def _look(arm: str, shown: Sequence[str]) -> tuple[str, str]:
  """Colour and marker of an arm among those that are shown."""
  if arm in _ARMS:
    return _ARMS[arm]
  others = [name for name in shown if name not in _ARMS]
  return _OTHERS[others.index(arm) % len(_OTHERS)]


def _dense_line(
  run: records.Run, quantity: statistics.Quantity, axes: mpl_axes.Axes
) -> None:
  dense = statistics.values(run, "ticket", quantity)
  dense = statistics.interval(
    statistics.at(dense, statistics.column(run, 1.0))
  ).mean
  if math.isfinite(dense):
    axes.axhline(
      dense, color=_DENSE, linestyle="--", linewidth=1.1, label="dense"
    )


def _zoom(
  axes: mpl_axes.Axes, run: records.Run, quantity: statistics.Quantity
) -> None:
  """Keeps controls that collapse from flattening what tickets do."""
  ticket = statistics.values(run, "ticket", quantity)
  found = ticket[np.isfinite(ticket)]
  if len(found) == 0:
    return
  low, high = axes.get_ylim()
  floor = found.max() - 3 * max(found.max() - found.min(), 0.1)
  # At least one point high, lest noise look like an effect.
  high = min(high, 100.05)
  low = min(max(low, floor), high - 1)
  axes.set_ylim(low, high)
  axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda y, _: f"{y:g}"))


def _nearest(run: records.Run, arm: str, percent: float) -> int | None:
  """The round of an arm whose density is nearest, dense left out."""
  rounds = {
    lane.round: abs(math.log(100 * lane.density / percent))
    for lane in run.lanes
    if lane.arm == arm and lane.round > 0
  }
  return min(rounds, key=lambda index: (rounds[index], index), default=None)


def _learning_curves(
  run: records.Run,
  title: str,
  wanted: Sequence[tuple[str, float]],
  limits: tuple[float, float],
  axes: mpl_axes.Axes,
) -> None:
  """Draws test accuracy against training step, one curve a density."""
  density = dict(zip(statistics.grid(run).rounds, statistics.grid(run).density))
  _curve(run, axes, "ticket", 0, "100%", _DENSE, "--")
  drawn = set()
  for arm, percent in wanted:
    index = _nearest(run, arm, percent)
    if index is None or (arm, index) in drawn:
      continue
    drawn.add((arm, index))
    name = f"{tables.percent(density[index])} {arm}"
    colour = _shade(_ARMS[arm][0], _SHADES[percent])
    _curve(run, axes, arm, index, name, colour, _DASHES[percent])
  axes.set_title(title)
  axes.set_xlabel("Training iteration")
  axes.set_ylabel("Test accuracy (%)")
  axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
  axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
  axes.set_xlim(0, min(run.config["steps"], _LAST_STEP_3))
  axes.set_ylim(limits)


def _curve(run, axes, arm, index, label, colour, dashes) -> None:
  steps, accuracy = statistics.curves(run, arm, index)
  if len(steps) == 0:
    return
  axes.fill_between(
    steps,
    accuracy.min(axis=0),
    accuracy.max(axis=0),
    color=colour,
    alpha=0.16,
    linewidth=0,
  )
  axes.plot(
    steps,
    accuracy.mean(axis=0),
    color=colour,
    linestyle=dashes,
    linewidth=1.7,
    label=label,
  )


def _limits_3(run: records.Run) -> tuple[float, float]:
  """The accuracy axis of figure 3: from dense early in training to the best."""
  steps, accuracy = statistics.curves(run, "ticket", 0)
  if len(steps) < 2:
    return 0.0, 100.0
  last = min(run.config["steps"], _LAST_STEP_3)
  early = max(1, np.searchsorted(steps, 0.04 * last))
  low = accuracy[:, min(early, len(steps) - 1)].min()
  high = max(100 * np.nanmax(lane.test_curve, initial=0) for lane in run.lanes)
  return float(low), float(high + 0.05 * max(high - low, 1))


def _shade(colour: str, amount: float) -> tuple[float, ...]:
  channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
  end = 1.0 if amount > 0 else 0.0
  return tuple(c + abs(amount) * (end - c) for c in channels)
