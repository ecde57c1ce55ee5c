"""What runs have for a claim: one number a replicate."""

from typing import NamedTuple

import numpy as np

from lth_jax.report import records, statistics


class Sample(NamedTuple):
  """What a run has for a claim.

  Attributes:
    values: one number a replicate, `[R]`, NaN where there is none.
    may_rise: the true values may be higher than these.
    may_fall: the true values may be lower than these.
    note: a remark for the reader.
    half_step: half a step of the grid that values lie on, the ladder of
      densities or evaluations: an interval is wider by it on each side. It is
      in the unit of the values, a logarithm for steps and densities.
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
  size = len(statistics.grid(run).replicates)
  return Sample(np.full(size, np.nan), note=note)


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


def positive(numbers: np.ndarray) -> np.ndarray:
  """Returns what is above zero, NaN for the rest: step 0 has no ratio.

  >>> positive(np.array([0.0, 2.0]))
  array([nan,  2.])
  """
  return np.where(numbers > 0, numbers, np.nan)


def join(*notes: str) -> str:
  """Puts remarks into one, each of them once.

  >>> join("late", "", "left out: 1 of 3", "late")
  'late; left out: 1 of 3'
  """
  return "; ".join(dict.fromkeys(note for note in notes if note))


def _combined(values: np.ndarray, a: Sample, b: Sample) -> Sample:
  """What holds of `values`, which rise with `a` and fall with `b`."""
  return Sample(
    values,
    may_rise=a.may_rise or b.may_fall,
    may_fall=a.may_fall or b.may_rise,
    note=join(a.note, b.note),
    half_step=a.half_step + b.half_step,
    tries=a.tries * b.tries,
  )
