"""Estimators of densities at which something happens: one a replicate.

They are chosen among the measured densities, without interpolation: "back to
the original" is the sparsest density still at least as good as the dense
network, "falls below" the next sparser one. The search starts at the sparse
end, so that noise between the almost dense networks does not count as a
crossing.

A density is an upper bound where the run ended before the crossing, or has not
ended yet. A replicate whose series diverged before its last density is left
out. A density is known to half a step of the measured ladder; agreement of
equal replicates makes it no more certain, so that `Sample.half_step` carries
this half step.
"""

import math
from collections.abc import Sequence

import numpy as np

from lth_jax.report import plan, statistics
from lth_jax.report.claims import estimators, samples, terms
from lth_jax.report.claims.samples import Sample
from lth_jax.report.claims.terms import Term

# "About 100%" train accuracy, in percent (our reading; not in the paper).
FULL_ACCURACY = 99.5
# Two-sided 95%: how often luck alone may put densities as close together.
_LUCK = 0.025
_NUM_DRAWS = 20_000


def fastest(a: Term) -> Sample:
  """Returns the density of the earliest stop; of equals, the denser one.

  Some density is always the fastest. If luck alone chose it in each replicate,
  every density with equal chance, the mean would lie in the middle of the
  ladder; so nothing is decided unless the replicates agree better than luck.
  """
  step = terms.values(a)
  finite = np.isfinite(step)
  missing = plan.incomplete(a.run, a.arm, finite)
  known = finite & ~terms.lower_bounds(a) & ~missing.diverged[:, None]
  fast = np.argmin(np.where(known, step, math.inf), axis=1)
  density = 100 * a.run.grid.density
  last = [int(np.flatnonzero(row).max(initial=0)) for row in known]
  chosen = known.sum(axis=1) > 1
  at_end = bool((fast == last)[chosen].any())
  lucky = _may_be_luck(fast[chosen], int(known.any(axis=0).sum()))
  half = _half_step([density[row] for row in known[chosen]])
  return Sample(
    np.where(chosen, density[fast], math.nan),
    may_rise=lucky,
    may_fall=lucky or at_end or bool(missing.pending.any()),
    note=samples.join(
      "replicates agree no better than by luck" if lucky else "",
      "the sparsest density is the fastest" if at_end else "",
      missing.note,
      _widening(half),
    ),
    half_step=half,
  )


def back(a: Term, b: Term | None = None) -> Sample:
  """Returns the sparsest density at which an arm is as good as dense.

  With `b`, divided by the same density of `b`.
  """
  if b is not None:
    return samples.over(back(a), back(b))
  if estimators.level(terms.dense_of(a)).may_rise:
    note = "the original's early stop was not reached"
    return samples.nothing(a.run, note)
  return _sparsest(a, _is_as_good(a))


def weights(a: Term) -> Sample:
  """Returns the number of weights left at the density of `back`."""
  found = back(a)
  return found._replace(values=found.values / 100 * a.run.results[0].counted)


def falls(a: Term, b: Term | None = None) -> Sample:
  """Returns the density from which on an arm is less accurate than dense.

  With `b`, divided by the same density of `b`.
  """
  if b is not None:
    return samples.over(falls(a), falls(b))
  return _sparsest(a, _is_as_good(a), past=1)


def fits(a: Term, b: Term | None = None) -> Sample:
  """Returns the sparsest density at which train accuracy is about 100%.

  With `b`, divided by the same density of `b`.
  """
  if b is None:
    return _sparsest(a, _with_dense(a) >= FULL_ACCURACY)
  found = samples.over(fits(a), fits(b))
  if found.may_rise and found.may_fall:
    note = "neither loses it in every replicate within the run"
    return samples.nothing(a.run, note)
  return found


def _with_dense(a: Term) -> np.ndarray:
  """The quantity of an arm, and of the dense network at density 1."""
  is_dense = np.array(a.run.grid.rounds) == 0
  return np.where(is_dense, terms.values(terms.dense_of(a)), terms.values(a))


def _is_as_good(a: Term) -> np.ndarray:
  """Where an arm is at least as good as dense, bool `[R, K]`."""
  table = _with_dense(a)
  dense = statistics.at(table, statistics.column(a.run, 1.0))[:, None]
  return table <= dense if a.is_step else table >= dense


def _sparsest(a: Term, good: np.ndarray, past: int = 0) -> Sample:
  """The sparsest good density of each replicate, or the next one past it."""
  known = np.isfinite(_with_dense(a))
  density = 100 * a.run.grid.density
  missing = plan.incomplete(a.run, a.arm, known)
  values, unfinished, ladders = np.full(len(good), math.nan), 0, []
  for replicate in np.flatnonzero(~missing.diverged):
    columns = np.flatnonzero(known[replicate])
    hits = np.flatnonzero(good[replicate, columns])
    if len(columns) > 1 and len(hits) > 0:
      end = len(columns) - 1
      unfinished += int(hits[-1] == end)
      values[replicate] = density[columns[min(hits[-1] + past, end)]]
      first = min(hits[-1], end - 1)
      ladders.append(density[columns[first : first + 2]])
  note = f"not reached within the run: {unfinished} of {len(good)}"
  half = _half_step(ladders)
  return Sample(
    values,
    may_fall=unfinished > 0 or bool(missing.pending.any()),
    note=samples.join(
      note if unfinished else "", missing.note, _widening(half)
    ),
    half_step=half,
  )


def _half_step(ladders: Sequence[np.ndarray]) -> float:
  """Half the mean step of each replicate's ladder, as a logarithm."""
  steps = [np.abs(np.diff(np.log(ladder))).mean() for ladder in ladders]
  return float(np.mean(steps)) / 2 if steps else 0.0


def _may_be_luck(columns: np.ndarray, num_columns: int) -> bool:
  """Whether luck alone often puts columns as close as replicates chose them."""
  if len(columns) < statistics.MIN_REPLICATES:
    return False
  size = (_NUM_DRAWS, len(columns))
  drawn = np.random.default_rng(0).integers(num_columns, size=size)
  as_close = drawn.var(axis=1) <= columns.var() + 1e-9
  return bool(as_close.mean() > _LUCK)


def _widening(half_step: float) -> str:
  wider = 100 * math.expm1(half_step)
  note = f"interval wider by half a step of the ladder ({wider:.0f}%)"
  return note if half_step else ""
