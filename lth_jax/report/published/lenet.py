"""The published claims about LeNet: figures 1, 3, 4, 11, 12 and 14.

Values are those of Frankle & Carbin (2019), sections 1 and 2, appendices C to
E. For a density the opposite is 100%, no effect of pruning; for the density
where reinit falls behind, also 2.9%, no sooner than tickets do.
"""

import functools
import math

from lth_jax.report import crossings, learning, measures, statistics
from lth_jax.report.published import claim as claim_lib
from lth_jax.report.published.claim import (
  LESS,
  MORE,
  Claim,
  higher,
  on_average,
  slower,
)

# Shorthand for the table below: an arm at a density.
_DENSE = measures.DENSE
_T51, _T21, _T13 = ("ticket", 0.513), ("ticket", 0.211), ("ticket", 0.135)
_T7 = ("ticket", 0.07)
_X9, _X51, _T9 = ("random", 0.087), ("random", 0.513), ("ticket", 0.087)
_T4 = ("ticket", 0.036)
_R51, _R21 = ("reinit", 0.513), ("reinit", 0.211)
# "The same" speed, as a ratio; ours.
_AS_FAST = (0.67, 1.5)
# "A threshold" of accuracy in appendix C; ours, in percent.
_THRESHOLD = 96.0
# A minimum lies below the end even of a flat curve that is noisy: a rise is
# one by more than that. Ours.
_RISE = 1.1


def _density(
  text: str, published: float, band, measure, opposites=(100.0,)
) -> Claim:
  return Claim(
    "4a", text, f"{published}%", band, opposites, "% of weights", measure
  )


def _full(text: str, arm: str, down_to: float) -> Claim:
  measure = functools.partial(
    measures.lowest, quantity=statistics.END_TRAIN, arm=arm, down_to=down_to
  )
  full = measures.FULL_ACCURACY
  return Claim("12", text, "about 100%", (full, 100.0), (full,), "%", measure)


CLAIMS = claim_lib.of(
  {"model": "lenet", "pruning": "iterative", "reset": "every_round"},
  _density(
    "Tickets learn fastest at",
    21,
    (10.0, 35.0),
    crossings.fastest,
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
    functools.partial(crossings.back, quantity=statistics.EARLY_STEP),
  ),
  _density(
    "Tickets are back to the original's test accuracy at",
    3.6,
    (2.0, 6.0),
    functools.partial(crossings.back, quantity=statistics.EARLY_TEST),
  ),
  _density(
    "Tickets: test accuracy falls below the original's at",
    2.9,
    (1.5, 5.0),
    functools.partial(crossings.falls, arm="ticket"),
  ),
  _density(
    "Reinit: test accuracy falls below the original's at",
    21.1,
    (15.0, 55.0),
    functools.partial(crossings.falls, arm="reinit"),
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
  higher(
    "4a",
    "Ticket at 13.5%: train accuracy at early stop rises as well",
    statistics.EARLY_TRAIN,
    _T13,
    _DENSE,
  ),
  higher(
    "3",
    "Ticket at 51.3%: more accurate than the original",
    statistics.EARLY_TEST,
    _T51,
    _DENSE,
  ),
  slower("3", "The original learns slower than the 51.3% ticket", _DENSE, _T51),
  slower("3", "The 51.3% ticket learns slower than 21.1%", _T51, _T21),
  slower("3", "Slower again below 21.1%: ticket at 7.0%", _T7, _T21),
  Claim(
    "3",
    "Ticket at 3.6%: early stop over the original's",
    "the same",
    _AS_FAST,
    _AS_FAST,
    "times",
    functools.partial(measures.ratio, a=_T4, b=_DENSE),
  ),
  slower("3", "Reinit at 51.3% learns slower than the original", _R51, _DENSE),
  slower("3", "Reinit at 21.1% learns slower than the original", _R21, _DENSE),
  slower("3", "Reinit gets slower with pruning: 21.1%", _R21, _R51),
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
    "12",
    "Reinit loses full train accuracy sooner than tickets: densities apart by",
    "sooner",
    (1.0, math.inf),
    (1.0,),
    "times",
    crossings.full_train,
  ),
  *claim_lib.of(
    {"pruning": "oneshot"},
    on_average(
      "4c",
      "One-shot tickets: early stop comes earlier than the original's",
      statistics.EARLY_STEP,
      0.176,
      0.675,
    ),
    on_average(
      "4c",
      "One-shot tickets: test accuracy above the original's",
      statistics.EARLY_TEST,
      0.0517,
      0.95,
    ),
  ),
  on_average(
    "4b",
    "Tickets at the end: test accuracy above the original's",
    statistics.END_TEST,
    0.07,
    0.513,
  ),
  on_average(
    "4b",
    "Tickets at the end: gap between train and test accuracy over the "
    "original's",
    statistics.END_GAP,
    0.07,
    0.513,
    published="smaller",
    band=LESS,
  ),
  slower(
    "1", "Random masks at 8.7% learn slower than the original", _X9, _DENSE
  ),
  slower("1", "Random masks learn slower with pruning: 8.7%", _X9, _X51),
  higher(
    "1",
    "Random masks get less accurate with pruning: 8.7%",
    statistics.EARLY_TEST,
    _X51,
    _X9,
  ),
  slower("1", "The original learns slower than the 8.7% ticket", _DENSE, _T9),
  higher(
    "1",
    "The original is more accurate than random masks at 8.7%",
    statistics.EARLY_TEST,
    _DENSE,
    _X9,
  ),
  *(
    Claim(
      "11",
      f"{what}: validation loss at the end over its minimum",
      "rises",
      (_RISE, math.inf),
      (_RISE,),
      "times",
      functools.partial(learning.rise, where=where),
    )
    for what, where in (("The original", _DENSE), ("Ticket at 21.1%", _T21))
  ),
  Claim(
    "11",
    "Minima come in the order in which tickets learn: rank correlation",
    "the same order",
    MORE,
    (0.0,),
    "correlation",
    functools.partial(learning.order, accuracy=_THRESHOLD),
  ),
  on_average(
    "14",
    "At the end: reinit more accurate than random masks",
    statistics.END_TEST,
    0.0358,
    0.513,
    ("reinit", "random"),
  ),
)
