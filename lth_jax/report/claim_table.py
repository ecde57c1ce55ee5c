"""The table of published claims and our verdicts."""

import math
from collections.abc import Sequence

from lth_jax.report import claims, statistics, tables

# The range of numbers of a unit.
_LIMITS = {
  "% of weights": (0.0, 100.0),
  "weights": (0.0, math.inf),
  "correlation": (-1.0, 1.0),
}
_DIGITS = {"%": 1, "% of weights": 1, "weights": 0}
# Columns of data, and titles of the columns of text.
_COLUMNS = (
  *("figure", "claim", "published", "band_low", "band_high", "opposites"),
  *("unit", "mean", "low95", "high95", "min", "max", "replicates"),
  *("verdict", "bound", "note"),
)
_TITLES = (
  *("Figure", "Claim", "Verdict", "Published", "Band", "Opposite"),
  *("Ours", "95% interval", f"Min{tables.DASH}max", "n", "Note"),
)


def tabulate(found: Sequence[claims.Judgment]) -> tables.Tables:
  """Tabulates the published claims and our verdicts."""
  found = [each._replace(ours=_cut(each.claim, each.ours)) for each in found]
  return tables.Tables(
    tables.Table(_COLUMNS, tuple(map(_data, found))),
    tables.Table(_TITLES, tuple(map(_text, found))),
  )


def _data(judgment: claims.Judgment) -> tuple[str, ...]:
  claim, ours, verdict, bound, note = judgment
  return (
    claim.figure,
    claim.text,
    claim.published,
    *map(tables.plain, claim.band),
    ";".join(map(tables.plain, claim.opposites)),
    claim.unit,
    *map(tables.plain, ours[:5]),
    str(ours.n),
    verdict,
    bound,
    note,
  )


def _text(judgment: claims.Judgment) -> tuple[str, ...]:
  claim, ours, verdict, bound, note = judgment
  digits = _DIGITS.get(claim.unit, 2)
  mean = _with_unit(tables.number(ours.mean, digits), claim.unit)
  return (
    claim.figure,
    claim.text,
    verdict,
    claim.published,
    _band(claim.band, claim.unit),
    " or ".join(_number(f"{each:,g}", claim.unit) for each in claim.opposites),
    f"{bound} {mean}".strip() if ours.n else tables.DASH,
    tables.value_range(ours.low, ours.high, digits),
    tables.value_range(ours.minimum, ours.maximum, digits),
    str(ours.n),
    note,
  )


def _cut(claim: claims.Claim, ours: statistics.Interval) -> statistics.Interval:
  """Cuts a finite interval to the range of the claim's number."""
  if not math.isfinite(ours.high - ours.low):
    return ours
  least, most = _limits(claim)
  return ours._replace(low=max(ours.low, least), high=min(ours.high, most))


def _limits(claim: claims.Claim) -> tuple[float, float]:
  """The range of a claim's number: accuracies are shares, gains are not."""
  if claim.unit == "%" and not claim.against and claim.band[1] <= 100:
    return 0.0, 100.0
  return _LIMITS.get(claim.unit, (-math.inf, math.inf))


def _band(band: tuple[float, float], unit: str) -> str:
  low, high = band
  if math.isinf(high):
    return _number(f"> {low:g}", unit)
  if math.isinf(low):
    return _number(f"< {high:g}", unit)
  return _number(f"{low:,g} to {high:,g}", unit)


def _number(text: str, unit: str) -> str:
  return _with_unit(text.replace("-", "\N{MINUS SIGN}"), unit)


def _with_unit(text: str, unit: str) -> str:
  if unit == "times":
    return f"{text}\N{MULTIPLICATION SIGN}"
  if unit in ("correlation", "ratio"):
    return text
  return f"{text}%" if unit.startswith("%") else f"{text} {unit}"
