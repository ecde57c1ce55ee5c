"""What a published claim is, as data."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lth_jax.report import measures, statistics

Band = tuple[float, float]
MORE: Band = (0.0, math.inf)
LESS: Band = (-math.inf, 0.0)


class Claim(NamedTuple):
  """A published claim; `band` and `opposites` are in `unit`.

  Attributes:
    figure: figure of the paper.
    text: the claim.
    published: the published number.
    band: what counts as the same, inclusive.
    opposites: values that stand for the opposite.
    unit: "points", "%", "ratio", "correlation", "times", "weights" or "% of
      weights"; the last three are averaged as logarithms.
    measure: computes our number for each replicate, of a run or of several.
    about: what the configuration of the run must be; a truth value means
      whether the field is anything but 0.
    absolute: whether it is about a number as it is, and not about one in
      proportion to another; only a run of the paper's size can tell.
  """

  figure: str
  text: str
  published: str
  band: Band
  opposites: tuple[float, ...]
  unit: str
  measure: Callable[..., measures.Sample]
  about: Mapping[str, Any] = {}
  absolute: bool = False


def applies(claim: Claim, config: Mapping[str, Any]) -> bool:
  """Says whether a claim is about runs of a configuration.

  Args:
    claim: the claim.
    config: the flat configuration of a run.

  >>> warm = same("7", "", 0.5, measures.minus)
  >>> warm = warm._replace(about={"model": "vgg19", "warmup": True})
  >>> applies(warm, {"model": "vgg19", "warmup": 10000})
  True
  >>> applies(warm, {"model": "vgg19", "warmup": 0})
  False
  """
  return all(
    bool(config[field]) is wanted
    if isinstance(wanted, bool)
    else config[field] == wanted
    for field, wanted in claim.about.items()
  )


def of(about: Mapping[str, Any], *claims: Claim) -> tuple[Claim, ...]:
  """Returns claims with more conditions, which give way to their own.

  Args:
    about: as in `Claim`.
    *claims: the claims.

  >>> [found] = of({"model": "vgg19"}, same("7", "", 0.5, measures.minus))
  >>> found.about
  {'model': 'vgg19'}
  """
  return tuple(
    claim._replace(about={**about, **claim.about}) for claim in claims
  )


def higher(
  figure: str,
  text: str,
  quantity: statistics.Quantity,
  a: measures.Where,
  b: measures.Where,
) -> Claim:
  """Claims that an accuracy is higher at `a` than at `b`.

  >>> higher("3", "", statistics.END_TEST, ("ticket", 0.5), measures.DENSE).band
  (0.0, inf)
  """
  measure = functools.partial(measures.difference, quantity=quantity, a=a, b=b)
  return Claim(figure, text, "higher", MORE, (0.0,), "points", measure)


def slower(
  figure: str,
  text: str,
  a: measures.Where,
  b: measures.Where,
) -> Claim:
  """Claims that early stop comes later at `a` than at `b`.

  >>> slower("3", "", ("reinit", 0.5), measures.DENSE).unit
  'times'
  """
  measure = functools.partial(measures.ratio, a=a, b=b)
  band = (1.0, math.inf)
  return Claim(figure, text, "slower", band, (1.0,), "times", measure)


def on_average(
  figure: str,
  text: str,
  quantity: statistics.Quantity,
  sparse: float,
  dense: float,
  arms: tuple[str, str] = ("ticket", "dense"),
  published: str = "higher",
  band: Band = MORE,
) -> Claim:
  """Claims how much better an arm is over a range of densities, on average.

  A fixed range has no best density that the data would choose, so that few
  replicates can decide it.

  Args:
    figure: as in `Claim`.
    text: likewise; the range is added.
    quantity: an accuracy, or the early-stop step (in percent earlier).
    sparse: the range's sparse end.
    dense: its dense end.
    arms: which arm, and than which other.
    published: as in `Claim`.
    band: likewise; its finite ends are the opposites.

  >>> on_average("5", "Tickets", statistics.END_TEST, 0.1, 0.5).text
  'Tickets, from 50% to 10% on average'
  """
  measure = functools.partial(
    measures.over_range,
    quantity=quantity,
    sparse=sparse,
    dense=dense,
    arms=arms,
  )
  return Claim(
    figure,
    f"{text}, from {100 * dense:.3g}% to {100 * sparse:.3g}% on average",
    published,
    band,
    tuple(end for end in band if math.isfinite(end)),
    "%" if quantity is statistics.EARLY_STEP else "points",
    measure,
  )


def same(
  figure: str,
  text: str,
  within: float,
  measure: Callable[..., measures.Sample],
) -> Claim:
  """Claims that there is no difference of accuracy; ours is "within" points.

  It holds if the whole interval lies within.

  >>> same("14", "", 1.0, measures.minus).opposites
  (-1.0, 1.0)
  """
  band = (-within, within)
  return Claim(figure, text, "the same", band, band, "points", measure)
