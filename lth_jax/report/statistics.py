"""Statistics over replicates.

Everything is paired: a replicate's ticket is compared with the dense network of
the same replicate. The draws of an arm are first averaged within a replicate. A
diverged trial has no number, and drops its replicate at that density.
Accuracies are in percent, their differences in points.
"""

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from lth_jax.report import records

MIN_REPLICATES = 3
# Half a step of the 0.8^k ladder, as a logarithm: within it, a density is taken
# for a published one.
_SAME_DENSITY = 0.11


class Quantity(NamedTuple):
  """A number that each trial has.

  Attributes:
    name: of its columns in CSV files, with its unit.
    title: of its columns and panels for people.
    read: takes a result and returns the number, NaN if it was not measured.
  """

  name: str
  title: str
  read: Callable[[records.Result], float]


def _accuracy(when: str, images: str) -> Quantity:
  """An accuracy in percent, at "early_stop" or at the "end"."""
  shown = "Validation" if images == "valid" else images.capitalize()
  moment = "early stop" if when == "early_stop" else "the end"
  read = operator.attrgetter(f"{when}.{images}_accuracy")
  return Quantity(
    f"{when}_{images}_accuracy_percent",
    f"{shown} accuracy at {moment} (%)",
    lambda result: 100 * read(result),
  )


EARLY_STEP = Quantity(
  "early_stop_step", "Early-stop step", lambda result: result.early_stop.step
)
EARLY_TEST = _accuracy("early_stop", "test")
EARLY_VALID = _accuracy("early_stop", "valid")
EARLY_TRAIN = _accuracy("early_stop", "train")
END_TEST = _accuracy("end", "test")
END_VALID = _accuracy("end", "valid")
END_TRAIN = _accuracy("end", "train")
QUANTITIES = (EARLY_STEP, EARLY_TEST, EARLY_TRAIN, END_TEST, END_TRAIN)


class Curve(NamedTuple):
  """A number that each trial has at some steps: `read` gives both, `[T]`."""

  label: str
  read: Callable[[records.Result], tuple[np.ndarray, np.ndarray]]


TEST_CURVE = Curve(
  "Test accuracy (%)",
  lambda result: (result.test_steps, 100 * result.test_curve),
)
VALID_CURVE = Curve(
  "Validation loss", lambda result: (result.valid_steps, result.valid_curve)
)


class Interval(NamedTuple):
  """A mean over n replicates, its confidence interval, and the extremes."""

  mean: float
  low: float
  high: float
  minimum: float
  maximum: float
  n: int


def accuracy_at(step: int) -> Quantity:
  """Returns the test accuracy at a step, NaN for trials not tested there."""

  def read(result: records.Result) -> float:
    found = 100 * result.test_curve[result.test_steps == step]
    return float(found[0]) if len(found) else math.nan

  return Quantity(
    f"test_accuracy_at_{step}_percent",
    f"Test accuracy at step {step:,} (%)",
    read,
  )


def steps_near(run: records.Run, shares: Iterable[float]) -> tuple[int, ...]:
  """Returns the tested steps nearest to ascending shares of a training.

  The first and the last step of the training do not count; no step is repeated.
  """
  last = run.config["steps"]
  steps = np.unique(np.concatenate([each.test_steps for each in run.results]))
  steps = steps[(steps > 0) & (steps < last)]
  if len(steps) == 0:
    return ()
  nearest = (
    int(steps[np.argmin(np.abs(steps - share * last))]) for share in shares
  )
  return tuple(dict.fromkeys(nearest))


def arms(run: records.Run) -> tuple[str, ...]:
  """Returns the arms to show, tickets first; those of the search are not."""
  order = ("ticket", "reinit", "random", "random_global")
  found = run.grid.results.keys() - {"search", "rewind_point"}
  return tuple(arm for arm in order if arm in found) + tuple(
    sorted(found - set(order))
  )


def only(run: records.Run, replicates: set[int]) -> records.Run:
  """Returns a run with the results of some of its replicates."""
  if replicates == set(run.grid.replicates):
    return run
  found = tuple(each for each in run.results if each.replicate in replicates)
  return dataclasses.replace(run, results=found)


def values(run: records.Run, arm: str, quantity: Quantity) -> np.ndarray:
  """Returns a quantity of one arm, `[R, K]`; NaN where there is none.

  It is read from each trial, then averaged over draws.
  """

  def cell(replicate: int, index: int) -> float:
    draws = [
      math.nan if each.diverged else quantity.read(each)
      for each in results.get((replicate, index), [])
    ]
    return float(np.mean(draws)) if draws else math.nan

  grid = run.grid
  results = grid.results.get(arm, {})
  return np.array(
    [[cell(r, index) for index in grid.rounds] for r in grid.replicates]
  )


def has_early_stop(run: records.Run) -> bool:
  """Returns whether some trial has an early-stop step."""
  return any(math.isfinite(each.early_stop.step) for each in run.results)


def is_lower_bound(result: records.Result) -> bool:
  """Returns whether the early-stop step of a trial is only a lower bound."""
  stop = result.early_stop
  return not result.diverged and math.isfinite(stop.step) and not stop.reached


def lower_bounds(run: records.Run, arm: str) -> np.ndarray:
  """Returns where an early-stop step is only a lower bound, bool `[R, K]`."""
  return values(run, arm, Quantity("", "", is_lower_bound)) > 0


def column(run: records.Run, density: float) -> int | None:
  """Returns the index of the nearest density, None if it is not near.

  Half a step of the ladder is near.
  """
  distance = np.abs(np.log(run.grid.density / density))
  nearest = int(np.argmin(distance))
  return nearest if distance[nearest] <= _SAME_DENSITY else None


def at(table: np.ndarray, index: int | None) -> np.ndarray:
  """Returns one column of a table, `[R]`; all NaN if the index is None."""
  if index is None:
    return np.full(len(table), math.nan)
  return table[:, index]


def dense(run: records.Run, quantity: Quantity) -> np.ndarray:
  """Returns a quantity of the dense networks, `[R]`."""
  return at(values(run, "ticket", quantity), column(run, 1.0))


def curves(
  run: records.Run, arm: str, index: int, curve: Curve = TEST_CURVE
) -> tuple[np.ndarray, np.ndarray]:
  """Returns a curve of one arm in one round, averaged over draws.

  Returns:
    The steps that all its trials share, `[T]`, and the curve, `[R, T]`.
  """
  found = [
    (each.replicate, *curve.read(each))
    for each in run.results
    if (each.arm, each.round) == (arm, index) and not each.diverged
  ]
  if not found:
    return np.empty(0), np.empty((0, 0))
  shared = functools.reduce(np.intersect1d, [steps for _, steps, _ in found])
  draws: dict[int, list[np.ndarray]] = {}
  for replicate, steps, curve_values in found:
    draws.setdefault(replicate, []).append(curve_values[np.isin(steps, shared)])
  return shared, np.array([np.mean(each, axis=0) for each in draws.values()])


def interval(sample: np.ndarray, level: float = 0.95) -> Interval:
  """Returns the two-sided Student t interval of a mean; NaN is left out.

  The sample has one value a replicate, `[R]`. The ends at level 0.90 are the
  one-sided 95% bounds.
  """
  found = sample[np.isfinite(sample)]
  n = len(found)
  if n == 0:
    return Interval(*5 * (math.nan,), 0)
  mean, half = float(np.mean(found)), math.inf
  if n > 1:
    error = float(np.std(found, ddof=1)) / math.sqrt(n)
    # Equals `scipy.stats.t.ppf`, whose import takes a second. Imported here, so
    # that `--help` need not.
    from scipy import special

    half = float(special.stdtrit(n - 1, 0.5 + level / 2)) * error
  return Interval(
    mean, mean - half, mean + half, float(found.min()), float(found.max()), n
  )
