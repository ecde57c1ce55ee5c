"""What a run has for a published claim: one number a replicate.

An early-stop step is a lower bound where the validation loss still fell at the
last evaluation; a sample says to which side the truth may lie.
"""

import math
from typing import NamedTuple

import numpy as np

from lth_jax.report import plan, records, statistics

DENSE = ("ticket", 1.0)
# "About 100%" train accuracy, in percent (our reading; not in the paper).
FULL_ACCURACY = 99.5

# An arm at a density.
Where = tuple[str, float]


class Sample(NamedTuple):
  """What a run has for a claim.

  Attributes:
    values: one number a replicate, `[R]`, NaN where there is none.
    may_rise: the true values may be higher than these.
    may_fall: the true values may be lower than these.
    note: a remark for the reader.
    half_step: half a step of the ladder of densities, as a logarithm, by which
      an interval of `values` is wider on each side.
    tries: among how many candidates the data themselves chose these values; an
      interval of them is one at level 1 - 0.05 / tries (Bonferroni).
  """

  values: np.ndarray
  may_rise: bool = False
  may_fall: bool = False
  note: str = ""
  half_step: float = 0.0
  tries: int = 1


def nothing(run: records.Run, note: str = "") -> Sample:
  """Returns the sample of a claim that a run cannot speak about.

  >>> from lth_jax.report import example
  >>> nothing(example.run(ticket=[(500, 98.0)]), "needs reinit").values
  array([nan])
  """
  return Sample(
    np.full(len(statistics.grid(run).replicates), math.nan), note=note
  )


def minus(a: Sample, b: Sample) -> Sample:
  """Returns the difference of two samples of the same replicates.

  >>> minus(Sample(np.array([3.0])), Sample(np.array([1.0]), may_rise=True))
  Sample(values=array([2.]), may_rise=False, may_fall=True, note='',
  half_step=0.0, tries=1)
  """
  return _combined(a.values - b.values, a, b)


def over(a: Sample, b: Sample) -> Sample:
  """Returns the quotient of two samples of positive numbers.

  >>> over(Sample(np.array([3.0])), Sample(np.array([2.0]))).values
  array([1.5])
  """
  return _combined(positive(a.values) / positive(b.values), a, b)


def level(
  run: records.Run, quantity: statistics.Quantity, where: Where
) -> Sample:
  """Returns a quantity as it is at one place.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.5)])
  >>> level(run, statistics.EARLY_TEST, ("ticket", 0.5)).values
  array([98.5])
  """
  late = quantity is statistics.EARLY_STEP and is_late(run, where)
  note = "an early stop was not reached" if late else ""
  return Sample(at(run, quantity, where), may_rise=late, note=note)


def difference(
  run: records.Run, quantity: statistics.Quantity, a: Where, b: Where
) -> Sample:
  """Returns a quantity at `a` minus that at `b`, such as points of accuracy.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.5)])
  >>> difference(run, statistics.EARLY_TEST, ("ticket", 0.5), DENSE).values
  array([0.5])
  """
  return minus(level(run, quantity, a), level(run, quantity, b))


def ratio(run: records.Run, a: Where, b: Where) -> Sample:
  """Returns the early-stop step at `a` divided by that at `b`.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.5)])
  >>> ratio(run, ("ticket", 0.5), DENSE).values
  array([0.8])
  """
  quantity = statistics.EARLY_STEP
  return over(level(run, quantity, a), level(run, quantity, b))


def earlier(run: records.Run, a: Where, b: Where) -> Sample:
  """Returns by how many percent the early stop at `a` precedes that at `b`.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.5)])
  >>> earlier(run, ("ticket", 0.5), DENSE).values.round(2)
  array([20.])
  """
  steps = ratio(run, a, b)
  return steps._replace(
    values=100 * (1 - steps.values),
    may_rise=steps.may_fall,
    may_fall=steps.may_rise,
  )


def lowest(
  run: records.Run, quantity: statistics.Quantity, arm: str, down_to: float
) -> Sample:
  """Returns the lowest accuracy of an arm down to a density.

  Args:
    run: the run.
    quantity: an accuracy.
    arm: name of the arm.
    down_to: the sparsest density to look at.

  >>> from lth_jax.report import example
  >>> tickets = [(500, 98.0), (500, 97.0), (500, 90.0)]
  >>> run = example.run(ticket=tickets)
  >>> lowest(run, statistics.END_TEST, "ticket", down_to=0.5).values
  array([97.])
  """
  accuracy = statistics.values(run, arm, quantity)
  density = statistics.grid(run).density
  finite = np.isfinite(accuracy)
  left_out, pending = plan.short(run, arm, finite)
  covered = np.where(finite, density, 1.0).min(axis=1)
  short = covered > 1.25 * down_to
  left_out &= short
  known = finite & (density >= 0.98 * down_to) & ~left_out[:, None]
  lowest = np.where(known, accuracy, math.inf).min(axis=1)
  short &= ~left_out & known.any(axis=1)
  note = f"measured down to {100 * covered[short].max(initial=0):.1f}%"
  return Sample(
    np.where(known.any(axis=1), lowest, math.nan),
    may_fall=bool(short.any() or pending.any()),
    note=join(note if short.any() else "", plan.remark(left_out, pending)),
  )


def largest_gain(run: records.Run, quantity: statistics.Quantity) -> Sample:
  """Returns how much better tickets are than dense, where they are best.

  Accuracies in points, the early-stop step in percent earlier.

  The density with the largest mean is chosen by the numbers that are tested
  then, and the best of many gains is positive by luck alone; `tries` corrects
  for that. A density counts if every replicate has it that is not left out.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(9, 98.0), (9, 98.5), (9, 98.3)])
  >>> sample = largest_gain(run, statistics.END_TEST)
  >>> sample.values, sample.note, sample.tries
  (array([0.5]), 'at 50.0%, the best of 2 densities', 2)
  """
  return _extreme(run, quantity, 0.0, 1)


def smallest_gain(
  run: records.Run, quantity: statistics.Quantity, down_to: float
) -> Sample:
  """Returns how much better tickets are than dense, where they are worst.

  Args:
    run: the run.
    quantity: as for `largest_gain`.
    down_to: the sparsest density to look at.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(9, 98.0), (9, 98.5), (9, 98.3), (9, 90.0)])
  >>> smallest_gain(run, statistics.END_TEST, down_to=0.25).values.round(2)
  array([0.3])
  """
  return _extreme(run, quantity, down_to, -1)


def over_range(
  run: records.Run,
  quantity: statistics.Quantity,
  sparse: float,
  dense: float,
  arms: tuple[str, str] = ("ticket", "dense"),
) -> Sample:
  """Returns how much better an arm is, averaged over a range of densities.

  Accuracies in points, the early-stop step in percent earlier.

  Args:
    run: the run.
    quantity: an accuracy, or the early-stop step.
    sparse: from this density
    dense: to this one.
    arms: which arm, and than which other one or the "dense" network.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(9, 98.0), (9, 98.5), (9, 98.3)])
  >>> sample = over_range(run, statistics.EARLY_TEST, sparse=0.25, dense=0.5)
  >>> sample.values.round(2), sample.note
  (array([0.4]), 'above zero at 2 of 2 densities, 50.0% to 25.0%')
  """
  gain = _gain(run, quantity, *arms)
  density = statistics.grid(run).density
  chosen = (density >= 0.99 * sparse) & (density <= 1.01 * dense)
  chosen &= np.isfinite(gain).any(axis=0)
  if not chosen.any():
    return nothing(run)
  means = [statistics.interval(each).mean for each in gain[:, chosen].T]
  first, last = 100 * density[chosen][[0, -1]]
  arm, other = arms
  timed = quantity is statistics.EARLY_STEP
  late = timed and statistics.not_reached(run, arm)[:, chosen].any()
  _, pending = plan.short(run, arm, np.isfinite(gain))
  covered = density[np.isfinite(gain).any(axis=0)].min()
  short = bool(covered > 1.25 * sparse or pending.any())
  return Sample(
    gain[:, chosen].mean(axis=1),
    may_rise=short or (timed and _any_late(run, other, chosen)),
    may_fall=short or bool(late),
    note=join(
      f"above zero at {sum(m > 0 for m in means)} of {len(means)} densities, "
      f"{first:.1f}% to {last:.1f}%",
      f"measured down to {100 * covered:.1f}%" if short else "",
      plan.remark(np.zeros_like(pending), pending),
    ),
  )


def at(
  run: records.Run, quantity: statistics.Quantity, where: Where
) -> np.ndarray:
  """Returns a quantity at one place, `[R]`, NaN where there is none.

  >>> from lth_jax.report import example
  >>> at(example.run(ticket=[(500, 98.0)]), statistics.EARLY_STEP, DENSE)
  array([500.])
  """
  arm, density = where
  table = statistics.values(run, arm, quantity)
  return statistics.at(table, statistics.column(run, density))


def is_late(run: records.Run, where: Where) -> bool:
  """Says whether an early stop was not reached there by some replicate.

  >>> from lth_jax.report import example
  >>> is_late(example.run(ticket=[(500, 98.0)]), DENSE)
  False
  """
  arm, density = where
  late = statistics.not_reached(run, arm).astype(float)
  return bool((statistics.at(late, statistics.column(run, density)) > 0).any())


def positive(numbers: np.ndarray) -> np.ndarray:
  """Returns what is above zero, NaN for the rest: step 0 has no ratio.

  >>> positive(np.array([0.0, 2.0]))
  array([nan,  2.])
  """
  return np.where(numbers > 0, numbers, math.nan)


def join(*notes: str) -> str:
  """Puts remarks into one, each of them once.

  >>> join("late", "", "left out: 1 of 3", "late")
  'late; left out: 1 of 3'
  """
  return "; ".join(dict.fromkeys(note for note in notes if note))


def _combined(values, a: Sample, b: Sample) -> Sample:
  """What holds of `values`, which rise with `a` and fall with `b`."""
  return Sample(
    values,
    may_rise=a.may_rise or b.may_fall,
    may_fall=a.may_fall or b.may_rise,
    note=join(a.note, b.note),
    half_step=a.half_step + b.half_step,
    tries=a.tries * b.tries,
  )


def _extreme(
  run: records.Run, quantity: statistics.Quantity, down_to: float, sign: int
) -> Sample:
  """The gain at the density where it is largest, or smallest if sign is -1."""
  gain = _gain(run, quantity)
  finite = np.isfinite(gain)
  left_out, pending = plan.short(run, "ticket", finite)
  gain[left_out] = math.nan
  begun = finite.any(axis=1) & ~left_out
  density = statistics.grid(run).density
  inside = finite[begun].all(axis=0) & (density >= 0.98 * down_to)
  columns = np.flatnonzero(inside)
  if len(columns) == 0 or not begun.any():
    return nothing(run, plan.remark(left_out, pending))
  means = sign * gain[begun][:, columns].mean(axis=0)
  best = columns[np.argmax(means)]
  covered = density[columns[-1]]
  open_end = best == columns[-1] if sign > 0 else covered > 1.25 * down_to
  timed = quantity is statistics.EARLY_STEP
  late = timed and statistics.not_reached(run, "ticket")[:, best].any()
  further = bool(open_end or pending.any())
  word = "best" if sign > 0 else "worst"
  return Sample(
    gain[:, best],
    may_rise=(further and sign > 0) or (timed and is_late(run, DENSE)),
    may_fall=(further and sign < 0) or bool(late),
    note=join(
      f"at {100 * density[best]:.1f}%, the {word} of {len(columns)} densities",
      "the sparsest of all" if open_end and sign > 0 else "",
      f"measured down to {100 * covered:.1f}%" if open_end and sign < 0 else "",
      plan.remark(left_out, pending),
    ),
    tries=len(columns),
  )


def _gain(
  run: records.Run,
  quantity: statistics.Quantity,
  arm: str = "ticket",
  other: str = "dense",
) -> np.ndarray:
  """How much better an arm is, `[R, K]`; NaN for the dense network itself."""
  table = statistics.values(run, arm, quantity)
  if other == "dense":
    base = at(run, quantity, DENSE)[:, None]
  else:
    base = statistics.values(run, other, quantity)
  gain = table - base
  if quantity is statistics.EARLY_STEP:
    gain = 100 * (1 - table / positive(base))
  gain[:, np.array(statistics.grid(run).rounds) == 0] = math.nan
  return gain


def _any_late(run: records.Run, arm: str, columns: np.ndarray) -> bool:
  if arm == "dense":
    return is_late(run, DENSE)
  return bool(statistics.not_reached(run, arm)[:, columns].any())
