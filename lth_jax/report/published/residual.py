"""The published claims about the ResNet-20 and VGG-19: figures 7, 8, 38.

Frankle & Carbin (2019), sections 4 and 5, appendix I. Accuracies are those at
the end of training; the paper reports no early stop of these networks.
"""

import functools
import math
from typing import Any

from lth_jax.report import crossings, learning, measures, statistics
from lth_jax.report.published import claim as claim_lib
from lth_jax.report.published.claim import (
  LESS,
  MORE,
  Claim,
  higher,
  on_average,
  same,
)

_END = statistics.END_TEST
_DENSE = measures.DENSE
_ACCURACY_BAND = 0.5
_TICKETS, _TICKET_27 = ("ticket", "dense"), ("ticket", 0.271)


def _gain(
  figure: str,
  text: str,
  found: bool,
  sparse: float,
  dense: float,
  arms=_TICKETS,
) -> Claim:
  """Claims that an arm is better, or worse, over a range of densities."""
  published, band = ("higher", MORE) if found else ("lower", LESS)
  return on_average(figure, text, _END, sparse, dense, arms, published, band)


def _down_to(figure: str, text: str, published: float, band, arm="ticket"):
  """Claims down to which density an arm is as accurate as the original."""
  measure = functools.partial(crossings.back, quantity=_END, arm=arm)
  return Claim(
    figure, text, f"{published}%", band, (100.0,), "% of weights", measure
  )


def _level(figure: str, text: str, published: float, where) -> Claim:
  band = (published - _ACCURACY_BAND, published + _ACCURACY_BAND)
  measure = functools.partial(measures.level, quantity=_END, where=where)
  return Claim(
    figure, text, f"{published}%", band, band, "%", measure, absolute=True
  )


def _about(model: str, rate: float, warmup: bool) -> dict[str, Any]:
  return {
    "model": model,
    "scope": "global",
    "learning_rate": rate,
    "warmup": warmup,
  }


_VGG19 = (
  *claim_lib.of(
    _about("vgg19", 0.1, False),
    _gain("7", "Rate 0.1: tickets below the original", False, 0.035, 0.512),
    same(
      "7",
      "Rate 0.1, from 51.2% to 3.5%: difference between ticket and reinit",
      0.5,
      functools.partial(
        measures.over_range,
        quantity=_END,
        sparse=0.035,
        dense=0.512,
        arms=("ticket", "reinit"),
      ),
    ),
  ),
  *claim_lib.of(
    _about("vgg19", 0.01, False),
    Claim(
      "7",
      "Rate 0.01: tickets down to 3.5% above the original at worst by",
      "1 point",
      (-1.0, math.inf),
      (-1.0,),
      "points",
      functools.partial(measures.smallest_gain, quantity=_END, down_to=0.035),
    ),
    _gain("7", "Rate 0.01: tickets below the original", False, 0.035, 0.512),
    _gain(
      "7",
      "Rate 0.01: tickets above reinit",
      True,
      0.035,
      0.512,
      ("ticket", "reinit"),
    ),
    Claim(
      "7",
      "Rate 0.01, a quarter into training: ticket at 26.2% above the original",
      "faster",
      MORE,
      (0.0,),
      "points",
      functools.partial(
        learning.early_difference, part=0.25, a=("ticket", 0.262), b=_DENSE
      ),
    ),
  ),
  *claim_lib.of(
    _about("vgg19", 0.1, True),
    _down_to(
      "7",
      "Warm-up: tickets are as accurate as the original down to",
      1.5,
      (0.8, 3),
    ),
    _down_to(
      "7",
      "Warm-up: reinit is as accurate as the original down to",
      20,
      (10.0, 45.0),
      "reinit",
    ),
    higher(
      "7",
      "Warm-up, at 1.5%: the original initialization above reinit",
      _END,
      ("ticket", 0.015),
      ("reinit", 0.015),
    ),
  ),
  _down_to(
    "38",
    "Warm-up, pruned by layer: tickets are as accurate as the original down to",
    6.9,
    (4.0, 12.0),
  )._replace(about=_about("vgg19", 0.1, True) | {"scope": "layer"}),
)
_RESNET20 = (
  *claim_lib.of(
    _about("resnet20", 0.1, False),
    _level("8", "Rate 0.1: accuracy of the original", 90.5, _DENSE),
    _gain("8", "Rate 0.1: tickets below the original", False, 0.118, 0.518),
  ),
  *claim_lib.of(
    _about("resnet20", 0.01, False),
    _level("8", "Rate 0.01: accuracy of the ticket at 27.1%", 89.5, _TICKET_27),
    _gain("8", "Rate 0.01: tickets above the original", True, 0.219, 0.417),
  ),
  *claim_lib.of(
    _about("resnet20", 0.03, True),
    _level("8", "Warm-up: accuracy of the ticket at 27.1%", 90.5, _TICKET_27),
    _down_to(
      "8",
      "Warm-up: tickets are as accurate as the original down to",
      11.8,
      (6, 20),
    ),
  ),
)

CLAIMS = _VGG19 + _RESNET20
