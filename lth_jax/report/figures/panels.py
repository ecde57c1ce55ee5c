"""The panels of the figures: a run's numbers drawn on one pair of axes.

Lines are means over replicates, bars and bands run from the smallest to the
largest replicate, as in the paper. An arm has one colour in every figure
(Okabe and Ito's palette, safe for colour-blind readers).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import ticker

from lth_jax.report import records, statistics

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
DENSE = "#333333"
# Distance of neighbouring arms at one density, as a share of the axis.
_BESIDE = 0.005
# Where a linear density axis begins.
_LINEAR_LIMIT = 103
_MOST_TICKS = 40


def against_density(
  run: records.Run,
  quantity: statistics.Quantity,
  axes: mpl_axes.Axes,
  log: bool = True,
) -> None:
  """Draws a quantity of every arm against the percentage of weights left.

  >>> from matplotlib import figure
  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> axes = figure.Figure().subplots()
  >>> run = records.Run("example", {}, (dense,))
  >>> against_density(run, statistics.EARLY_STEP, axes)
  >>> axes.get_title(), axes.get_xlabel()
  ('Early-stop step', 'Percent of weights left')
  """
  percent = 100 * statistics.grid(run).density
  shown = statistics.arms(run)
  for place, arm in enumerate(shown):
    colour, marker = look(arm, shown)
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
  value_axis(axes, quantity, statistics.values(run, "ticket", quantity))


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
  dashes: str = "-",
  zorder: float = 4,
) -> None:
  """Draws an arm's mean over replicates, with bars from minimum to maximum.

  Steps of trials whose early stop was not reached are open symbols.

  Args:
    run: the run.
    arm: one of its arms.
    quantity: what to draw.
    axes: where to.
    x: place of each density, `[K]`.
    label: for the legend.
    color: of line and markers.
    marker: matplotlib's name of one.
    dashes: matplotlib's name of a style of line.
    zorder: what is drawn over what.

  >>> from matplotlib import figure
  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
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
    linestyle=dashes,
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
  axes.set_xlabel("Percent of weights left")
  if not log:
    axes.set_xlim(_LINEAR_LIMIT, 0)
    return
  _log_axis(axes, percent)
  axes.xaxis.set_major_locator(ticker.FixedLocator(_apart(percent)))
  axes.xaxis.set_major_formatter(
    ticker.FuncFormatter(lambda x, _: f"{x:.1f}".replace("100.0", "100"))
  )
  # One ladder of densities has a tick each, several together would have a mess.
  minor = percent.tolist() if len(percent) <= _MOST_TICKS else []
  axes.xaxis.set_minor_locator(ticker.FixedLocator(minor))


def weights_axis(axes: mpl_axes.Axes, weights: np.ndarray) -> None:
  """Makes the horizontal axis one of the number of weights left.

  Args:
    axes: whose.
    weights: the numbers, `[K]`.

  >>> from matplotlib import figure
  >>> axes = figure.Figure().subplots()
  >>> weights_axis(axes, np.array([266200.0, 3178.0]))
  >>> axes.get_xlabel(), axes.xaxis.get_major_formatter()(20000)
  ('Number of weights left', '20K')
  """
  axes.set_xlabel("Number of weights left")
  _log_axis(axes, weights)
  subs = (1, 2, 5) if weights.max() / weights.min() < 300 else (1,)
  axes.xaxis.set_major_locator(ticker.LogLocator(subs=subs))
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(_short))


def value_axis(
  axes: mpl_axes.Axes,
  quantity: statistics.Quantity,
  tickets: np.ndarray,
  whole: bool = False,
) -> None:
  """Makes the vertical axis one of a quantity, its range that of tickets.

  Controls that collapse do not flatten what tickets do.

  Args:
    axes: whose, with everything drawn.
    quantity: what is drawn.
    tickets: what tickets and dense networks have, any shape, NaN left out.
    whole: whether the range is that of all that is drawn instead.

  >>> from matplotlib import figure
  >>> axes = figure.Figure().subplots()
  >>> _ = axes.plot([98.0, 98.4, 10.0])
  >>> value_axis(axes, statistics.END_TEST, np.array([98.0, 98.4]))
  >>> print(f"{axes.get_ylim()[0]:.1f}")
  97.2
  """
  axes.set_title(quantity.title)
  if quantity is statistics.EARLY_STEP:
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    axes.set_ylim(bottom=0)
    return
  axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda y, _: f"{y:g}"))
  found = tickets[np.isfinite(tickets)]
  if len(found) == 0:
    return
  low, high = axes.get_ylim()
  if not whole:
    low = max(low, found.max() - 3 * max(found.max() - found.min(), 0.1))
  high = min(high, 100 + 0.04 * (high - low))
  # At least one point high, lest noise look like an effect.
  axes.set_ylim(min(low, high - 1), high)


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
    low, high = _log_range(percent)
    moved = percent * (low / high) ** (_BESIDE * places)
  else:
    moved = percent - _LINEAR_LIMIT * _BESIDE * places
  return np.where(percent == 100, percent, moved)


def look(arm: str, shown: Sequence[str] = ()) -> tuple[str, str]:
  """Returns the colour and the marker of an arm.

  Args:
    arm: its name.
    shown: the arms that are shown; those without a colour of their own, such
      as levels of noise, take others in their order.

  >>> look("ticket"), look("noise 2", ["noise 1", "noise 2"])
  (('#0072B2', 'o'), ('#E69F00', '>'))
  """
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
      dense, color=DENSE, linestyle="--", linewidth=1.1, label="dense"
    )


def _log_axis(axes: mpl_axes.Axes, values: np.ndarray) -> None:
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
  """The values that labels fit to: the first, and each far from the last."""
  chosen = [float(values.max())]
  # No whole number: whole steps of a ladder must not be a near miss.
  least = math.log(values.max() / values.min()) / 7.3
  for value in np.sort(values)[::-1]:
    if value < chosen[-1] and math.log(chosen[-1] / value) > least:
      chosen.append(float(value))
  return chosen


def _short(number: float, _) -> str:
  for size, unit in ((1e6, "M"), (1e3, "K")):
    if number >= size:
      return f"{number / size:g}{unit}"
  return f"{number:g}"
