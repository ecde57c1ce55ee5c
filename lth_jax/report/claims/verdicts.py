"""When a claim holds.

A claim *holds* if the mean over replicates lies in its band and the 95%
interval (two-sided paired t) excludes the opposite and is no wider than the
band; it is *consistent* if the interval is wider. It *does not hold* if the
interval excludes the band; else it is *undecided*, and always so under 3
replicates. It is *not measured* if the run cannot say: it has no such data, it
is too small for a number that is about the paper's size, or it had not trained.
A verdict that the end of the training or of the run could still overturn (see
`Sample`) is undecided.

A band that is open on one side, and whose end is not the opposite, counts as
wide as twice the way from its end to the opposite; one that ends at the
opposite states a direction and asks for no precision. A density and an
early-stop step are known to a step of their grid only: the interval is half a
step wider on each side. Of a value that is the best of K densities the interval
is that at level 1 - 0.05 / K (Bonferroni). The density that is best in each
replicate counts only if they agree on it better than by luck.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lth_jax.report import protocols, records, statistics
from lth_jax.report.claims import (
  densities,
  estimators,
  samples,
  table,
  terms,
  training,
)
from lth_jax.report.claims.samples import Sample

_ESTIMATORS = vars(densities) | vars(estimators)
VERDICTS = (
  *("holds", "consistent", "does not hold", "undecided"),
  "not measured",
)
_AS_LOGARITHMS = ("times", "weights", "% of weights")


class Result(NamedTuple):
  """A claim, our number and the verdict.

  Attributes:
    claim: the claim.
    ours: our number in its unit, over replicates.
    verdict: one of `VERDICTS`.
    bound: "at least" or "at most" if the truth may lie beyond, else "".
    note: a remark for the reader.
  """

  claim: table.Claim
  ours: statistics.Interval
  verdict: str
  bound: str
  note: str


def judge(claim: table.Claim, sample: Sample) -> Result:
  """Applies the verdict rules of the module's docstring.

  Args:
    claim: the claim.
    sample: our numbers in the claim's unit, one a replicate, `[R]`.

  >>> claim = next(each for each in table.CLAIMS if each.published == "38%")
  >>> claim.band, claim.opposites
  ((21.0, 51.0), (0.0,))
  >>> result = judge(claim, Sample(np.array([30.0, 36.0, 39.0])))
  >>> result.ours.mean, round(result.ours.low, 1), result.verdict
  (35.0, 23.6, 'holds')
  """
  scale, back = float, float
  values = sample.values
  if claim.unit in _AS_LOGARITHMS:
    scale, back, values = _log, _exp, np.log(values)
  level = 1 - 0.05 / sample.tries
  scaled = statistics.interval(values, level)
  scaled = scaled._replace(
    low=scaled.low - sample.half_step, high=scaled.high + sample.half_step
  )
  verdict = _verdict(
    scaled,
    (scale(claim.band[0]), scale(claim.band[1])),
    [scale(opposite) for opposite in claim.opposites],
    sample,
  )
  ours = statistics.Interval._make([*map(back, scaled[:5]), scaled.n])
  bound = {(True, False): "at least", (False, True): "at most"}.get(
    (sample.may_rise, sample.may_fall), ""
  )
  note = sample.note or ("" if ours.n else "the run has no such data")
  if sample.tries > 1:
    note += f"; interval at level {100 * level:.4g}%, corrected for that choice"
  return Result(claim, ours, verdict, bound, note)


def measure(claim: table.Claim, *runs: records.Run) -> Sample:
  """Returns what runs have for a claim.

  Args:
    claim: the claim.
    *runs: those that it is about. Of several, only the replicates count that
      all of them have.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.0)])
  >>> measure(table.CLAIMS[0], run).values  # it has no random masks
  array([nan])
  """
  for reason in _cannot_say(claim, runs):
    return samples.nothing(runs[0], reason)
  shared = set.intersection(
    *({trial.replicate for trial in run.trials} for run in runs)
  )
  if not shared:
    return samples.nothing(runs[0], "the runs share no replicate")
  runs = tuple(_only(run, shared) for run in runs)
  asked = [(run, claim.place) for run in runs]
  if claim.against:
    asked = [(runs[0], claim.place), (runs[-1], claim.against)]
  return _ESTIMATORS[claim.estimator](
    *(terms.parse(run, claim.quantity, place) for run, place in asked)
  )


def _cannot_say(
  claim: table.Claim, runs: Sequence[records.Run]
) -> Iterator[str]:
  """Why runs are not what a claim needs."""
  for run in runs:
    if "scale" in claim.needs and protocols.is_scaled_down(run.config):
      yield "an absolute number, and the run is scaled down"
    if "trained" in claim.needs and training.untrained(run):
      yield training.untrained(run)


def _only(run: records.Run, replicates: set[int]) -> records.Run:
  trials = tuple(trial for trial in run.trials if trial.replicate in replicates)
  return run._replace(trials=trials)


def _verdict(
  ours: statistics.Interval,
  band: tuple[float, float],
  opposites: Sequence[float],
  sample: Sample,
) -> str:
  if ours.n == 0:
    return "not measured"
  if ours.n < statistics.MIN_REPLICATES:
    return "undecided"
  low, high = band
  if ours.high < low and not sample.may_rise:
    return "does not hold"
  if ours.low > high and not sample.may_fall:
    return "does not hold"
  may_leave = (sample.may_rise and math.isfinite(high)) or (
    sample.may_fall and math.isfinite(low)
  )
  reached = any(ours.low <= opposite <= ours.high for opposite in opposites)
  if not low <= ours.mean <= high or reached or may_leave:
    return "undecided"
  precise = ours.high - ours.low <= _width(band, opposites)
  return "holds" if precise else "consistent"


def _width(band: tuple[float, float], opposites: Sequence[float]) -> float:
  """How wide an interval may be, at most."""
  width = band[1] - band[0]
  ends = [end for end in band if math.isfinite(end)]
  if math.isfinite(width) or not ends:
    return width
  way = min(abs(ends[0] - opposite) for opposite in opposites)
  return 2 * way if way > 0 else math.inf


def _log(value: float) -> float:
  return math.log(value) if value > 0 else -math.inf


def _exp(value: float) -> float:
  return math.inf if value > 700 else math.exp(value)
