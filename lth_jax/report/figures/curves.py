"""Curves over a training, a few densities a panel: figures 3 and 11."""

from __future__ import annotations  # so that matplotlib is loaded late

import functools
import typing
from collections.abc import Sequence
from typing import Any

import numpy as np

from lth_jax.report import records, statistics, tables
from lth_jax.report.figures import panels

if typing.TYPE_CHECKING:
  from matplotlib import axes as mpl_axes

# Colour and dashes of each arm at a density (%): no two panels use one for two.
_STYLES = {
  ("ticket", 51.3): ("#56B4E9", "-"),
  ("ticket", 21.1): ("#0072B2", "-"),
  ("ticket", 7.0): ("#AA4499", "-"),
  ("ticket", 3.6): ("#882255", (0, (5, 1.5))),
  ("ticket", 1.9): ("#661100", ":"),
  ("reinit", 51.3): ("#F0A860", "-"),
  ("reinit", 21.1): ("#D55E00", "-"),
}
# Title of each panel, and (arm, density in percent) of its curves.
_PANELS = (
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
# The dense network's curve is inside the panel from this share of the shown
# training on.
_EARLY = 0.025


def draw(
  run: records.Run, curve: statistics.Curve, last_step: int
) -> tuple[panels.DrawPanel, ...]:
  """Returns a panel for each group of curves whose arms the run has.

  There is none if no trial has such a curve. Panels end at `last_step`.
  """
  if not any(np.isfinite(curve.read(each)[1]).any() for each in run.results):
    return ()
  present = statistics.arms(run)
  return tuple(
    functools.partial(_draw, run, curve, last_step, panel)
    for panel in _PANELS
    if all(arm in present for arm, _ in panel[1])
  )


def shown(run: records.Run) -> set[tuple[str, int]]:
  """Returns arm and round of each curve that `draw` shows."""
  found = {(arm, _nearest(run, arm, percent)) for arm, percent in _STYLES}
  pruned = {(arm, index) for arm, index in found if index is not None}
  return pruned | {("ticket", 0)}


def _draw(
  run: records.Run,
  curve: statistics.Curve,
  last_step: int,
  panel: tuple[str, Sequence[tuple[str, float]]],
  axes: mpl_axes.Axes,
) -> None:
  """Draws a curve against the training step, one line a density."""
  from matplotlib import ticker

  title, wanted = panel
  density = dict(zip(run.grid.rounds, run.grid.density))
  dense = statistics.curves(run, "ticket", 0, curve)
  _line(axes, *dense, label="100%", color=panels.DENSE, linestyle="--")
  drawn = set()
  for arm, percent in wanted:
    index = _nearest(run, arm, percent)
    if index is None or (arm, index) in drawn:
      continue
    drawn.add((arm, index))
    _line(
      axes,
      *statistics.curves(run, arm, index, curve),
      label=f"{tables.percent(density[index])} {arm}",
      color=_STYLES[arm, percent][0],
      linestyle=_STYLES[arm, percent][1],
    )
  axes.set_title(title)
  axes.set_xlabel("Training iteration")
  axes.set_ylabel(curve.label)
  axes.xaxis.set_major_formatter("{x:,.0f}")
  axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
  axes.set_xlim(0, last_step)
  axes.set_ylim(_limits(run, curve, last_step))


def _line(
  axes: mpl_axes.Axes, steps: np.ndarray, values: np.ndarray, **style: Any
) -> None:
  """Draws the mean of `[R, T]`, and a band from minimum to maximum."""
  if len(steps) == 0:
    return
  low, high = values.min(axis=0), values.max(axis=0)
  band = {"color": style["color"], "alpha": 0.16, "linewidth": 0}
  axes.fill_between(steps, low, high, **band)
  axes.plot(steps, values.mean(axis=0), linewidth=1.7, **style)


def _nearest(run: records.Run, arm: str, percent: float) -> int | None:
  """The pruned round of an arm whose density is nearest."""
  rounds = {
    each.round: abs(np.log(100 * each.density / percent))
    for each in run.results
    if each.arm == arm and each.round > 0
  }
  return min(rounds, key=lambda index: (rounds[index], index), default=None)


def _limits(
  run: records.Run, curve: statistics.Curve, last_step: int
) -> tuple[float, float] | None:
  """The vertical axis of all panels: it begins with the early dense network."""
  steps, dense = statistics.curves(run, "ticket", 0, curve)
  shown = dense[:, steps <= last_step]
  if shown.shape[1] < 2:
    return None
  index = max(1, int(np.searchsorted(steps, _EARLY * last_step)))
  early = shown[:, min(index, shown.shape[1] - 1)]
  if not np.isfinite(early).any():
    return None
  each = [curve.read(x)[1] for x in run.results if not x.diverged]
  every = np.concatenate(each)
  if curve is statistics.VALID_CURVE:
    last, least = shown[:, -1], float(np.nanmin(every))
    rise = float(np.max(last, initial=least, where=np.isfinite(last)))
    return _loss_limits(least, float(np.nanmax(early)), rise)
  low, high = float(np.nanmin(early)), float(np.nanmax(every))
  return low, high + 0.05 * max(high - low, 1)


def _loss_limits(low: float, early: float, rise: float) -> tuple[float, float]:
  """Limits that show the fall from `early` and at most twice as much rise."""
  fall = max(early - low, 1e-3)  # a flat curve has none
  return low - 0.05 * fall, low + 1.05 * max(fall, min(rise - low, 2 * fall))
