"""What a run says about the course of training: one number a replicate."""

import math

import numpy as np
from scipy import stats

from lth_jax.report import measures, records, statistics
from lth_jax.report.measures import Sample


def rise(run: records.Run, where: measures.Where) -> Sample:
  """Returns the validation loss at the end over its minimum.

  Args:
    run: the run.
    where: an arm at a density.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0)])
  >>> rise(run, measures.DENSE).values
  array([1.])
  """
  return measures.over(
    measures.level(run, _END_LOSS, where),
    measures.level(run, _LEAST_LOSS, where),
  )


def unstopped(run: records.Run, where: measures.Where) -> Sample:
  """Returns 100 where the validation loss still fell at the end, else 0.

  Args:
    run: the run.
    where: an arm at a density.

  >>> from lth_jax.report import example
  >>> unstopped(example.run(ticket=[(500, 98.0)]), measures.DENSE).values
  array([0.])
  """
  arm, density = where
  late = 100.0 * statistics.not_reached(run, arm)
  late[~np.isfinite(statistics.values(run, arm, statistics.EARLY_STEP))] = (
    math.nan
  )
  return Sample(statistics.at(late, statistics.column(run, density)))


def order(run: records.Run, accuracy: float) -> Sample:
  """Returns how alike two orders of tickets are, as a rank correlation.

  One order is that of their early stops, the other that in which their test
  accuracy reaches a threshold (Spearman's coefficient over the densities that
  reach it and stop before the end).

  Args:
    run: the run.
    accuracy: the threshold in percent.

  >>> from lth_jax.report import example
  >>> order(example.run(ticket=[(500, 98.0)]), 96.0).values
  array([nan])
  """
  stops = statistics.values(run, "ticket", statistics.EARLY_STEP)
  stops[statistics.not_reached(run, "ticket")] = math.nan
  first = statistics.values(run, "ticket", _first_reaching(accuracy))
  known = np.isfinite(stops) & np.isfinite(first)
  return Sample(
    np.array(
      [
        stats.spearmanr(a[here], b[here])[0] if _varied(a, b, here) else np.nan
        for a, b, here in zip(stops, first, known)
      ]
    ),
    note=f"test accuracy of {accuracy:g}%, tested every "
    f"{run.config['test_every']:,} steps",
  )


def early_difference(
  run: records.Run, part: float, a: measures.Where, b: measures.Where
) -> Sample:
  """Returns by how much test accuracy is higher at `a` during training, points.

  Args:
    run: the run.
    part: of the training, in (0, 1); the nearest step that was recorded.
    a: an arm at a density.
    b: another.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0)])
  >>> early_difference(run, 0.25, measures.DENSE, measures.DENSE).values
  array([nan])
  """
  steps = statistics.steps_near(run, (part,))
  if not steps:
    return measures.nothing(run, "no test accuracy was recorded on the way")
  return measures.difference(run, statistics.accuracy_at(steps[0]), a, b)


_LEAST_LOSS = statistics.Quantity(
  "early_stop_valid_loss",
  "Least validation loss",
  lambda lane: lane.early_stop.valid_loss,
)
_END_LOSS = statistics.Quantity(
  "end_valid_loss",
  "Validation loss at the end",
  lambda lane: lane.end.valid_loss,
)


def _first_reaching(accuracy: float) -> statistics.Quantity:
  def read(lane: records.Lane) -> float:
    high = 100 * np.asarray(lane.test_curve) >= accuracy
    return lane.test_steps[np.argmax(high)] if high.any() else math.nan

  return statistics.Quantity("first_reaching", "", read)


def _varied(a, b, known) -> bool:
  return known.sum() > 2 and np.ptp(a[known]) > 0 and np.ptp(b[known]) > 0
