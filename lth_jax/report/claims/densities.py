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

from lth_jax.report import plan, statistics
from lth_jax.report.claims import samples, terms
from lth_jax.report.claims.samples import Sample
from lth_jax.report.claims.terms import Term

# "About 100%" train accuracy, in percent (our reading; not in the paper).
FULL_ACCURACY = 99.5


def fastest(a: Term) -> Sample:
  """Returns the density of the earliest stop; of equals, the denser one.

  Some density is always the fastest. If luck alone chose it in each replicate,
  every density with equal chance, the mean would lie in the middle of the
  ladder; so nothing is decided unless the replicates agree better than luck.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (300, 98.0), (400, 98.0)])
  >>> fastest(terms.parse(run, "step", "ticket")).values
  array([50.])
  """
  step = terms.values(a)
  finite = np.isfinite(step)
  left_out, pending = plan.short(a.run, a.arm, finite)
  known = finite & ~terms.late(a)
  known &= ~left_out[:, None]
  best = np.argmin(np.where(known, step, math.inf), axis=1)
  density = 100 * statistics.grid(a.run).density
  last = [int(np.flatnonzero(row).max(initial=0)) for row in known]
  chosen = known.sum(axis=1) > 1
  at_end = bool((best == last)[chosen].any())
  lucky = statistics.may_be_luck(best[chosen], int(known.any(axis=0).sum()))
  half = statistics.half_step(
    density[row] for row, is_chosen in zip(known, chosen) if is_chosen
  )
  return Sample(
    np.where(chosen, density[best], math.nan),
    may_rise=lucky,
    may_fall=lucky or at_end or bool(pending.any()),
    note=samples.join(
      "replicates agree no better than by luck" if lucky else "",
      "the sparsest density is the fastest" if at_end else "",
      plan.remark(left_out, pending),
      _wider(half),
    ),
    half_step=half,
  )


def back(a: Term, b: Term | None = None) -> Sample:
  """Returns the sparsest density at which an arm is as good as dense.

  With `b`, over that at which it is.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.0), (600, 98.0)])
  >>> back(terms.parse(run, "step", "ticket")).values
  array([50.])
  """
  if b is not None:
    return samples.over(back(a), back(b))
  if terms.level(a._replace(arm="ticket", sparse=1.0)).may_rise:
    return samples.nothing(a.run, "the original's early stop was not reached")
  return _sparsest(a, _as_good(a))


def weights(a: Term) -> Sample:
  """Returns how many weights are left where an arm is still as good as dense.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.0), (600, 97.0)])
  >>> weights(terms.parse(run, "test", "ticket")).values
  array([500.])
  """
  found = back(a)
  return found._replace(values=found.values / 100 * a.run.trials[0].counted)


def falls(a: Term, b: Term | None = None) -> Sample:
  """Returns the density from which on an arm is less accurate than dense.

  With `b`, over that from which on it is.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (500, 99.0), (500, 97.0)])
  >>> falls(terms.parse(run, "test", "ticket")).values
  array([25.])
  """
  if b is not None:
    return samples.over(falls(a), falls(b))
  return _sparsest(a, _as_good(a), past=1)


def fits(a: Term, b: Term | None = None) -> Sample:
  """Returns the sparsest density at which train accuracy is about 100%.

  With `b`, over that at which it is.

  >>> from lth_jax.report import example
  >>> full, short = (500, 98.0), (500, 98.0, 90.0)
  >>> run = example.run(ticket=[full, full, short], reinit=[None, short, short])
  >>> a = terms.parse(run, "end_train", "reinit")
  >>> fits(a, a._replace(arm="ticket")).values
  array([2.])
  """
  if b is not None:
    over = samples.over(fits(a), fits(b))
    if over.may_rise and over.may_fall:
      note = "neither loses it in every replicate within the run"
      return samples.nothing(a.run, note)
    return over
  return _sparsest(a, _with_dense(a) >= FULL_ACCURACY)


def _with_dense(a: Term) -> np.ndarray:
  dense = terms.values(a._replace(arm="ticket"))
  is_dense = np.array(statistics.grid(a.run).rounds) == 0
  return np.where(is_dense, dense, terms.values(a))


def _as_good(a: Term) -> np.ndarray:
  """Where an arm is at least as good as dense, bool `[R, K]`."""
  table = _with_dense(a)
  dense = statistics.at(table, statistics.column(a.run, 1.0))[:, None]
  return table <= dense if terms.is_step(a) else table >= dense


def _sparsest(a: Term, good: np.ndarray, past: int = 0) -> Sample:
  """The sparsest good density of each replicate, or the next one past it."""
  known = np.isfinite(_with_dense(a))
  density = 100 * statistics.grid(a.run).density
  left_out, pending = plan.short(a.run, a.arm, known)
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
  half = statistics.half_step(ladders)
  return Sample(
    values,
    may_fall=unfinished > 0 or bool(pending.any()),
    note=samples.join(
      note if unfinished else "", plan.remark(left_out, pending), _wider(half)
    ),
    half_step=half,
  )


def _wider(half_step: float) -> str:
  wider = 100 * math.expm1(half_step)
  note = f"interval wider by half a step of the ladder ({wider:.0f}%)"
  return note if half_step else ""
