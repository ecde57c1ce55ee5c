"""What a run has for a published claim: one number a replicate.

Densities at which something happens are taken per replicate among the measured
ones, without interpolation: "back to the original" is the sparsest density
still at least as good as the dense network, "falls below" the next sparser
one. Looking from the sparse end, noise between dense-like networks of many
weights does not count as a crossing.

An early-stop step is a lower bound where the validation loss still fell at the
last evaluation; a density is an upper bound where the run ended before the
crossing, or has not ended yet. A sample says to which side the truth may lie.
A replicate whose series diverged before its last density is left out of all
that is sought over densities.

A density is known to half a step of the measured ladder. That equal replicates
agree on it makes it no more certain, so a sample carries this half step too.
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

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Lane(0, 0, "ticket", 0, 1.0, [], [], end, end, False, ())
  >>> run = records.Run("example", {}, (dense, dense._replace(replicate=1)))
  >>> nothing(run, "needs a run with oneshot pruning").values
  array([nan, nan])
  """
  return Sample(
    np.full(len(statistics.grid(run).replicates), math.nan), note=note
  )


def difference(
  run: records.Run, quantity: statistics.Quantity, a: Where, b: Where
) -> Sample:
  """Returns an accuracy at `a` minus that at `b`, in points.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Lane(0, 0, "ticket", 0, 1.0, [], [], end, end, False, ())
  >>> early = records.Point(400, True, 0.985, 1.0)
  >>> sparse = dense._replace(round=1, density=0.5, early_stop=early)
  >>> run = records.Run("example", {}, (dense, sparse))
  >>> sample = difference(run, statistics.EARLY_TEST, ("ticket", 0.5), DENSE)
  >>> sample.values.round(2)
  array([0.5])
  """
  return Sample(_at(run, quantity, a) - _at(run, quantity, b))


def ratio(run: records.Run, a: Where, b: Where) -> Sample:
  """Returns the early-stop step at `a` divided by that at `b`.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Lane(0, 0, "ticket", 0, 1.0, [], [], end, end, False, ())
  >>> early = records.Point(400, True, 0.985, 1.0)
  >>> sparse = dense._replace(round=1, density=0.5, early_stop=early)
  >>> run = records.Run("example", {}, (dense, sparse))
  >>> ratio(run, ("ticket", 0.5), DENSE).values
  array([0.8])
  """
  quantity = statistics.EARLY_STEP
  steps = _positive(_at(run, quantity, a)) / _positive(_at(run, quantity, b))
  late_a, late_b = _late(run, a), _late(run, b)
  note = "an early stop was not reached" if late_a or late_b else ""
  return Sample(steps, may_rise=late_a, may_fall=late_b, note=note)


def earlier(run: records.Run, a: Where, b: Where) -> Sample:
  """Returns by how many percent the early stop at `a` precedes that at `b`.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Lane(0, 0, "ticket", 0, 1.0, [], [], end, end, False, ())
  >>> early = records.Point(400, True, 0.985, 1.0)
  >>> sparse = dense._replace(round=1, density=0.5, early_stop=early)
  >>> run = records.Run("example", {}, (dense, sparse))
  >>> earlier(run, ("ticket", 0.5), DENSE).values.round(2)
  array([20.])
  """
  steps = ratio(run, a, b)
  return Sample(
    100 * (1 - steps.values), steps.may_fall, steps.may_rise, steps.note
  )


def fastest(run: records.Run) -> Sample:
  """Returns the density of the earliest stop; of equals, the denser one.

  Some density is always the fastest. If luck alone chose it in each replicate,
  every density with equal chance, the mean would lie in the middle of the
  ladder; so nothing is decided unless the replicates agree better than luck.

  >>> from lth_jax import configs
  >>> config = configs.to_flat(configs.Config()) | {"rounds": 2}
  >>> ends = [records.Point(step, True, 0.98, 1.0) for step in (500, 300, 400)]
  >>> lanes = tuple(
  ...   records.Lane(0, k, "ticket", 0, 0.5**k, [], [], end, end, False, ())
  ...   for k, end in enumerate(ends)
  ... )
  >>> fastest(records.Run("example", config, lanes)).values
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
    note=_join(
      "replicates agree no better than by luck" if lucky else "",
      "the sparsest density is the fastest" if at_end else "",
      plan.remark(left_out, pending),
    ),
    half_step=statistics.half_step(
      density[row] for row, is_chosen in zip(known, chosen) if is_chosen
    ),
  )


def back(run: records.Run, quantity: statistics.Quantity) -> Sample:
  """Returns the sparsest density at which tickets are as good as dense.

  >>> from lth_jax import configs
  >>> config = configs.to_flat(configs.Config()) | {"rounds": 2}
  >>> ends = [records.Point(step, True, 0.98, 1.0) for step in (500, 400, 600)]
  >>> lanes = tuple(
  ...   records.Lane(0, k, "ticket", 0, 0.5**k, [], [], end, end, False, ())
  ...   for k, end in enumerate(ends)
  ... )
  >>> back(records.Run("example", config, lanes), statistics.EARLY_STEP).values
  array([50.])
  """
  if quantity is statistics.EARLY_STEP and _late(run, DENSE):
    return nothing(run, "the original's early stop was not reached")
  return _sparsest(run, "ticket", *_as_good(run, "ticket", quantity))


def falls(run: records.Run, arm: str) -> Sample:
  """Returns the density from which on an arm is less accurate than dense.

  >>> from lth_jax import configs
  >>> config = configs.to_flat(configs.Config()) | {"rounds": 2}
  >>> ends = [records.Point(9, True, test, 1.0) for test in (0.98, 0.99, 0.97)]
  >>> lanes = tuple(
  ...   records.Lane(0, k, "ticket", 0, 0.5**k, [], [], end, end, False, ())
  ...   for k, end in enumerate(ends)
  ... )
  >>> falls(records.Run("example", config, lanes), "ticket").values
  array([25.])
  """
  good, known = _as_good(run, arm, statistics.EARLY_TEST)
  return _sparsest(run, arm, good, known, past=1)


def full_train(run: records.Run) -> Sample:
  """Returns the sparsest density that is fitted in full, reinit / ticket.

  >>> from lth_jax import configs
  >>> config = configs.to_flat(configs.Config()) | {"rounds": 2}
  >>> trained = {"ticket": (1.0, 1.0, 0.9), "reinit": (1.0, 0.9, 0.9)}
  >>> lanes = tuple(
  ...   records.Lane(0, k, arm, 0, 0.5**k, [], [], end, end, False, ())
  ...   for arm, accuracies in trained.items()
  ...   for k, accuracy in enumerate(accuracies)
  ...   for end in [records.Point(500, True, 0.98, accuracy)]
  ... )
  >>> full_train(records.Run("example", config, lanes)).values
  array([2.])
  """
  ticket, reinit = (
    _sparsest(run, arm, accuracy >= FULL_ACCURACY, np.isfinite(accuracy))
    for arm in ("ticket", "reinit")
    for accuracy in [_with_dense(run, arm, statistics.END_TRAIN)]
  )
  if ticket.may_fall and reinit.may_fall:
    return nothing(run, "neither loses it in every replicate within the run")
  return Sample(
    reinit.values / ticket.values,
    may_rise=ticket.may_fall,
    may_fall=reinit.may_fall,
    note=_join(ticket.note, reinit.note),
    half_step=ticket.half_step + reinit.half_step,
  )


def lowest_train(run: records.Run, arm: str, down_to: float) -> Sample:
  """Returns the lowest train accuracy at the end down to a density.

  >>> from lth_jax import configs
  >>> config = configs.to_flat(configs.Config()) | {"rounds": 2}
  >>> ends = [records.Point(500, True, 0.98, train) for train in (1, 0.99, 0.9)]
  >>> lanes = tuple(
  ...   records.Lane(0, k, "ticket", 0, 0.5**k, [], [], end, end, False, ())
  ...   for k, end in enumerate(ends)
  ... )
  >>> run = records.Run("example", config, lanes)
  >>> lowest_train(run, "ticket", down_to=0.5).values
  array([99.])
  """
  accuracy = statistics.values(run, arm, statistics.END_TRAIN)
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
    note=_join(note if short.any() else "", plan.remark(left_out, pending)),
  )


def largest_gain(run: records.Run, quantity: statistics.Quantity) -> Sample:
  """Returns how much better tickets are than dense, where they are best.

  Accuracies in points, the early-stop step in percent earlier.

  The density with the largest mean is chosen by the numbers that are tested
  then, and the best of many gains is positive by luck alone; `tries` corrects
  for that. A density counts if every replicate has it that is not left out.

  >>> from lth_jax import configs
  >>> config = configs.to_flat(configs.Config()) | {"rounds": 2}
  >>> ends = [records.Point(9, True, p, 1.0) for p in (0.98, 0.985, 0.983)]
  >>> lanes = tuple(
  ...   records.Lane(0, k, "ticket", 0, 0.5**k, [], [], end, end, False, ())
  ...   for k, end in enumerate(ends)
  ... )
  >>> run = records.Run("example", config, lanes)
  >>> sample = largest_gain(run, statistics.END_TEST)
  >>> sample.values.round(2), sample.note, sample.tries
  (array([0.5]), 'at 50.0%, the best of 2 densities', 2)
  """
  gain = _gain(run, quantity)
  finite = np.isfinite(gain)
  left_out, pending = plan.short(run, "ticket", finite)
  gain[left_out] = math.nan
  begun = finite.any(axis=1) & ~left_out
  columns = np.flatnonzero(finite[begun].all(axis=0))
  if len(columns) == 0 or not begun.any():
    return nothing(run, plan.remark(left_out, pending))
  best = columns[np.argmax(gain[begun][:, columns].mean(axis=0))]
  density = 100 * statistics.grid(run).density[best]
  at_end = best == columns[-1]
  timed = quantity is statistics.EARLY_STEP
  late = statistics.not_reached(run, "ticket")[:, best].any()
  return Sample(
    gain[:, best],
    may_rise=bool(at_end or pending.any() or (timed and _late(run, DENSE))),
    may_fall=bool(timed and late),
    note=_join(
      f"at {density:.1f}%, the best of {len(columns)} densities",
      "the sparsest of all" if at_end else "",
      plan.remark(left_out, pending),
    ),
    tries=len(columns),
  )


def over_range(
  run: records.Run, quantity: statistics.Quantity, sparse: float, dense: float
) -> Sample:
  """Returns how much better tickets are, averaged over a range of densities.

  Accuracies in points, the early-stop step in percent earlier.

  >>> from lth_jax import configs
  >>> config = configs.to_flat(configs.Config()) | {"rounds": 2}
  >>> ends = [records.Point(9, True, p, 1.0) for p in (0.98, 0.985, 0.983)]
  >>> lanes = tuple(
  ...   records.Lane(0, k, "ticket", 0, 0.5**k, [], [], end, end, False, ())
  ...   for k, end in enumerate(ends)
  ... )
  >>> run = records.Run("example", config, lanes)
  >>> sample = over_range(run, statistics.EARLY_TEST, sparse=0.25, dense=0.5)
  >>> sample.values.round(2), sample.note
  (array([0.4]), 'mean; better at 2 of 2 densities')
  """
  gain = _gain(run, quantity)
  density = statistics.grid(run).density
  chosen = (density >= 0.99 * sparse) & (density <= 1.01 * dense)
  chosen &= np.isfinite(gain).any(axis=0)
  if not chosen.any():
    return nothing(run)
  means = [statistics.interval(each).mean for each in gain[:, chosen].T]
  timed = quantity is statistics.EARLY_STEP
  late = statistics.not_reached(run, "ticket")[:, chosen].any()
  _, pending = plan.short(run, "ticket", np.isfinite(gain))
  covered = density[chosen].min()
  short = bool(covered > 1.25 * sparse or pending.any())
  return Sample(
    gain[:, chosen].mean(axis=1),
    may_rise=short or (timed and _late(run, DENSE)),
    may_fall=short or bool(timed and late),
    note=_join(
      f"mean; better at {sum(m > 0 for m in means)} of {len(means)} densities",
      f"measured down to {100 * covered:.1f}%" if short else "",
      plan.remark(np.zeros_like(pending), pending),
    ),
  )


def _gain(run: records.Run, quantity: statistics.Quantity) -> np.ndarray:
  """How much better tickets are than dense, `[R, K]`; NaN for dense itself."""
  table = statistics.values(run, "ticket", quantity)
  dense = _at(run, quantity, DENSE)[:, None]
  gain = table - dense
  if quantity is statistics.EARLY_STEP:
    gain = 100 * (1 - table / _positive(dense))
  gain[:, np.array(statistics.grid(run).rounds) == 0] = math.nan
  return gain


def _at(
  run: records.Run, quantity: statistics.Quantity, where: Where
) -> np.ndarray:
  arm, density = where
  table = statistics.values(run, arm, quantity)
  return statistics.at(table, statistics.column(run, density))


def _late(run: records.Run, where: Where) -> bool:
  arm, density = where
  late = statistics.not_reached(run, arm).astype(float)
  return bool((statistics.at(late, statistics.column(run, density)) > 0).any())


def _positive(steps: np.ndarray) -> np.ndarray:
  return np.where(steps > 0, steps, math.nan)


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
  dense = _at(run, quantity, DENSE)[:, None]
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
    note=_join(note if unfinished else "", plan.remark(left_out, pending)),
    half_step=statistics.half_step(ladders),
  )


def _join(*notes: str) -> str:
  return "; ".join(dict.fromkeys(note for note in notes if note))
