"""Densities at which something happens: one a replicate.

They are taken among the measured ones, without interpolation: "back to the
original" is the sparsest density still at least as good as the dense network,
"falls below" the next sparser one. Looking from the sparse end, noise between
dense-like networks of many weights does not count as a crossing.

A density is an upper bound where the run ended before the crossing, or has not
ended yet. A replicate whose series diverged before its last density is left
out. A density is known to half a step of the measured ladder; that equal
replicates agree on it makes it no more certain, so a sample carries this half
step too.
"""

import math

import numpy as np

from lth_jax.report import measures, plan, records, statistics
from lth_jax.report.measures import Sample


def fastest(run: records.Run) -> Sample:
  """Returns the density of the earliest stop; of equals, the denser one.

  Some density is always the fastest. If luck alone chose it in each replicate,
  every density with equal chance, the mean would lie in the middle of the
  ladder; so nothing is decided unless the replicates agree better than luck.

  Args:
    run: the run.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (300, 98.0), (400, 98.0)])
  >>> fastest(run).values
  array([50.])
  """
  step = statistics.values(run, "ticket", statistics.EARLY_STEP)
  finite = np.isfinite(step)
  left_out, pending = plan.short(run, "ticket", finite)
  known = finite & ~statistics.not_reached(run, "ticket")
  known &= ~left_out[:, None]
  best = np.argmin(np.where(known, step, math.inf), axis=1)
  density = 100 * statistics.grid(run).density
  last = [int(np.flatnonzero(row).max(initial=0)) for row in known]
  chosen = known.sum(axis=1) > 1
  at_end = bool((best == last)[chosen].any())
  lucky = statistics.may_be_luck(best[chosen], int(known.any(axis=0).sum()))
  return Sample(
    np.where(chosen, density[best], math.nan),
    may_rise=lucky,
    may_fall=lucky or at_end or bool(pending.any()),
    note=measures.join(
      "replicates agree no better than by luck" if lucky else "",
      "the sparsest density is the fastest" if at_end else "",
      plan.remark(left_out, pending),
    ),
    half_step=statistics.half_step(
      density[row] for row, is_chosen in zip(known, chosen) if is_chosen
    ),
  )


def back(
  run: records.Run, quantity: statistics.Quantity, arm: str = "ticket"
) -> Sample:
  """Returns the sparsest density at which an arm is as good as dense.

  Args:
    run: the run.
    quantity: an accuracy, or the early-stop step.
    arm: name of the arm.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.0), (600, 98.0)])
  >>> back(run, statistics.EARLY_STEP).values
  array([50.])
  """
  late = measures.is_late(run, measures.DENSE)
  if quantity is statistics.EARLY_STEP and late:
    return measures.nothing(run, "the original's early stop was not reached")
  return _sparsest(run, arm, *_as_good(run, arm, quantity))


def falls(
  run: records.Run,
  arm: str,
  quantity: statistics.Quantity = statistics.EARLY_TEST,
) -> Sample:
  """Returns the density from which on an arm is less accurate than dense.

  Args:
    run: the run.
    arm: name of the arm.
    quantity: an accuracy.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (500, 99.0), (500, 97.0)])
  >>> falls(run, "ticket").values
  array([25.])
  """
  good, known = _as_good(run, arm, quantity)
  return _sparsest(run, arm, good, known, past=1)


def full_train(run: records.Run) -> Sample:
  """Returns the sparsest density that is fitted in full, reinit / ticket.

  Args:
    run: the run.

  >>> from lth_jax.report import example
  >>> full, short = (500, 98.0), (500, 98.0, 90.0)
  >>> run = example.run(ticket=[full, full, short], reinit=[None, short, short])
  >>> full_train(run).values
  array([2.])
  """
  ticket, reinit = (
    _sparsest(
      run, arm, accuracy >= measures.FULL_ACCURACY, np.isfinite(accuracy)
    )
    for arm in ("ticket", "reinit")
    for accuracy in [_with_dense(run, arm, statistics.END_TRAIN)]
  )
  if ticket.may_fall and reinit.may_fall:
    return measures.nothing(
      run, "neither loses it in every replicate within the run"
    )
  return measures.over(reinit, ticket)


def _with_dense(
  run: records.Run, arm: str, quantity: statistics.Quantity
) -> np.ndarray:
  dense = statistics.values(run, "ticket", quantity)
  is_dense = np.array(statistics.grid(run).rounds) == 0
  return np.where(is_dense, dense, statistics.values(run, arm, quantity))


def _as_good(
  run: records.Run, arm: str, quantity: statistics.Quantity
) -> tuple[np.ndarray, np.ndarray]:
  """Where an arm is at least as good as dense, and where that is known."""
  table = _with_dense(run, arm, quantity)
  dense = measures.at(run, quantity, measures.DENSE)[:, None]
  known = np.isfinite(table) & np.isfinite(dense)
  is_step = quantity is statistics.EARLY_STEP
  return (table <= dense) if is_step else (table >= dense), known


def _sparsest(
  run: records.Run,
  arm: str,
  good: np.ndarray,
  known: np.ndarray,
  past: int = 0,
) -> Sample:
  """The sparsest good density of each replicate, or the next one past it."""
  density = 100 * statistics.grid(run).density
  left_out, pending = plan.short(run, arm, known)
  values, unfinished, ladders = np.full(len(good), math.nan), 0, []
  for replicate in np.flatnonzero(~left_out):
    columns = np.flatnonzero(known[replicate])
    hits = np.flatnonzero(good[replicate, columns])
    if len(columns) > 1 and len(hits) > 0:
      end = len(columns) - 1
      unfinished += int(hits[-1] == end)
      values[replicate] = density[columns[min(hits[-1] + past, end)]]
      first = min(hits[-1], end - 1)
      ladders.append(density[columns[first : first + 2]])
  note = f"not reached within the run: {unfinished} of {len(good)}"
  return Sample(
    values,
    may_fall=unfinished > 0 or bool(pending.any()),
    note=measures.join(
      note if unfinished else "", plan.remark(left_out, pending)
    ),
    half_step=statistics.half_step(ladders),
  )
