"""Curves while training, a few densities a panel: figures 3 and 11."""

import functools
from collections.abc import Sequence

import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import ticker

from lth_jax.report import records, statistics, tables
from lth_jax.report.figures import panels

# Shades of an arm's colour for its densities (%), dense to sparse, mixed with
# white (positive) or black (negative).
_SHADES = {51.3: 0.5, 21.1: 0.0, 7.0: 0.55, 3.6: 0.2, 1.9: -0.55}
_DASHES = {51.3: "-", 21.1: "-", 7.0: (0, (5, 1.5)), 3.6: "--", 1.9: ":"}
# Title of a panel, and (arm, density in percent) of its curves.
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
# Share of the training that is shown after which the dense network's curve
# has to be inside of a panel.
_EARLY = 0.04


def draw(
  run: records.Run, curve: statistics.Curve, last_step: int
) -> tuple[panels.DrawPanel, ...]:
  """Returns a panel for each group of curves whose arms the run has.

  Args:
    run: the run.
    curve: of what.
    last_step: where the panels end.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> curve = np.array([0, 500]), np.array([0.1, 0.98])
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, *curve, end, end, 0, ())
  >>> both = dense, dense._replace(round=1, density=0.5, arm="reinit")
  >>> runs = [records.Run("example", {}, trials) for trials in ((dense,), both)]
  >>> [len(draw(run, statistics.TEST_CURVE, 500)) for run in runs]
  [2, 3]
  >>> draw(runs[0], statistics.VALID_CURVE, 500)  # it has none
  ()
  """
  if not any(np.isfinite(curve.read(trial)[1]).any() for trial in run.trials):
    return ()
  present = statistics.arms(run)
  return tuple(
    functools.partial(_panel, run, curve, title, wanted, last_step)
    for title, wanted in _PANELS
    if all(arm in present for arm, _ in wanted)
  )


def _panel(
  run: records.Run,
  curve: statistics.Curve,
  title: str,
  wanted: Sequence[tuple[str, float]],
  last_step: int,
  axes: mpl_axes.Axes,
) -> None:
  """Draws a curve against the training step, one line a density."""
  density = dict(zip(statistics.grid(run).rounds, statistics.grid(run).density))
  dense = statistics.curves(run, "ticket", 0, curve)
  _line(axes, *dense, "100%", panels.DENSE, "--")
  drawn = set()
  for arm, percent in wanted:
    index = _nearest(run, arm, percent)
    if index is None or (arm, index) in drawn:
      continue
    drawn.add((arm, index))
    _line(
      axes,
      *statistics.curves(run, arm, index, curve),
      f"{tables.percent(density[index])} {arm}",
      _shade(panels.look(arm)[0], _SHADES[percent]),
      _DASHES[percent],
    )
  axes.set_title(title)
  axes.set_xlabel("Training iteration")
  axes.set_ylabel(curve.label)
  axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
  axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
  axes.set_xlim(0, last_step)
  axes.set_ylim(_limits(run, curve, last_step))


def _line(axes, steps, values, label, colour, dashes) -> None:
  if len(steps) == 0:
    return
  low, high = values.min(axis=0), values.max(axis=0)
  axes.fill_between(steps, low, high, color=colour, alpha=0.16, linewidth=0)
  axes.plot(
    steps,
    values.mean(axis=0),
    color=colour,
    linestyle=dashes,
    linewidth=1.7,
    label=label,
  )


def _nearest(run: records.Run, arm: str, percent: float) -> int | None:
  """The round of an arm whose density is nearest, dense left out."""
  rounds = {
    trial.round: abs(np.log(100 * trial.density / percent))
    for trial in run.trials
    if trial.arm == arm and trial.round > 0
  }
  return min(rounds, key=lambda index: (rounds[index], index), default=None)


def _limits(
  run: records.Run, curve: statistics.Curve, last_step: int
) -> tuple[float, float] | None:
  """One vertical axis for all panels, from the dense network early on."""
  steps, dense = statistics.curves(run, "ticket", 0, curve)
  shown = dense[:, steps <= last_step]
  if shown.shape[1] < 2:
    return None
  index = max(1, int(np.searchsorted(steps, _EARLY * last_step)))
  early = shown[:, min(index, shown.shape[1] - 1)]
  if not np.isfinite(early).any():
    return None
  each = [curve.read(trial)[1] for trial in run.trials if not trial.diverged]
  every = np.concatenate(each)
  if curve is statistics.VALID_CURVE:
    last, least = shown[:, -1], float(np.nanmin(every))
    rise = float(np.max(last, initial=least, where=np.isfinite(last)))
    return _loss_limits(least, float(np.nanmax(early)), rise)
  low, high = float(np.nanmin(early)), float(np.nanmax(every))
  return low, high + 0.05 * max(high - low, 1)


def _loss_limits(low: float, early: float, rise: float) -> tuple[float, float]:
  """Shows the fall from `early`, and of the rise twice as much at most."""
  fall = max(early - low, 1e-3)  # a flat curve has none
  return low - 0.05 * fall, low + 1.05 * max(fall, min(rise - low, 2 * fall))


def _shade(colour: str, amount: float) -> tuple[float, ...]:
  channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
  end = 1.0 if amount > 0 else 0.0
  return tuple(c + abs(amount) * (end - c) for c in channels)
