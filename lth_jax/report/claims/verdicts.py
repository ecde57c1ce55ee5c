"""When a claim holds.

A claim *holds* if the mean over replicates lies in its band and the 95%
interval (two-sided paired t) excludes the opposite and is no wider than the
band; it is *consistent* if the interval is wider. It *does not hold* if the
interval excludes the band; else it is *undecided*, and always so under 3
replicates. It is *not measured* if the run cannot tell: it has no such data, it
is too small for a number of the paper's size, or it had not trained. A verdict
that the end of the training or of the run could still overturn (see `Sample`)
is undecided.

A band that is open on one side, and whose end is not the opposite, counts as
wide as twice the distance from its end to the opposite; one that ends at the
opposite states a direction and needs no precision. Densities and early-stop
steps are known to a step of their grid only: the interval is half a step wider
on each side. The interval of the best of K densities is that at level
1 - 0.05 / K (Bonferroni). The density that is best in each replicate counts
only if they agree on it better than by luck.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lth_jax.report import protocols, records, statistics
from lth_jax.report.claims import densities, estimators, samples, table, terms
from lth_jax.report.claims.samples import Sample

VERDICTS = (
  *("holds", "consistent", "does not hold", "undecided"),
  "not measured",
)
# The table of claims names functions of these two modules.
_ESTIMATORS = vars(estimators) | vars(densities)
_AS_LOGARITHMS = ("times", "weights", "% of weights")
# A network had trained if its validation loss rose by this factor from its
# minimum, or if its accuracy is within so many points of the paper's; ours.
_PASSED, _NEAR = 1.01, 3.0


class Judgment(NamedTuple):
  """A claim, our number and the verdict.

  Attributes:
    claim: the claim.
    ours: our number in the claim's unit, over replicates.
    verdict: one of `VERDICTS`.
    bound: "at least" or "at most" if the truth may lie beyond, else "".
    note: a remark for the reader.
  """

  claim: table.Claim
  ours: statistics.Interval
  verdict: str
  bound: str
  note: str


def judge(claim: table.Claim, sample: Sample) -> Judgment:
  """Applies the rules of this module to numbers in the claim's unit."""
  scale, unscale, values = float, float, sample.values
  if claim.unit in _AS_LOGARITHMS:
    scale, unscale, values = _log, _exp, np.log(values)
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
  ours = statistics.Interval._make([*map(unscale, scaled[:5]), scaled.n])
  bound = {(True, False): "at least", (False, True): "at most"}.get(
    (sample.may_rise, sample.may_fall), ""
  )
  note = sample.note or ("" if ours.n else "the run has no such data")
  if sample.tries > 1:
    note += f"; interval at level {100 * level:.4g}%, corrected for that choice"
  return Judgment(claim, ours, verdict, bound, note)


def measure(claim: table.Claim, *runs: records.Run) -> Sample:
  """Returns our number for a claim from the runs that it is about.

  Only replicates that all of them have count.
  """
  for run in runs:
    if reason := _cannot_tell(claim, run):
      return samples.nothing(runs[0], reason)
  shared = set.intersection(*(set(run.grid.replicates) for run in runs))
  if not shared:
    return samples.nothing(runs[0], "the runs share no replicate")
  runs = tuple(statistics.only(run, shared) for run in runs)
  asked = [(run, claim.place) for run in runs]
  if claim.against:
    asked = [(runs[0], claim.place), (runs[-1], claim.against)]
  return _ESTIMATORS[claim.estimator](
    *(terms.parse(run, claim.quantity, place) for run, place in asked)
  )


def untrained(run: records.Run) -> str:
  """Returns why the dense networks had not trained; "" if they had."""
  rise, accuracy = (
    statistics.interval(estimators.level(terms.parse(run, x, "dense")).values)
    for x in ("loss_rise", "end_test")
  )
  published = protocols.DENSE_ACCURACY[run.config["model"]]
  if rise.mean >= _PASSED or accuracy.mean >= published - _NEAR:
    return ""
  return (
    "not trained: the validation loss of the dense network ends at "
    f"{rise.mean:.3f} of its minimum, and its test accuracy at "
    f"{accuracy.mean:.1f}% (the paper has {published}%)"
  )


def _cannot_tell(claim: table.Claim, run: records.Run) -> str:
  """Why a run is not what a claim needs; "" if it is."""
  if "scale" in claim.needs and protocols.is_scaled_down(run.config):
    return "an absolute number, and the run is scaled down"
  return untrained(run) if "trained" in claim.needs else ""


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
  distance = min(abs(ends[0] - opposite) for opposite in opposites)
  return 2 * distance if distance > 0 else math.inf


def _log(value: float) -> float:
  return math.log(value) if value > 0 else -math.inf


def _exp(value: float) -> float:
  return math.inf if value > 700 else math.exp(value)
