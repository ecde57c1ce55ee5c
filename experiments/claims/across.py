"""Claims on several runs, and the kinds that there are.

Replicates are paired: the same replicate of two runs has the same images and,
where the networks are alike, the same initial weights. Appendices B and F to I
of the paper report validation accuracies, the main text those of the test set.
"""

import math
from typing import NamedTuple

from lth_jax.report import crossings, measures, records, statistics
from lth_jax.report.published import claim as claim_lib
from lth_jax.report.published.claim import MORE, Band, Claim

OVER_ONE: Band = (1.0, math.inf)
# "The same" speed, as a ratio, and "no gain", in points; ours.
AS_FAST: Band = (0.67, 1.5)
NO_GAIN: Band = (-math.inf, 0.1)
# "Earlier" by less than this many percent is no speed-up; ours.
NO_FASTER: Band = (-math.inf, 10.0)


class Across(NamedTuple):
  """A claim and the names of the runs that its measure takes, in order."""

  claim: Claim
  runs: tuple[str, ...]


# A run of the catalog, and an arm and density of it.
Place = tuple[str, measures.Where]


def gap(
  figure: str,
  text: str,
  a: Place,
  b: Place,
  quantity: statistics.Quantity,
  published: str = "higher",
  band: Band = MORE,
  opposites: tuple[float, ...] = (0.0,),
) -> Across:
  """An accuracy of one run minus that of another, in points."""

  def measure(first: records.Run, second: records.Run) -> measures.Sample:
    return measures.minus(
      measures.level(first, quantity, a[1]),
      measures.level(second, quantity, b[1]),
    )

  claim = Claim(figure, text, published, band, opposites, "points", measure)
  return Across(claim, (a[0], b[0]))


def same(
  figure: str,
  text: str,
  within: float,
  a: Place,
  b: Place,
  quantity: statistics.Quantity,
) -> Across:
  """An accuracy of two runs is the same, within points."""
  band = (-within, within)
  return gap(figure, text, a, b, quantity, "the same", band, band)


def ratio(
  figure: str,
  text: str,
  a: Place,
  b: Place,
  published: str = "slower",
  band: Band = OVER_ONE,
) -> Across:
  """Early stop of one run over that of another; the band's ends oppose it."""

  def measure(first: records.Run, second: records.Run) -> measures.Sample:
    return measures.over(
      measures.level(first, statistics.EARLY_STEP, a[1]),
      measures.level(second, statistics.EARLY_STEP, b[1]),
    )

  ends = tuple(end for end in band if math.isfinite(end))
  claim = Claim(figure, text, published, band, ends, "times", measure)
  return Across(claim, (a[0], b[0]))


def on_average(
  figure: str,
  text: str,
  run: str,
  quantity: statistics.Quantity,
  dense: float,
  sparse: float,
  published: str = "higher",
  band: Band = MORE,
) -> Across:
  """Tickets of a run gain by pruning over a range of densities."""
  claim = claim_lib.on_average(
    figure, text, quantity, sparse, dense, published=published, band=band
  )
  return Across(claim, (run,))


def sooner(
  figure: str, text: str, a: str, b: str, published: str, band: Band
) -> Across:
  """Tickets of one run are as accurate as dense down to a higher density."""

  def measure(first: records.Run, second: records.Run) -> measures.Sample:
    return measures.over(
      *(crossings.back(run, statistics.END_TEST) for run in (first, second))
    )

  claim = Claim(figure, text, published, band, (1.0,), "times", measure)
  return Across(claim, (a, b))


def reset(
  figure: str, names: str, run: str, continued: str, density: float
) -> tuple[Across, ...]:
  """Resetting every round beats continued training at a density."""
  ours, other = (run, ("ticket", density)), (continued, ("ticket", density))
  text = f"{names} at {100 * density:.1f}%"
  return (
    gap(
      figure,
      f"{text}: reset every round is more accurate than continued training",
      ours,
      other,
      statistics.EARLY_VALID,
    ),
    ratio(
      figure,
      f"{text}: continued training learns slower than reset every round",
      other,
      ours,
    ),
  )
