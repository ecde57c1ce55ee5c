"""Statistics over replicates, and where a ticket wins.

Everything is paired: a replicate's ticket is compared with the same
replicate's dense network. The draws of an arm are averaged inside a replicate
first. A diverged trial is not a number, and drops its replicate from that
density. Accuracies are in percent from here on, their differences in points.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from scipy import stats

from lth_jax.report import records

MIN_REPLICATES = 3
# Non-inferiority margin of a winning ticket, in points of test accuracy.
MARGIN = -0.1
# A density on the 0.8^k ladder belongs to the nearest published one: half a
# step of the ladder, as a logarithm.
_SAME_DENSITY = 0.11


class Quantity(NamedTuple):
  """A number that each trial has."""

  name: str
  title: str
  read: Callable[[records.Result], float]


EARLY_STEP = Quantity(
  "early_stop_step", "Early-stop step", lambda trial: trial.early_stop.step
)
EARLY_TEST = Quantity(
  "early_stop_test_accuracy_percent",
  "Test accuracy at early stop (%)",
  lambda trial: 100 * trial.early_stop.test_accuracy,
)
EARLY_VALID = Quantity(
  "early_stop_valid_accuracy_percent",
  "Validation accuracy at early stop (%)",
  lambda trial: 100 * trial.early_stop.valid_accuracy,
)
END_VALID = Quantity(
  "end_valid_accuracy_percent",
  "Validation accuracy at the end (%)",
  lambda trial: 100 * trial.end.valid_accuracy,
)
EARLY_TRAIN = Quantity(
  "early_stop_train_accuracy_percent",
  "Train accuracy at early stop (%)",
  lambda trial: 100 * trial.early_stop.train_accuracy,
)
END_TEST = Quantity(
  "end_test_accuracy_percent",
  "Test accuracy at the end (%)",
  lambda trial: 100 * trial.end.test_accuracy,
)
END_TRAIN = Quantity(
  "end_train_accuracy_percent",
  "Train accuracy at the end (%)",
  lambda trial: 100 * trial.end.train_accuracy,
)
# How far accuracy falls short on unseen images; not a column of the tables.
END_GAP = Quantity(
  "end_gap_points",
  "Train minus test accuracy at the end (points)",
  lambda trial: 100 * (trial.end.train_accuracy - trial.end.test_accuracy),
)
QUANTITIES = (EARLY_STEP, EARLY_TEST, EARLY_TRAIN, END_TEST, END_TRAIN)


class Curve(NamedTuple):
  """A number that each trial has at some steps: `read` gives both, `[T]`."""

  label: str
  read: Callable[[records.Result], tuple[np.ndarray, np.ndarray]]


TEST_CURVE = Curve(
  "Test accuracy (%)", lambda trial: (trial.test_steps, 100 * trial.test_curve)
)
VALID_CURVE = Curve(
  "Validation loss", lambda trial: (trial.valid_steps, trial.valid_curve)
)
_NOT_REACHED = Quantity(
  "not_reached",
  "",
  lambda trial: (
    math.isfinite(trial.early_stop.step) and not trial.early_stop.reached
  ),
)


class Grid(NamedTuple):
  """The axes of every table: replicates `[R]`, rounds `[K]`, density `[K]`."""

  replicates: tuple[int, ...]
  rounds: tuple[int, ...]
  density: np.ndarray


class Interval(NamedTuple):
  """A mean over n replicates, its confidence interval, and the extremes."""

  mean: float
  low: float
  high: float
  minimum: float
  maximum: float
  n: int


class Winning(NamedTuple):
  """The verdict on the tickets of one density.

  Attributes:
    round: pruning round.
    density: kept / counted weights.
    accuracy: ticket - dense test accuracy at early stop, points; `low` and
      `high` are one-sided 95% bounds.
    step: ticket - dense early-stop step, with the same bounds.
    not_reached: tickets whose validation loss still fell at the end.
    verdict: "wins", "does not win", "undecided" or "not measured".
  """

  round: int
  density: float
  accuracy: Interval
  step: Interval
  not_reached: int
  verdict: str


def accuracy_at(step: int) -> Quantity:
  """Returns the test accuracy at a step, NaN in trials not tested there.

  >>> curve, end = np.array([0.1, 0.9]), records.Point(10, True, 0.9, 1.0)
  >>> trial = records.Result(
  ...   0, 0, "ticket", 0, 1.0, np.array([0, 5]), curve, end, end, False, ()
  ... )
  >>> quantity = accuracy_at(5)
  >>> quantity.title, quantity.read(trial), accuracy_at(7).read(trial)
  ('Test accuracy at step 5 (%)', 90.0, nan)
  """

  def read(trial: records.Result) -> float:
    found = 100 * trial.test_curve[trial.test_steps == step]
    return float(found[0]) if len(found) else math.nan

  return Quantity(
    f"test_accuracy_at_{step}_percent",
    f"Test accuracy at step {step:,} (%)",
    read,
  )


def steps_near(run: records.Run, shares: Iterable[float]) -> tuple[int, ...]:
  """Returns the tested steps that are nearest to shares of a training.

  Its first and its last step do not count, and none comes twice.

  Args:
    run: the run.
    shares: in (0, 1), ascending.

  >>> curve, end = np.zeros(4), records.Point(9, True, 0.9, 1.0)
  >>> trial = records.Result(
  ...   0, 0, "ticket", 0, 1.0, np.array([0, 2, 6, 9]), curve, end, end, False,
  ...   (),
  ... )
  >>> steps_near(records.Run("example", {"steps": 9}, (trial,)), (1 / 3, 0.6))
  (2, 6)
  """
  last = run.config["steps"]
  steps = np.unique(np.concatenate([trial.test_steps for trial in run.trials]))
  steps = steps[(steps > 0) & (steps < last)]
  if len(steps) == 0:
    return ()
  nearest = (
    int(steps[np.argmin(np.abs(steps - share * last))]) for share in shares
  )
  return tuple(dict.fromkeys(nearest))


def grid(run: records.Run) -> Grid:
  """Returns the replicates, rounds and densities that a run has.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> sparse = dense._replace(round=1, density=0.5)
  >>> grid(records.Run("example", {}, (dense, sparse)))
  Grid(replicates=(0,), rounds=(0, 1), density=array([1. , 0.5]))
  """
  density = {trial.round: trial.density for trial in reversed(run.trials)}
  return Grid(
    tuple(sorted({trial.replicate for trial in run.trials})),
    tuple(sorted(density)),
    np.array([density[index] for index in sorted(density)]),
  )


def arms(run: records.Run) -> tuple[str, ...]:
  """Returns the arms to show, tickets first; the search arm is not shown.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> other = [dense._replace(round=1, arm=arm) for arm in ("random", "search")]
  >>> arms(records.Run("example", {}, (dense, *other)))
  ('ticket', 'random')
  """
  order = ("ticket", "reinit", "random", "random_global")
  found = {trial.arm for trial in run.trials} - {"search"}
  return tuple(arm for arm in order if arm in found) + tuple(
    sorted(found - set(order))
  )


def values(run: records.Run, arm: str, quantity: Quantity) -> np.ndarray:
  """Returns a quantity of one arm, `[R, K]`; NaN where there is none.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> reinit = dense._replace(round=1, density=0.5, arm="reinit")
  >>> late = reinit._replace(draw=1, early_stop=end._replace(step=700))
  >>> run = records.Run("example", {}, (dense, reinit, late))
  >>> values(run, "reinit", EARLY_STEP)  # the mean of two draws; no dense one
  array([[ nan, 600.]])
  """
  cells: dict[tuple[int, int], list[float]] = {}
  for trial in run.trials:
    if trial.arm == arm:
      value = math.nan if trial.diverged else quantity.read(trial)
      cells.setdefault((trial.replicate, trial.round), []).append(value)
  axes = grid(run)
  return np.array(
    [
      [
        np.mean(cells.get((replicate, index), [math.nan]))
        for index in axes.rounds
      ]
      for replicate in axes.replicates
    ]
  )


def not_reached(run: records.Run, arm: str) -> np.ndarray:
  """Returns where an early-stop step is only a lower bound, bool `[R, K]`.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> late = end._replace(reached=False)
  >>> sparse = dense._replace(round=1, density=0.5, early_stop=late)
  >>> not_reached(records.Run("example", {}, (dense, sparse)), "ticket")
  array([[False, True]])
  """
  return values(run, arm, _NOT_REACHED) > 0


def column(run: records.Run, density: float) -> int | None:
  """Returns the index of the density nearest to one, None if none is near.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> sparse = dense._replace(round=1, density=0.5)
  >>> run = records.Run("example", {}, (dense, sparse))
  >>> column(run, 0.513), column(run, 0.7)
  (1, None)
  """
  distance = np.abs(np.log(grid(run).density / density))
  nearest = int(np.argmin(distance))
  return nearest if distance[nearest] <= _SAME_DENSITY else None


def at(table: np.ndarray, index: int | None) -> np.ndarray:
  """Returns one density of a `[R, K]` table, `[R]`; all NaN if it is None.

  Args:
    table: `[R, K]`.
    index: which of the K densities, as from `column`.

  >>> table = np.array([[98.0, 98.5], [98.1, 98.2]])
  >>> at(table, 1), at(table, None)
  (array([98.5, 98.2]), array([nan, nan]))
  """
  if index is None:
    return np.full(len(table), math.nan)
  return table[:, index]


def curves(
  run: records.Run, arm: str, index: int, curve: Curve = TEST_CURVE
) -> tuple[np.ndarray, np.ndarray]:
  """Returns a curve over training of one arm in one round.

  Args:
    run: the run.
    arm: name of the arm.
    index: the pruning round.
    curve: which one.

  Returns:
    The steps that all its trials share, `[T]`, and the curve, `[R, T]`.

  >>> end = records.Point(10, True, 0.9, 1.0)
  >>> curve = np.array([0, 5, 10]), np.array([0.1, 0.8, 0.9])
  >>> trial = records.Result(0, 0, "ticket", 0, 1.0, *curve, end, end, 0, ())
  >>> curves(records.Run("example", {}, (trial,)), "ticket", 0)
  (array([ 0, 5, 10]), array([[10., 80., 90.]]))
  """
  found = [
    (trial.replicate, *curve.read(trial))
    for trial in run.trials
    if (trial.arm, trial.round) == (arm, index) and not trial.diverged
  ]
  if not found:
    return np.empty(0), np.empty((0, 0))
  shared = functools.reduce(np.intersect1d, [steps for _, steps, _ in found])
  drawn: dict[int, list[np.ndarray]] = {}
  for replicate, steps, values_there in found:
    drawn.setdefault(replicate, []).append(values_there[np.isin(steps, shared)])
  return shared, np.array([np.mean(each, axis=0) for each in drawn.values()])


def interval(sample: np.ndarray, level: float = 0.95) -> Interval:
  """Returns the two-sided Student t interval of a mean, NaN left out.

  Its ends at level 0.90 are the one-sided 95% bounds.

  Args:
    sample: one value a replicate, `[R]`.
    level: confidence.

  >>> ours = interval(np.array([0.2, 0.3, 0.4, np.nan]))
  >>> round(ours.low, 3), round(ours.mean, 3), round(ours.high, 3), ours.n
  (0.052, 0.3, 0.548, 3)
  """
  found = sample[np.isfinite(sample)]
  n = len(found)
  if n == 0:
    return Interval(*5 * (math.nan,), 0)
  mean, half = float(np.mean(found)), math.inf
  if n > 1:
    error = float(np.std(found, ddof=1)) / math.sqrt(n)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * error
  return Interval(
    mean, mean - half, mean + half, float(found.min()), float(found.max()), n
  )


def within(ours: Interval, least: float, most: float) -> Interval:
  """Returns an interval without what its number cannot be.

  Args:
    ours: the interval; one that is not bounded stays so.
    least: of what the number can be.
    most: likewise.

  >>> within(Interval(95.0, 80.0, 110.0, 90.0, 100.0, 3), 0.0, 100.0).high
  100.0
  """
  if not math.isfinite(ours.high - ours.low):
    return ours
  return ours._replace(low=max(ours.low, least), high=min(ours.high, most))


def at_least(ours: Interval, width: float) -> Interval:
  """Returns an interval that is no narrower than what its number is known to.

  Args:
    ours: the interval.
    width: such as that between two evaluations.

  >>> at_least(interval(np.array([50.0, 50.0, 50.0])), 100)[:3]
  (50.0, 0.0, 100.0)
  """
  return ours._replace(
    low=min(ours.low, ours.mean - width / 2),
    high=max(ours.high, ours.mean + width / 2),
  )


def half_step(ladders: Iterable[np.ndarray]) -> float:
  """Returns half the mean step of each replicate's ladder, as a logarithm.

  Args:
    ladders: densities in their order, `[K]` with K of 2 or more, in any unit.

  >>> half = half_step([np.array([100.0, 80.0, 64.0])])
  >>> round(half, 3), round(math.exp(2 * half), 3)
  (0.112, 1.25)
  """
  steps = [np.abs(np.diff(np.log(ladder))).mean() for ladder in ladders]
  return float(np.mean(steps)) / 2 if steps else 0.0


def may_be_luck(columns: np.ndarray, num_columns: int) -> bool:
  """Says whether luck alone puts columns as close in over 2.5% of draws.

  Args:
    columns: the column that each replicate chose, `[R]` int.
    num_columns: how many there were to choose from.

  >>> close, apart = np.array([6, 7, 6]), np.array([1, 7, 16])
  >>> may_be_luck(close, 20), may_be_luck(apart, 20)
  (False, True)
  """
  if len(columns) < MIN_REPLICATES:
    return False
  size = (20_000, len(columns))
  drawn = np.random.default_rng(0).integers(num_columns, size=size)
  as_close = drawn.var(axis=1) <= columns.var() + 1e-9
  return bool(as_close.mean() > 0.025)


def winning(run: records.Run) -> tuple[Winning, ...]:
  """Judges the tickets of each density against the dense network.

  A ticket wins by non-inferiority: the one-sided 95% bound of its test
  accuracy at early stop lies above the dense one's - 0.1 point, and that of
  its early-stop step is at most one evaluation later. It does not win if a
  bound shows the opposite. As steps are known to an evaluation, their interval
  is at least so wide. A step that is a lower bound proves neither that a
  ticket is in time nor that it is late against such a dense network.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> trials = tuple(
  ...   dense._replace(replicate=replicate, round=k, density=0.5**k)
  ...   for replicate in range(3)
  ...   for k in range(2)
  ... )
  >>> [ticket] = winning(records.Run("example", {"eval_every": 100}, trials))
  >>> ticket.density, ticket.accuracy.low, ticket.verdict  # as good as dense
  (0.5, 0.0, 'wins')
  """
  axes = grid(run)
  dense = column(run, 1.0)
  accuracy = values(run, "ticket", EARLY_TEST)
  step = values(run, "ticket", EARLY_STEP)
  open_end = not_reached(run, "ticket")
  accuracy = accuracy - at(accuracy, dense)[:, None]
  step = step - at(step, dense)[:, None]
  verdicts = []
  for k, index in enumerate(axes.rounds):
    if index == 0:
      continue
    measured = np.isfinite(accuracy[:, k]) & np.isfinite(step[:, k])
    better = interval(accuracy[measured, k], 0.9)
    eval_every = run.config["eval_every"]
    later = at_least(interval(step[measured, k], 0.9), eval_every)
    verdict = _verdict(
      better,
      later,
      eval_every,
      in_time_is_sure=not open_end[measured, k].any(),
      late_is_sure=not at(open_end, dense)[measured].any(),
    )
    verdicts.append(
      Winning(
        index,
        float(axes.density[k]),
        better,
        later,
        int(open_end[:, k].sum()),
        verdict,
      )
    )
  return tuple(verdicts)


def _verdict(
  accuracy: Interval,
  step: Interval,
  eval_every: int,
  *,
  in_time_is_sure: bool,
  late_is_sure: bool,
) -> str:
  if accuracy.n == 0:
    return "not measured"
  if accuracy.n < MIN_REPLICATES:
    return "undecided"
  if accuracy.high < MARGIN or (late_is_sure and step.low > eval_every):
    return "does not win"
  if accuracy.low > MARGIN and in_time_is_sure and step.high <= eval_every:
    return "wins"
  return "undecided"
