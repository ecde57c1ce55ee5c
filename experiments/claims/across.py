"""Claims on several runs, and the kinds that there are.

Replicates are paired: the same replicate of two runs has the same images and,
where the networks are alike, the same initial weights.
"""

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

from lth_jax.report import crossings, measures, records, statistics
from lth_jax.report.published.claim import MORE, Band, Claim

OVER_ONE: Band = (1.0, math.inf)


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
  quantity: statistics.Quantity = statistics.EARLY_TEST,
  published: str = "higher",
  band: Band = MORE,
  opposites: tuple[float, ...] = (0.0,),
) -> Across:
  """An accuracy of one run minus that of another, in points."""

  def measure(first, second):
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
  quantity: statistics.Quantity = statistics.EARLY_TEST,
) -> Across:
  """An accuracy of two runs is the same, within points."""
  band = (-within, within)
  return gap(figure, text, a, b, quantity, "the same", band, band)


def slower(figure: str, text: str, a: Place, b: Place) -> Across:
  """Early stop of one run over that of another."""

  def measure(first, second):
    return measures.over(
      measures.level(first, statistics.EARLY_STEP, a[1]),
      measures.level(second, statistics.EARLY_STEP, b[1]),
    )

  claim = Claim(figure, text, "slower", OVER_ONE, (1.0,), "times", measure)
  return Across(claim, (a[0], b[0]))


def best(
  figure: str,
  text: str,
  run: str,
  published: str,
  band: Band,
  quantity: statistics.Quantity = statistics.EARLY_TEST,
) -> Across:
  """Tickets gain by pruning: where most, in points or percent earlier."""
  measure = functools.partial(measures.largest_gain, quantity=quantity)
  unit = "%" if quantity is statistics.EARLY_STEP else "points"
  claim = Claim(figure, text, published, band, (0.0,), unit, measure)
  return Across(claim, (run,))


def pattern(
  figure: str, sweep: str, points: Iterable[str], names: str
) -> tuple[Across, ...]:
  """Tickets beat the dense network at every point of a sweep."""
  return tuple(
    best(
      figure,
      f"{names} {point}: tickets above the original at the end by up to",
      f"{sweep}_{point}",
      "higher",
      MORE,
      statistics.END_TEST,
    )
    for point in points
  )


def sooner(
  figure: str, text: str, a: str, b: str, published: str, band: Band
) -> Across:
  """Tickets of one run fall below the original at a higher density."""

  def measure(first: records.Run, second: records.Run) -> measures.Sample:
    return measures.over(
      *(
        crossings.falls(run, "ticket", statistics.END_TEST)
        for run in (first, second)
      )
    )

  claim = Claim(figure, text, published, band, (1.0,), "times", measure)
  return Across(claim, (a, b))


def reset(
  figure: str, names: str, run: str, continued: str, density: float
) -> tuple[Across, ...]:
  """Resetting every round beats continued training at a density."""
  ours, other = (run, ("ticket", density)), (continued, ("ticket", density))
  text = f"{names} at {100 * density:.1f}%: reset every round"
  return (
    gap(figure, f"{text} is more accurate than continued", ours, other),
    slower(figure, f"{text} learns faster than continued", other, ours),
  )
