"""At which densities a ticket wins: the paper's question.

A ticket wins by non-inferiority: the one-sided 95% bound of its test accuracy
at early stop lies above the dense network's - 0.1 point, and the bound of its
early-stop step is at most one evaluation later. It does not win if a bound
shows the opposite. Steps are known to an evaluation, so that their interval is
never narrower.

Of ResNet-20 and VGG-19 the paper reports no early stop: test accuracy at the
end decides alone, and only if the dense network trained to its end.
"""

import math
from typing import NamedTuple

import numpy as np

from lth_jax.report import claims, protocols, records, statistics

# Non-inferiority margin in points of test accuracy; ours.
MARGIN = -0.1
_NOTHING = np.empty(0)
# By whether a ticket's and a dense network's early stop may come later.
_BOUNDS = {
  (False, False): "",
  (True, False): ">=",
  (False, True): "<=",
  (True, True): "?",
}


class Winning(NamedTuple):
  """The verdict on the tickets of one density.

  Attributes:
    round: pruning round.
    density: kept / counted weights.
    accuracy: ticket - dense test accuracy at early stop or at the end, points;
      `low` and `high` are one-sided 95% bounds.
    step: ticket - dense early-stop step, with the same bounds; n is 0 if
      accuracy decides alone.
    ratio: ticket / dense early-stop step, averaged as logarithms.
    not_reached: number of tickets whose validation loss still fell at the end.
    bound: of `step` and `ratio`: ">=" if some of these tickets count, "<=" if
      such dense networks do, "?" if both, and else "".
    verdict: "wins", "does not win", "undecided" or "not measured".
  """

  round: int
  density: float
  accuracy: statistics.Interval
  step: statistics.Interval
  ratio: statistics.Interval
  not_reached: int
  bound: str
  verdict: str


def winning(run: records.Run) -> tuple[Winning, ...]:
  """Judges the tickets of each pruned density, from dense to sparse."""
  judge = _at_the_end if judged_at_the_end(run) else _at_early_stop
  return tuple(
    judge(run, k) for k, index in enumerate(run.grid.rounds) if index > 0
  )


def judged_at_the_end(run: records.Run) -> bool:
  """Returns whether the paper reports no early stop of this network."""
  return run.config["model"] in protocols.MILESTONES


def reason(run: records.Run) -> str:
  """Returns why no density of a run can be judged; "" if some can."""
  return claims.untrained(run) if judged_at_the_end(run) else ""


def _at_the_end(run: records.Run, k: int) -> Winning:
  ticket, dense = _pair(run, statistics.END_TEST, k)
  found = _NOTHING if reason(run) else ticket - dense
  better, none = statistics.interval(found, 0.9), statistics.interval(_NOTHING)
  where = run.grid.rounds[k], float(run.grid.density[k])
  return Winning(
    *where, better, none, none, 0, "", _verdict(better, True, False)
  )


def _at_early_stop(run: records.Run, k: int) -> Winning:
  ticket, dense = _pair(run, statistics.EARLY_TEST, k)
  step, dense_step = _pair(run, statistics.EARLY_STEP, k)
  both = np.isfinite(ticket - dense) & np.isfinite(step - dense_step)
  not_reached = statistics.lower_bounds(run, "ticket")
  dense_not_reached = statistics.at(not_reached, statistics.column(run, 1.0))
  eval_every = run.config["eval_every"]
  better = statistics.interval((ticket - dense)[both], 0.9)
  later = statistics.interval((step - dense_step)[both], 0.9)
  later = _at_least(later, eval_every)
  # A step that is a lower bound does not prove that a ticket is in time, nor
  # that a ticket is later than such a dense network.
  ticket_is_open = bool(not_reached[both, k].any())
  dense_is_open = bool(dense_not_reached[both].any())
  in_time = later.high <= eval_every and not ticket_is_open
  late = later.low > eval_every and not dense_is_open
  return Winning(
    run.grid.rounds[k],
    float(run.grid.density[k]),
    better,
    later,
    _ratio(step[both], dense_step[both], eval_every),
    int(not_reached[:, k].sum()),
    _BOUNDS[ticket_is_open, dense_is_open],
    _verdict(better, in_time, late),
  )


def _pair(
  run: records.Run, quantity: statistics.Quantity, k: int
) -> tuple[np.ndarray, np.ndarray]:
  """A quantity of the tickets of a density and of dense networks, `[R]`."""
  tickets = statistics.values(run, "ticket", quantity)
  return tickets[:, k], statistics.dense(run, quantity)


def _ratio(
  step: np.ndarray, dense: np.ndarray, eval_every: int
) -> statistics.Interval:
  """The mean factor between steps, at least an evaluation of `dense` wide."""
  known = (step > 0) & (dense > 0)  # step 0 has no ratio
  if not known.any():
    return statistics.interval(_NOTHING)
  logs = statistics.interval(np.log(step[known] / dense[known]), 0.9)
  found = statistics.Interval._make([*map(math.exp, logs[:5]), logs.n])
  return _at_least(found, eval_every / float(dense[known].mean()))


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
