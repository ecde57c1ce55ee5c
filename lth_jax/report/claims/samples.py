"""Our number for a claim: one value a replicate."""

from typing import NamedTuple

import numpy as np

from lth_jax.report import records


class Sample(NamedTuple):
  """Our number for a claim.

  Attributes:
    values: one number a replicate, `[R]`, NaN where there is none.
    may_rise: the true values may be higher.
    may_fall: the true values may be lower.
    note: a remark for the reader.
    half_step: half a step of the grid that values lie on, the ladder of
      densities or evaluations; widens the interval on each side. In the unit
      of the values, for steps and densities as a logarithm.
    tries: among how many candidates the data themselves chose these values; the
      interval is then one at level 1 - 0.05 / tries (Bonferroni).
  """

  values: np.ndarray
  may_rise: bool = False
  may_fall: bool = False
  note: str = ""
  half_step: float = 0.0
  tries: int = 1


def nothing(run: records.Run, note: str = "") -> Sample:
  """Returns the sample of a claim that a run cannot answer."""
  return Sample(np.full(len(run.grid.replicates), np.nan), note=note)


def minus(a: Sample, b: Sample) -> Sample:
  """Returns the difference of two samples of the same replicates."""
  return _combine(a.values - b.values, a, b)


def over(a: Sample, b: Sample) -> Sample:
  """Returns the quotient of two samples of positive numbers."""
  return _combine(positive(a.values) / positive(b.values), a, b)


def positive(numbers: np.ndarray) -> np.ndarray:
  """Returns the numbers above zero, NaN for the rest: step 0 has no ratio."""
  return np.where(numbers > 0, numbers, np.nan)


def join(*notes: str) -> str:
  """Joins the notes that are not empty, each of them once."""
  return "; ".join(dict.fromkeys(note for note in notes if note))


def _combine(values: np.ndarray, a: Sample, b: Sample) -> Sample:
  """Makes a sample of values that rise with `a` and fall with `b`."""
  return Sample(
    values,
    may_rise=a.may_rise or b.may_fall,
    may_fall=a.may_fall or b.may_rise,
    note=join(a.note, b.note),
    half_step=a.half_step + b.half_step,
    tries=a.tries * b.tries,
  )
