"""Estimators: functions of one or two terms that return a claim's number.

An early-stop step is a lower bound where the validation loss still fell at the
last evaluation; `Sample.may_rise` and `may_fall` tell to which side the truth
may lie. A "gain" of `a` over `b` is accuracy in points, or by how many percent
the early-stop step comes earlier.
"""

import math

import numpy as np

from lth_jax.report import plan, records, statistics
from lth_jax.report.claims import leaves, samples, terms
from lth_jax.report.claims.samples import Sample
from lth_jax.report.claims.terms import Term

# "A threshold" of accuracy in appendix C; ours, in percent.
_THRESHOLD = 96.0
# A ladder whose sparsest density is within this factor of the asked one counts
# as measured down to it; ours.
_NEAR = 1.25


def level(a: Term) -> Sample:
  """Returns a quantity at one density."""
  if " " in a.quantity:
    return leaves.measure(a)
  if terms.quantity_of(a) is None:
    note = "no test accuracy was recorded on the way"
    return samples.nothing(a.run, note)
  column = statistics.column(a.run, a.sparse)
  found = statistics.at(terms.values(a), column)
  is_open = column is not None and bool(terms.lower_bounds(a)[:, column].any())
  return Sample(
    found,
    may_rise=is_open,
    note="an early stop was not reached" if is_open else "",
    half_step=_half_evaluation(a.run, found) if a.is_step else 0.0,
  )


def difference(a: Term, b: Term) -> Sample:
  """Returns a quantity at `a` minus the same at `b`, such as points."""
  return samples.minus(level(a), level(b))


def ratio(a: Term, b: Term) -> Sample:
  """Returns a quantity at `a` divided by the same at `b`."""
  return samples.over(level(a), level(b))


def earlier(a: Term, b: Term) -> Sample:
  """Returns by how many percent `a` is less than `b`."""
  found = ratio(a, b)
  return found._replace(
    values=100 * (1 - found.values),
    may_rise=found.may_fall,
    may_fall=found.may_rise,
    half_step=100 * found.half_step * statistics.interval(found.values).mean,
  )


def mean(a: Term) -> Sample:
  """Returns the average of a quantity over densities."""
  table = terms.values(a)
  chosen = terms.inside(a) & np.isfinite(table).any(axis=0)
  if not chosen.any():
    return samples.nothing(a.run)
  missing = plan.incomplete(a.run, a.arm, np.isfinite(table))
  is_open = bool(missing.pending.any())
  return Sample(
    table[:, chosen].mean(axis=1), is_open, is_open, missing.pending_note
  )


def lowest(a: Term) -> Sample:
  """Returns the lowest accuracy of an arm down to a density."""
  accuracy = terms.values(a)
  finite = np.isfinite(accuracy)
  missing = plan.incomplete(a.run, a.arm, finite)
  covered = np.where(finite, a.run.grid.density, 1.0).min(axis=1)
  short = covered > _NEAR * a.sparse
  missing = missing._replace(diverged=missing.diverged & short)
  known = finite & terms.inside(a) & ~missing.diverged[:, None]
  least = np.where(known, accuracy, math.inf).min(axis=1)
  short &= ~missing.diverged & known.any(axis=1)
  note = f"measured down to {100 * covered[short].max(initial=0):.1f}%"
  return Sample(
    np.where(known.any(axis=1), least, math.nan),
    may_fall=bool(short.any() or missing.pending.any()),
    note=samples.join(note if short.any() else "", missing.note),
  )


def average(a: Term, b: Term) -> Sample:
  """Returns the gain of `a` over `b`, on average over densities.

  The range is fixed, so that no density is chosen by the data and few
  replicates can decide the claim.
  """
  gain = _gain(a, b)
  density = a.run.grid.density
  known = np.isfinite(gain).any(axis=0)
  chosen = terms.inside(a) & known
  if not chosen.any():
    return samples.nothing(a.run)
  means = [statistics.interval(each).mean for each in gain[:, chosen].T]
  first, last = 100 * density[chosen][[0, -1]]
  missing = plan.incomplete(a.run, a.arm, np.isfinite(gain))
  covered = density[known].min()
  short = bool(covered > _NEAR * a.sparse or missing.pending.any())
  return Sample(
    gain[:, chosen].mean(axis=1),
    may_rise=short or _is_lower_bound(b, chosen),
    may_fall=short or _is_lower_bound(a, chosen),
    note=samples.join(
      f"above zero at {sum(m > 0 for m in means)} of {len(means)} densities, "
      f"{first:.1f}% to {last:.1f}%",
      f"measured down to {100 * covered:.1f}%" if short else "",
      missing.pending_note,
    ),
    half_step=100 * level(terms.dense_of(b)).half_step if a.is_step else 0.0,
  )


def gains(a: Term, b: Term) -> Sample:
  """Returns the average gain of `a` minus that of `b`, each over its dense."""
  return samples.minus(*(average(x, terms.dense_of(x)) for x in (a, b)))


def weakest(*every: Term) -> Sample:
  """Returns the average gain over dense in the run where it is least."""
  found = [average(each, terms.dense_of(each)) for each in every]
  for each in found:
    if not np.isfinite(each.values).any():
      return each
  least = int(np.argmin([np.nanmean(each.values) for each in found]))
  note = f"least in run {least + 1} of {len(found)}"
  return found[least]._replace(note=samples.join(note, found[least].note))


def best(a: Term, b: Term) -> Sample:
  """Returns the gain of `a` over `b` at the density where it is largest.

  The density with the largest mean is chosen by the same numbers that are then
  tested, and the best of many gains is positive by luck alone; `Sample.tries`
  corrects for that.
  """
  return _extreme(a, b, 1)


def worst(a: Term, b: Term) -> Sample:
  """Returns the gain of `a` over `b` at the density where it is smallest."""
  return _extreme(a, b, -1)


def diverged(a: Term) -> Sample:
  """Returns the percentage of trials whose loss was not finite."""
  grid = a.run.grid
  rounds = np.array(grid.rounds)[terms.inside(a)]
  found = []
  for replicate in grid.replicates:
    draws = [
      each.diverged
      for index in rounds
      for each in grid.results.get(a.arm, {}).get((replicate, index), [])
    ]
    found.append(100 * np.mean(draws) if draws else math.nan)
  return Sample(np.array(found))


def order(a: Term) -> Sample:
  """Returns how alike two orders of tickets are, as a rank correlation.

  One order is by their early stops, the other by the step at which their test
  accuracy reaches a threshold, averaged over the other replicates: noise that
  moves both in one trial makes no order. It is Spearman's coefficient over the
  densities that reach the threshold and stop before the end.
  """
  stops = np.where(terms.lower_bounds(a), math.nan, terms.values(a))
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
  """The gain where it is largest (`sign` 1) or smallest (-1).

  A density counts if every replicate has it that is not left out.
  """
  gain = _gain(a, b)
  finite = np.isfinite(gain)
  missing = plan.incomplete(a.run, a.arm, finite)
  gain[missing.diverged] = math.nan
  begun = finite.any(axis=1) & ~missing.diverged
  density = a.run.grid.density
  columns = np.flatnonzero(finite[begun].all(axis=0) & terms.inside(a))
  if len(columns) == 0 or not begun.any():
    return samples.nothing(a.run, missing.note)
  means = sign * gain[begun][:, columns].mean(axis=0)
  chosen = columns[np.argmax(means)]
  covered = density[columns[-1]]
  at_end = chosen == columns[-1] if sign > 0 else covered > _NEAR * a.sparse
  further = bool(at_end or missing.pending.any())
  if sign > 0:
    word, end = "best", "the sparsest of all"
  else:
    word, end = "worst", f"measured down to {100 * covered:.1f}%"
  return Sample(
    gain[:, chosen],
    may_rise=(further and sign > 0) or _is_lower_bound(b, chosen),
    may_fall=(further and sign < 0) or _is_lower_bound(a, chosen),
    note=samples.join(
      f"at {100 * density[chosen]:.1f}%, the {word} of {len(columns)} "
      "densities",
      end if at_end else "",
      missing.note,
    ),
    tries=len(columns),
  )


def _gain(a: Term, b: Term) -> np.ndarray:
  """The gain of `a` over `b`, `[R, K]`; NaN for the dense network itself."""
  table, base = terms.values(a), terms.values(b)
  if b.is_dense:
    base = statistics.at(base, statistics.column(b.run, 1.0))[:, None]
  gain = table - base
  if a.is_step:
    gain = 100 * (1 - table / samples.positive(base))
  gain[:, np.array(a.run.grid.rounds) == 0] = math.nan
  return gain


def _is_lower_bound(term: Term, columns) -> bool:
  """Whether some value of a term is only a lower bound."""
  if term.is_dense:
    return level(term).may_rise
  return bool(terms.lower_bounds(term)[:, columns].any())


def _half_evaluation(run: records.Run, steps: np.ndarray) -> float:
  """Half the distance of evaluations over the step, on average."""
  known = steps[np.isfinite(steps) & (steps > 0)]
  half = run.config["eval_every"] / 2
  return float(np.mean(half / known)) if len(known) else 0.0


def _first_reaching(result: records.Result) -> float:
  """The step where accuracy crosses the threshold, on a line between two."""
  curve = 100 * np.asarray(result.test_curve)
  high = curve >= _THRESHOLD
  if not high.any():
    return math.nan
  last = int(np.argmax(high))
  if last == 0:
    return float(result.test_steps[0])
  near = slice(last - 1, last + 1)
  return float(np.interp(_THRESHOLD, curve[near], result.test_steps[near]))


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
  known = np.isfinite(a) & np.isfinite(b)
  a, b = a[known], b[known]
  if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
    return math.nan
  return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(sample: np.ndarray) -> np.ndarray:
  """The place of each value in ascending order; equal ones share the mean."""
  _, place, counts = np.unique(sample, return_inverse=True, return_counts=True)
  return (np.cumsum(counts) - (counts - 1) / 2)[place]
