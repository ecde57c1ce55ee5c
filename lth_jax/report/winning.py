"""At which densities a ticket wins: the paper's question.

A ticket wins by non-inferiority: the one-sided 95% bound of its test accuracy
at early stop lies above the dense network's - 0.1 point, and the bound of its
early-stop step is at most one evaluation later. It does not win if a bound
shows the opposite. Steps are known to an evaluation, so that their interval is
never narrower.
"""

from typing import NamedTuple

import numpy as np

from lth_jax.report import records, statistics

# Non-inferiority margin in points of test accuracy; ours.
MARGIN = -0.1


class Winning(NamedTuple):
  """The verdict on the tickets of one density.

  Attributes:
    round: pruning round.
    density: kept / counted weights.
    accuracy: ticket - dense test accuracy at early stop, points; `low` and
      `high` are one-sided 95% bounds.
    step: ticket - dense early-stop step, with the same bounds.
    not_reached: number of tickets whose validation loss still fell at the end.
    verdict: "wins", "does not win", "undecided" or "not measured".
  """

  round: int
  density: float
  accuracy: statistics.Interval
  step: statistics.Interval
  not_reached: int
  verdict: str


def winning(run: records.Run) -> tuple[Winning, ...]:
  """Judges the tickets of each pruned density, from dense to sparse."""
  accuracy, step = (
    statistics.values(run, "ticket", quantity)
    - statistics.dense(run, quantity)[:, None]
    for quantity in (statistics.EARLY_TEST, statistics.EARLY_STEP)
  )
  not_reached = statistics.lower_bounds(run, "ticket")
  dense_not_reached = statistics.at(not_reached, statistics.column(run, 1.0))
  eval_every = run.config["eval_every"]
  found = []
  for k, index in enumerate(run.grid.rounds):
    if index == 0:
      continue
    measured = np.isfinite(accuracy[:, k]) & np.isfinite(step[:, k])
    better = statistics.interval(accuracy[measured, k], 0.9)
    later = _at_least(statistics.interval(step[measured, k], 0.9), eval_every)
    # A step that is a lower bound does not prove that a ticket is in time, nor
    # that a ticket is later than such a dense network.
    in_time = later.high <= eval_every and not not_reached[measured, k].any()
    late = later.low > eval_every and not dense_not_reached[measured].any()
    found.append(
      Winning(
        index,
        float(run.grid.density[k]),
        better,
        later,
        int(not_reached[:, k].sum()),
        _verdict(better, in_time, late),
      )
    )
  return tuple(found)


def _at_least(ours: statistics.Interval, width: float) -> statistics.Interval:
  """Widens an interval to the resolution of its number."""
  return ours._replace(
    low=min(ours.low, ours.mean - width / 2),
    high=max(ours.high, ours.mean + width / 2),
  )


def _verdict(accuracy: statistics.Interval, in_time: bool, late: bool) -> str:
  if accuracy.n == 0:
    return "not measured"
  if accuracy.n < statistics.MIN_REPLICATES:
    return "undecided"
  if accuracy.high < MARGIN or late:
    return "does not win"
  if accuracy.low > MARGIN and in_time:
    return "wins"
  return "undecided"
