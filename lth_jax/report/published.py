"""The published claims of figures 3 to 6, as data.

Values are those of Frankle & Carbin (2019), sections 2 to 4 and G. The bands
are ours, fixed before any run and never tuned to one; a claim without a number
has the band "more than nothing". Densities and ratios are averaged as
logarithms. For a density the opposite is 100%, no effect of pruning; for the
density where reinit falls behind, also 2.9%, no sooner than tickets do.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

from lth_jax.report import measures, records, statistics


class Claim(NamedTuple):
  """A published claim; `band` and `opposites` are in `unit`.

  Attributes:
    figure: figure of the paper.
    text: the claim.
    published: the published number.
    band: what counts as the same, inclusive.
    opposites: values that stand for the opposite.
    unit: "points", "%", "times" or "% of weights"; the last two are averaged
      as logarithms.
    measure: computes our number for each replicate.
    pruning: the kind of run it is about.
    model: the network it is about.
    dropout: whether it is about training with dropout.
  """

  figure: str
  text: str
  published: str
  band: tuple[float, float]
  opposites: tuple[float, ...]
  unit: str
  measure: Callable[[records.Run], measures.Sample]
  pruning: str = "iterative"
  model: str = "lenet"
  dropout: bool = False


# Shorthand for the table below: an arm at a density.
_DENSE = measures.DENSE
_T51, _T21, _T13 = ("ticket", 0.513), ("ticket", 0.211), ("ticket", 0.135)
_T7 = ("ticket", 0.07)
_R51, _R21 = ("reinit", 0.513), ("reinit", 0.211)
_MORE = (0.0, math.inf)


def _higher(figure: str, text: str, quantity, a, b) -> Claim:
  measure = functools.partial(measures.difference, quantity=quantity, a=a, b=b)
  return Claim(figure, text, "higher", _MORE, (0.0,), "points", measure)


def _slower(figure: str, text: str, a, b) -> Claim:
  measure = functools.partial(measures.ratio, a=a, b=b)
  return Claim(
    figure, text, "slower", (1.0, math.inf), (1.0,), "times", measure
  )


def _density(
  text: str, published: float, band, measure, opposites=(100.0,)
) -> Claim:
  return Claim(
    "4a", text, f"{published}%", band, opposites, "% of weights", measure
  )


def _one_shot(
  text: str, quantity, sparse: float, dense: float, unit: str
) -> Claim:
  measure = functools.partial(
    measures.over_range, quantity=quantity, sparse=sparse, dense=dense
  )
  return Claim("4c", text, "yes", _MORE, (0.0,), unit, measure, "oneshot")


def _full(text: str, arm: str, down_to: float) -> Claim:
  measure = functools.partial(measures.lowest_train, arm=arm, down_to=down_to)
  full = measures.FULL_ACCURACY
  return Claim("4b", text, "about 100%", (full, 100.0), (full,), "%", measure)


def _conv(
  model: str, faster: tuple[str, float], gain: float, dropout_gain: float
) -> tuple[Claim, ...]:
  """The claims of figures 5 and 6 about one network.

  Args:
    model: `conv2`, `conv4` or `conv6`.
    faster: by how much early stop comes earlier at best, as published and in
      percent: a factor f is 100 (1 - 1 / f).
    gain: how much more accurate tickets are at early stop, in points.
    dropout_gain: likewise, with dropout.
  """
  best = measures.largest_gain
  lowest = functools.partial(measures.lowest_train, arm="ticket", down_to=0.02)
  return (
    Claim(
      "5",
      "Tickets: early stop comes earlier than the original's by up to",
      f"{faster[1]:.0f}% ({faster[0]})",
      (50.0, 80.0),  # twice to five times as fast
      (0.0,),
      "%",
      functools.partial(best, quantity=statistics.EARLY_STEP),
      model=model,
    ),
    Claim(
      "5",
      "Tickets: test accuracy above the original's by up to",
      f"{gain} points",
      (2.0, 5.0),
      (0.0,),
      "points",
      functools.partial(best, quantity=statistics.EARLY_TEST),
      model=model,
    ),
    Claim(
      "5",
      "Tickets: test accuracy falls below the original's at",
      "2%",
      (0.0, 4.0),
      (100.0,),
      "% of weights",
      functools.partial(measures.falls, arm="ticket"),
      model=model,
    ),
    Claim(
      "5",
      "Train accuracy at the end, tickets down to 2%",
      "about 100%",
      (measures.FULL_ACCURACY, 100.0),
      (measures.FULL_ACCURACY,),
      "%",
      lowest,
      model=model,
    ),
    Claim(
      "6",
      "With dropout, tickets: test accuracy above the original's by up to",
      f"{dropout_gain} points",
      (1.0, 7.0),
      (0.0,),
      "points",
      functools.partial(best, quantity=statistics.EARLY_TEST),
      model=model,
      dropout=True,
    ),
  )


CLAIMS = (
  _density(
    "Tickets learn fastest at",
    21,
    (10.0, 35.0),
    measures.fastest,
  ),
  Claim(
    "4a",
    "Ticket at 21.1%: early stop comes earlier than the original's by",
    "38%",
    (20.0, 55.0),
    (0.0,),
    "%",
    functools.partial(measures.earlier, a=_T21, b=_DENSE),
  ),
  Claim(
    "4a",
    "Ticket at 13.5%: test accuracy above the original's by",
    "> 0.3 points",
    (0.15, 0.6),
    (0.0,),
    "points",
    functools.partial(
      measures.difference, quantity=statistics.EARLY_TEST, a=_T13, b=_DENSE
    ),
  ),
  _density(
    "Tickets are back to the original's early-stop step at",
    3.6,
    (2.0, 6.0),
    functools.partial(measures.back, quantity=statistics.EARLY_STEP),
  ),
  _density(
    "Tickets are back to the original's test accuracy at",
    3.6,
    (2.0, 6.0),
    functools.partial(measures.back, quantity=statistics.EARLY_TEST),
  ),
  _density(
    "Tickets: test accuracy falls below the original's at",
    2.9,
    (1.5, 5.0),
    functools.partial(measures.falls, arm="ticket"),
  ),
  _density(
    "Reinit: test accuracy falls below the original's at",
    21.1,
    (15.0, 55.0),
    functools.partial(measures.falls, arm="reinit"),
    opposites=(2.9, 100.0),
  ),
  Claim(
    "4a",
    "At 21.1%: reinit takes longer than the ticket to early stop by a factor",
    "2.51",
    (1.6, 4.0),
    (1.0,),
    "times",
    functools.partial(measures.ratio, a=_R21, b=_T21),
  ),
  Claim(
    "4a",
    "At 21.1%: test accuracy of the ticket above reinit by",
    "0.5 points",
    (0.2, 0.9),
    (0.0,),
    "points",
    functools.partial(
      measures.difference, quantity=statistics.EARLY_TEST, a=_T21, b=_R21
    ),
  ),
  _higher(
    "4a",
    "Ticket at 13.5%: train accuracy at early stop rises as well",
    statistics.EARLY_TRAIN,
    _T13,
    _DENSE,
  ),
  _higher(
    "3",
    "Ticket at 51.3%: more accurate than the original",
    statistics.EARLY_TEST,
    _T51,
    _DENSE,
  ),
  _slower(
    "3", "The original learns slower than the 51.3% ticket", _DENSE, _T51
  ),
  _slower("3", "The 51.3% ticket learns slower than 21.1%", _T51, _T21),
  _slower("3", "Slower again below 21.1%: ticket at 7.0%", _T7, _T21),
  _slower("3", "Reinit at 51.3% learns slower than the original", _R51, _DENSE),
  _slower("3", "Reinit at 21.1% learns slower than the original", _R21, _DENSE),
  _slower("3", "Reinit gets slower with pruning: 21.1%", _R21, _R51),
  Claim(
    "4b",
    "Tickets at the end: test accuracy above the original's by up to",
    "0.35 points",
    (0.15, 0.6),
    (0.0,),
    "points",
    functools.partial(measures.largest_gain, quantity=statistics.END_TEST),
  ),
  _full("Train accuracy at the end, tickets down to 2%", "ticket", 0.02),
  _full("Train accuracy at the end, reinit down to 5%", "reinit", 0.05),
  Claim(
    "4b",
    "Reinit loses full train accuracy sooner than tickets: densities apart by",
    "sooner",
    (1.0, math.inf),
    (1.0,),
    "times",
    measures.full_train,
  ),
  _one_shot(
    "One-shot tickets from 67.5% to 17.6%: earlier early stop",
    statistics.EARLY_STEP,
    0.176,
    0.675,
    "%",
  ),
  _one_shot(
    "One-shot tickets from 95.0% to 5.17%: higher test accuracy",
    statistics.EARLY_TEST,
    0.0517,
    0.95,
    "points",
  ),
  *_conv("conv2", ("3.5 times", 71.4), 3.4, 2.3),
  *_conv("conv4", ("3.5 times", 71.4), 3.5, 4.6),
  *_conv("conv6", ("2.5 times", 60.0), 3.3, 4.7),
)
