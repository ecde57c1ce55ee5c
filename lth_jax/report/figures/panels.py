"""The panels of the figures: a run's numbers drawn on one pair of axes.

Lines are means over replicates, bars and bands run from the smallest to the
largest replicate, as in the paper. An arm has one colour in every figure
(Okabe and Ito's palette, safe for colour-blind readers).
"""

from __future__ import annotations  # so that matplotlib is loaded late

import math
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lth_jax.report import records, statistics

if typing.TYPE_CHECKING:
  from matplotlib import axes as mpl_axes

# Functions below import matplotlib where they use it, and so do those that draw
# in other files: it takes half a second, and commands' --help does without.
DrawPanel = Callable[["mpl_axes.Axes"], None]

# Colour and marker of each arm.
_ARMS = {
  "ticket": ("#0072B2", "o"),
  "reinit": ("#D55E00", "s"),
  "random": ("#009E73", "^"),
  "random_global": ("#AA4499", "D"),
  "redraw": ("#56B4E9", "P"),
  "magnitude_at_start": ("#806000", "v"),
}
# Other arms take these in turn, from light to dark: levels of noise ascend.
_OTHERS = tuple(zip(("#F0C000", "#E69F00", "#B07000", "#704000"), "<>X*"))
DENSE = "#333333"
# Distance of neighbouring arms at one density, as a share of the axis.
_SHIFT = 0.005
# Where a linear density axis begins.
_LINEAR_LIMIT = 103
_MOST_TICKS = 40


class Style(NamedTuple):
  """How a line looks; marker and dashes in matplotlib's notation.

  Attributes:
    label: for the legend, "" for none.
    color: of line and markers.
    marker: of each density.
    dashes: of the line.
    zorder: lines of a higher order are drawn over the others.
  """

  label: str
  color: Any
  marker: str
  dashes: str = "-"
  zorder: float = 4


def against_density(
  run: records.Run,
  quantity: statistics.Quantity,
  axes: mpl_axes.Axes,
  log: bool = True,
) -> None:
  """Draws a quantity of every arm against the percentage of weights left."""
  percent = 100 * run.grid.density
  shown = statistics.arms(run)
  for place, arm in enumerate(shown):
    x = shift(percent, place - (len(shown) - 1) / 2, log)
    style = Style(arm, *arm_style(arm, shown), zorder=4 - place / 10)
    line(axes, x, *numbers(run, arm, quantity), style)
  dense = statistics.interval(statistics.dense(run, quantity)).mean
  if math.isfinite(dense):
    style = {"color": DENSE, "linestyle": "--", "linewidth": 1.1}
    axes.axhline(dense, label="dense", **style)
  density_axis(axes, percent, log)
  value_axis(axes, quantity, statistics.values(run, "ticket", quantity))


def numbers(
  run: records.Run, arm: str, quantity: statistics.Quantity
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the values of a line, `[R, K]`, and its open markers, bool `[K]`.

  A marker is open where some trial did not reach its early stop.
  """
  values = statistics.values(run, arm, quantity)
  if quantity is not statistics.EARLY_STEP:
    return values, np.zeros(values.shape[1], bool)
  return values, np.any(statistics.lower_bounds(run, arm), axis=0)


def line(
  axes: mpl_axes.Axes,
  x: np.ndarray,
  values: np.ndarray,
  is_open: np.ndarray,
  style: Style,
) -> None:
  """Draws the mean over replicates, with bars from minimum to maximum.

  Args:
    axes: to draw on.
    x: place of each density, `[K]`.
    values: as from `numbers`, `[R, K]`.
    is_open: which markers are open, bool `[K]`.
    style: of the line.
  """
  spread = [statistics.interval(each) for each in values.T]
  known = np.array([each.n > 0 for each in spread])
  mean, low, high = np.array(
    [(each.mean, each.minimum, each.maximum) for each in spread]
  ).T
  markers = {"color": style.color, "marker": style.marker, "markersize": 4.5}
  axes.errorbar(
    x[known],
    mean[known],
    yerr=np.maximum(0, [(mean - low)[known], (high - mean)[known]]),
    label=style.label,
    capsize=2,
    elinewidth=1,
    linestyle=style.dashes,
    linewidth=1.5,
    zorder=style.zorder,
    **markers,
  )
  axes.plot(
    x[known & is_open],
    mean[known & is_open],
    linestyle="none",
    markerfacecolor="white",
    zorder=5,
    **markers,
  )


def density_axis(axes: mpl_axes.Axes, percent: np.ndarray, log: bool) -> None:
  """Makes the horizontal axis one of densities, in percent, dense to sparse."""
  from matplotlib import ticker

  axes.set_xlabel("Percent of weights left")
  if not log:
    axes.set_xlim(_LINEAR_LIMIT, 0)
    return
  _log_axis(axes, percent)
  axes.xaxis.set_major_locator(ticker.FixedLocator(_apart(percent)))
  axes.xaxis.set_major_formatter(
    lambda x, _: f"{x:.1f}".replace("100.0", "100")
  )
  # A tick for each density of one ladder; several ladders would be a mess.
  minor = percent.tolist() if len(percent) <= _MOST_TICKS else []
  axes.xaxis.set_minor_locator(ticker.FixedLocator(minor))


def weights_axis(axes: mpl_axes.Axes, weights: np.ndarray) -> None:
  """Makes the horizontal axis one of numbers of weights, large to small."""
  from matplotlib import ticker

  axes.set_xlabel("Weights left in the layers that are pruned")
  _log_axis(axes, weights)
  subs = (1, 2, 5) if weights.max() / weights.min() < 300 else (1,)
  axes.xaxis.set_major_locator(ticker.LogLocator(subs=subs))
  axes.xaxis.set_major_formatter(_abbreviate)


def value_axis(
  axes: mpl_axes.Axes,
  quantity: statistics.Quantity,
  tickets: np.ndarray,
  whole: bool = False,
) -> None:
  """Makes the vertical axis one of a quantity, with the range of tickets.

  Controls that collapse leave the panel, so that the tickets are not flattened.

  Args:
    axes: to change, with everything drawn.
    quantity: that is drawn.
    tickets: its values for tickets and dense networks, any shape; NaN is left
      out.
    whole: whether to show everything instead.
  """
  axes.set_title(quantity.title)
  if quantity is statistics.EARLY_STEP:
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0)
    return
  axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
  found = tickets[np.isfinite(tickets)]
  if len(found) == 0:
    return
  low, high = axes.get_ylim()
  if not whole:
    low = max(low, found.max() - 3 * max(found.max() - found.min(), 0.1))
  high = min(high, 100 + 0.04 * (high - low))
  # At least one point high, so that noise does not look like an effect.
  axes.set_ylim(min(low, high - 1), high)


def log_steps(axes: mpl_axes.Axes) -> None:
  """Makes the vertical axis, one of steps, logarithmic."""
  from matplotlib import ticker

  axes.set_yscale("log")
  axes.autoscale(axis="y")
  axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
  axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
  axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def shift(percent: np.ndarray, places: float, log: bool) -> np.ndarray:
  """Moves an arm sideways, so that the bars of several arms do not overlap.

  Args:
    percent: the densities, `[K]`; the dense network's stays, it has one arm.
    places: number of arms' distances to move to the right.
    log: whether the axis is logarithmic.
  """
  if log:
    low, high = _log_range(percent)
    moved = percent * (low / high) ** (_SHIFT * places)
  else:
    moved = percent - _LINEAR_LIMIT * _SHIFT * places
  return np.where(percent == 100, percent, moved)


def arm_style(arm: str, shown: Sequence[str] = ()) -> tuple[str, str]:
  """Returns the colour and the marker of an arm.

  Arms without a colour of their own, such as levels of noise, take others in
  the order of `shown`, the arms in the panel.
  """
  if arm in _ARMS:
    return _ARMS[arm]
  others = [name for name in shown if name not in _ARMS]
  return _OTHERS[others.index(arm) % len(_OTHERS)]


def _log_axis(axes: mpl_axes.Axes, values: np.ndarray) -> None:
  from matplotlib import ticker

  low, high = _log_range(values)
  axes.set_xscale("log")
  axes.set_xlim(high, low)
  axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def _log_range(values: np.ndarray) -> tuple[float, float]:
  """The ends of a logarithmic axis, with room for markers at both."""
  low, high = values.min(), values.max()
  margin = max(1.06, (high / low) ** 0.025)
  return low / margin, high * margin


def _apart(values: np.ndarray) -> list[float]:
  """The values that have room for a label, from the largest down."""
  chosen = [float(values.max())]
  # Not a whole number, so that whole steps of a ladder are no near miss.
  least = math.log(values.max() / values.min()) / 7.3
  for value in np.sort(values)[::-1]:
    if value < chosen[-1] and math.log(chosen[-1] / value) > least:
      chosen.append(float(value))
  return chosen


def _abbreviate(number: float, _) -> str:
  for size, unit in ((1e6, "M"), (1e3, "K")):
    if number >= size:
      return f"{number / size:g}{unit}"
  return f"{number:g}"
