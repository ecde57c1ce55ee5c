"""The published claims about the ResNet-20 and VGG-19: figures 7, 8, 40, 41.

Frankle & Carbin (2019), sections 4 and 5, appendix I. Accuracies are those at
the end of training; the paper reports no early stop of these networks.
"""

import functools
import math
from typing import Any

from lth_jax.report import crossings, learning, measures, statistics
from lth_jax.report.published import claim as claim_lib
from lth_jax.report.published.claim import LESS, MORE, Claim, higher, same

_END = statistics.END_TEST
_DENSE = measures.DENSE
_ACCURACY_BAND = 0.5


def _gain(
  figure: str,
  text: str,
  found: bool,
  sparse: float,
  dense: float,
  arms=("ticket", "dense"),
):
  """Claims that an arm is better, or worse, over a range of densities."""
  measure = functools.partial(
    measures.over_range, quantity=_END, sparse=sparse, dense=dense, arms=arms
  )
  return Claim(
    figure,
    f"{text}, from {100 * dense:g}% to {100 * sparse:g}% on average",
    "higher" if found else "lower",
    MORE if found else LESS,
    (0.0,),
    "points",
    measure,
  )


def _falls(figure: str, text: str, published: float, band, arm="ticket"):
  measure = functools.partial(crossings.falls, arm=arm, quantity=_END)
  return Claim(
    figure, text, f"{published}%", band, (100.0,), "% of weights", measure
  )


def _level(figure: str, text: str, published: float, where) -> Claim:
  band = (published - _ACCURACY_BAND, published + _ACCURACY_BAND)
  measure = functools.partial(measures.level, quantity=_END, where=where)
  return Claim(
    figure, text, f"{published}%", band, band, "%", measure, absolute=True
  )


def _about(model: str, scope: str, rate: float, warmup: bool) -> dict[str, Any]:
  return {
    "model": model,
    "scope": scope,
    "learning_rate": rate,
    "warmup": warmup,
  }


def _vgg19(figure: str, scope: str) -> tuple[Claim, ...]:
  """Figure 7, and figure 40, which prunes layer by layer."""
  high = claim_lib.of(
    _about("vgg19", scope, 0.1, False),
    _gain(figure, "Rate 0.1: tickets below the original", False, 0.035, 0.512),
    same(
      figure,
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
    _falls(
      figure,
      "Rate 0.1: reinit falls below the original at",
      20,
      (10.0, 45.0),
      "reinit",
    ),
  )
  low = claim_lib.of(
    _about("vgg19", scope, 0.01, False),
    Claim(
      figure,
      "Rate 0.01: tickets down to 3.5% above the original at worst by",
      "1 point",
      (-1.0, math.inf),
      (-1.0,),
      "points",
      functools.partial(measures.smallest_gain, quantity=_END, down_to=0.035),
    ),
    Claim(
      figure,
      "Rate 0.01: tickets above the original at best by",
      "never",
      LESS,
      (0.0,),
      "points",
      functools.partial(measures.largest_gain, quantity=_END),
    ),
    _gain(
      figure,
      "Rate 0.01: ticket above reinit",
      True,
      0.035,
      0.512,
      ("ticket", "reinit"),
    ),
    Claim(
      figure,
      "Rate 0.01, a quarter into training: ticket at 21.0% above the original",
      "faster",
      MORE,
      (0.0,),
      "points",
      functools.partial(
        learning.early_difference, part=0.25, a=("ticket", 0.21), b=_DENSE
      ),
    ),
  )
  warm = claim_lib.of(
    _about("vgg19", scope, 0.1, True),
    _falls(
      figure, "Warm-up: tickets fall below the original at", 1.5, (0.8, 3.0)
    )
    if scope == "global"
    else _falls(
      "38",
      "Warm-up, layer by layer: tickets fall below the original at",
      6.9,
      (4.0, 12.0),
    ),
    higher(
      figure,
      "Warm-up, at 1.5%: the original initialization above reinit",
      _END,
      ("ticket", 0.015),
      ("reinit", 0.015),
    ),
  )
  return high + low + warm


def _resnet20(figure: str, scope: str) -> tuple[Claim, ...]:
  """Figure 8, and figure 41, which prunes layer by layer."""
  high = claim_lib.of(
    _about("resnet20", scope, 0.1, False),
    _level(figure, "Rate 0.1: accuracy of the original", 90.5, _DENSE),
    _gain(figure, "Rate 0.1: tickets below the original", False, 0.118, 0.518),
  )
  low = claim_lib.of(
    _about("resnet20", scope, 0.01, False),
    _level(
      figure,
      "Rate 0.01: accuracy of the ticket at 27.1%",
      89.5,
      ("ticket", 0.271),
    ),
    _gain(figure, "Rate 0.01: tickets above the original", True, 0.219, 0.417),
  )
  warm = claim_lib.of(
    _about("resnet20", scope, 0.03, True),
    _level(
      figure,
      "Warm-up: accuracy of the ticket at 27.1%",
      90.5,
      ("ticket", 0.271),
    ),
    _falls(
      figure, "Warm-up: tickets fall below the original at", 11.8, (6.0, 20.0)
    ),
  )
  return high + low + warm


CLAIMS = (
  _vgg19("7", "global")
  + _vgg19("40", "layer")
  + _resnet20("8", "global")
  + _resnet20("41", "layer")
)
