"""Estimators of a claim's number: one a replicate.

An early-stop step is a lower bound where the validation loss still fell at the
last evaluation; a sample says to which side the truth may lie.
"""

import math

import numpy as np
from scipy import stats

from lth_jax.report import plan, statistics
from lth_jax.report.claims import terms
from lth_jax.report.claims.samples import (
  Sample,
  join,
  minus,
  nothing,
  over,
  positive,
)
from lth_jax.report.claims.terms import Term
from lth_jax.report.claims.terms import level as level

# "A threshold" of accuracy in appendix C; ours, in percent.
_THRESHOLD = 96.0


def difference(a: Term, b: Term) -> Sample:
  """Returns a quantity at `a` minus that at `b`, such as points of accuracy.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.5)])
  >>> a, b = (terms.parse(run, "test", p) for p in ("ticket 50%", "dense"))
  >>> difference(a, b).values
  array([0.5])
  """
  return minus(level(a), level(b))


def ratio(a: Term, b: Term) -> Sample:
  """Returns a quantity at `a` divided by that at `b`.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.5)])
  >>> a, b = (terms.parse(run, "step", p) for p in ("ticket 50%", "dense"))
  >>> ratio(a, b).values
  array([0.8])
  """
  return over(level(a), level(b))


def earlier(a: Term, b: Term) -> Sample:
  """Returns by how many percent `a` is less than `b`.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.5)])
  >>> a, b = (terms.parse(run, "step", p) for p in ("ticket 50%", "dense"))
  >>> earlier(a, b).values.round(2)
  array([20.])
  """
  found = ratio(a, b)
  return found._replace(
    values=100 * (1 - found.values),
    may_rise=found.may_fall,
    may_fall=found.may_rise,
    half_step=100 * found.half_step * statistics.interval(found.values).mean,
  )


def lowest(a: Term) -> Sample:
  """Returns the lowest accuracy of an arm down to a density.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (500, 97.0), (500, 90.0)])
  >>> lowest(terms.parse(run, "end_test", "ticket 100-50%")).values
  array([97.])
  """
  accuracy = terms.values(a)
  density = statistics.grid(a.run).density
  finite = np.isfinite(accuracy)
  left_out, pending = plan.short(a.run, a.arm, finite)
  covered = np.where(finite, density, 1.0).min(axis=1)
  short = covered > 1.25 * a.sparse
  left_out &= short
  known = finite & terms.inside(a) & ~left_out[:, None]
  least = np.where(known, accuracy, math.inf).min(axis=1)
  short &= ~left_out & known.any(axis=1)
  note = f"measured down to {100 * covered[short].max(initial=0):.1f}%"
  return Sample(
    np.where(known.any(axis=1), least, math.nan),
    may_fall=bool(short.any() or pending.any()),
    note=join(note if short.any() else "", plan.remark(left_out, pending)),
  )


def best(a: Term, b: Term) -> Sample:
  """Returns how much better `a` is than dense, where it is best.

  Accuracies in points, the early-stop step in percent earlier.

  The density with the largest mean is chosen by the numbers that are tested
  then, and the best of many gains is positive by luck alone; `tries` corrects
  for that. A density counts if every replicate has it that is not left out.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(9, 98.0), (9, 98.5), (9, 98.3)])
  >>> a, b = (terms.parse(run, "end_test", p) for p in ("ticket", "dense"))
  >>> sample = best(a, b)
  >>> sample.values, sample.note, sample.tries
  (array([0.5]), 'at 50.0%, the best of 2 densities', 2)
  """
  return _extreme(a, b, 1)


def worst(a: Term, b: Term) -> Sample:
  """Returns how much better `a` is than dense, where it is worst.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(9, 98.0), (9, 98.5), (9, 98.3), (9, 90.0)])
  >>> places = "ticket 100-25%", "dense"
  >>> a, b = (terms.parse(run, "end_test", place) for place in places)
  >>> worst(a, b).values.round(2)
  array([0.3])
  """
  return _extreme(a, b, -1)


def average(a: Term, b: Term) -> Sample:
  """Returns how much better `a` is than `b`, on average over densities.

  Accuracies in points, the early-stop step in percent earlier. A fixed range
  has no best density that the data would choose, so that few replicates can
  decide it.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(9, 98.0), (9, 98.5), (9, 98.3)])
  >>> places = "ticket 50-25%", "dense"
  >>> a, b = (terms.parse(run, "test", place) for place in places)
  >>> sample = average(a, b)
  >>> sample.values.round(2), sample.note
  (array([0.4]), 'above zero at 2 of 2 densities, 50.0% to 25.0%')
  """
  gain = _gain(a, b)
  density = statistics.grid(a.run).density
  known = np.isfinite(gain).any(axis=0)
  chosen = terms.inside(a) & known
  if not chosen.any():
    return nothing(a.run)
  means = [statistics.interval(each).mean for each in gain[:, chosen].T]
  first, last = 100 * density[chosen][[0, -1]]
  _, pending = plan.short(a.run, a.arm, np.isfinite(gain))
  covered = density[known].min()
  short = bool(covered > 1.25 * a.sparse or pending.any())
  rival = _is_late(b, chosen)
  half_step = 0.0
  if terms.is_step(a):
    half_step = 100 * level(terms.dense_of(b)).half_step
  return Sample(
    gain[:, chosen].mean(axis=1),
    may_rise=short or rival,
    may_fall=short or _is_late(a, chosen),
    note=join(
      f"above zero at {sum(m > 0 for m in means)} of {len(means)} densities, "
      f"{first:.1f}% to {last:.1f}%",
      f"measured down to {100 * covered:.1f}%" if short else "",
      plan.remark(np.zeros_like(pending), pending),
    ),
    half_step=half_step,
  )


def gains(a: Term, b: Term) -> Sample:
  """Returns how much larger the average gain of `a` is than that of `b`.

  Each is over the dense network of its own run.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(9, 98.0), (9, 98.5), (9, 98.2)])
  >>> a, b = (terms.parse(run, "test", f"ticket {x}%") for x in (50, 25))
  >>> gains(a, b).values.round(2)
  array([0.3])
  """
  return minus(*(average(each, terms.dense_of(each)) for each in (a, b)))


def weakest(*every: Term) -> Sample:
  """Returns the average gain over dense in the run where it is least.

  If it is there, it is everywhere.

  >>> from lth_jax.report import example
  >>> runs = [example.run(ticket=[(9, 98.0), (9, x)]) for x in (98.5, 98.2)]
  >>> weakest(*(terms.parse(x, "test", "ticket 50%") for x in runs)).values
  array([0.2])
  """
  found = [average(each, terms.dense_of(each)) for each in every]
  for each in found:
    if not np.isfinite(each.values).any():
      return each
  least = int(np.argmin([np.nanmean(each.values) for each in found]))
  note = f"least in run {least + 1} of {len(found)}"
  return found[least]._replace(note=join(note, found[least].note))


def mean(a: Term) -> Sample:
  """Returns the average of a quantity over densities.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(9, 98.0), (9, 98.5), (9, 98.3)])
  >>> mean(terms.parse(run, "test", "ticket 100-50%")).values
  array([98.25])
  """
  found = terms.values(a)
  _, pending = plan.short(a.run, a.arm, np.isfinite(found))
  found = found[:, terms.inside(a)]
  found = found[:, np.isfinite(found).any(axis=0)]
  if found.shape[1] == 0:
    return nothing(a.run)
  return Sample(
    found.mean(axis=1),
    may_rise=bool(pending.any()),
    may_fall=bool(pending.any()),
    note=plan.remark(np.zeros_like(pending), pending),
  )


def diverged(a: Term) -> Sample:
  """Returns the percentage of trainings whose loss was not finite.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(9, 98.0), (9, 98.5)])
  >>> diverged(terms.parse(run, "diverged", "dense")).values
  array([0.])
  """
  axes = statistics.grid(a.run)
  rounds = np.array(axes.rounds)[terms.inside(a)]
  found = []
  for replicate in axes.replicates:
    trials = [
      trial.diverged
      for trial in a.run.trials
      if (trial.replicate, trial.arm) == (replicate, a.arm)
      and trial.round in rounds
    ]
    found.append(100 * np.mean(trials) if trials else math.nan)
  return Sample(np.array(found))


def order(a: Term) -> Sample:
  """Returns how alike two orders of tickets are, as a rank correlation.

  One order is that of their early stops, the other that in which their test
  accuracy reaches a threshold, on average over the other replicates: noise that
  moves both in one training is no order (Spearman's coefficient over the
  densities that reach it and stop before the end).

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0)])
  >>> order(terms.parse(run, "step", "ticket")).values
  array([nan])
  """
  stops = np.where(terms.late(a), math.nan, terms.values(a))
  reaching = statistics.Quantity("first_reaching", "", _first_reaching)
  first = statistics.values(a.run, a.arm, reaching)
  found = []
  for replicate, own in enumerate(stops):
    others = np.delete(first, replicate, axis=0)
    others = others.mean(axis=0) if len(others) else np.full_like(own, math.nan)
    found.append(_rank_correlation(own, others))
  return Sample(
    np.array(found),
    note=f"test accuracy of {_THRESHOLD:g}%, between recorded steps",
  )


def _extreme(a: Term, b: Term, sign: int) -> Sample:
  """The gain at the density where it is largest, or smallest if sign is -1."""
  gain = _gain(a, b)
  finite = np.isfinite(gain)
  left_out, pending = plan.short(a.run, a.arm, finite)
  gain[left_out] = math.nan
  begun = finite.any(axis=1) & ~left_out
  density = statistics.grid(a.run).density
  columns = np.flatnonzero(finite[begun].all(axis=0) & terms.inside(a))
  if len(columns) == 0 or not begun.any():
    return nothing(a.run, plan.remark(left_out, pending))
  means = sign * gain[begun][:, columns].mean(axis=0)
  chosen = columns[np.argmax(means)]
  covered = density[columns[-1]]
  open_end = chosen == columns[-1] if sign > 0 else covered > 1.25 * a.sparse
  further = bool(open_end or pending.any())
  word = "best" if sign > 0 else "worst"
  rival = _is_late(b, chosen)
  return Sample(
    gain[:, chosen],
    may_rise=(further and sign > 0) or rival,
    may_fall=(further and sign < 0) or _is_late(a, chosen),
    note=join(
      f"at {100 * density[chosen]:.1f}%, the {word} of {len(columns)} "
      "densities",
      "the sparsest of all" if open_end and sign > 0 else "",
      f"measured down to {100 * covered:.1f}%" if open_end and sign < 0 else "",
      plan.remark(left_out, pending),
    ),
    tries=len(columns),
  )


def _gain(a: Term, b: Term) -> np.ndarray:
  """How much better `a` is, `[R, K]`; NaN for the dense network itself."""
  table, base = terms.values(a), terms.values(b)
  if terms.is_dense(b):
    base = statistics.at(base, statistics.column(b.run, 1.0))[:, None]
  gain = table - base
  if terms.is_step(a):
    gain = 100 * (1 - table / positive(base))
  gain[:, np.array(statistics.grid(a.run).rounds) == 0] = math.nan
  return gain


def _is_late(term: Term, columns) -> bool:
  if terms.is_dense(term):
    return level(term).may_rise
  return bool(terms.late(term)[:, columns].any())


def _first_reaching(trial) -> float:
  """The step where accuracy crosses the threshold, on a line between two."""
  curve = 100 * np.asarray(trial.test_curve)
  high = curve >= _THRESHOLD
  if not high.any():
    return math.nan
  last = int(np.argmax(high))
  if last == 0:
    return float(trial.test_steps[0])
  near = slice(last - 1, last + 1)
  return float(np.interp(_THRESHOLD, curve[near], trial.test_steps[near]))


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
  known = np.isfinite(a) & np.isfinite(b)
  a, b = a[known], b[known]
  if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
    return math.nan
  return stats.spearmanr(a, b)[0]
