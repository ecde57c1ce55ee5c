"""The published claims about LeNet's winning tickets: appendix F.

The paper shows four densities without naming them; ours is 21.1%, where
section 2 compares. The texts say so.
"""

import functools
import math
from collections.abc import Callable

from lth_jax.report import looks, measures, statistics
from lth_jax.report.published import claim as claim_lib
from lth_jax.report.published.claim import MORE, Claim, higher, same

_DENSITY = 0.211
_HIDDEN_1, _HIDDEN_2, _OUTPUT = (f"Dense_{i}/kernel" for i in range(3))
_NAMES = {
  _HIDDEN_1: "first hidden layer",
  _HIDDEN_2: "second hidden layer",
  _OUTPUT: "output layer",
}
_ADAM, _SGD = {"optimizer": "adam"}, {"optimizer": "sgd"}
_OVER_ONE, _UNDER_ONE = (1.0, math.inf), (0.0, 1.0)


def _at(arm: str) -> measures.Where:
  return arm, _DENSITY


def _look(number: str, leaf: str) -> Callable[..., measures.Sample]:
  def measure(run):
    if len(run.config["hidden"]) != 2:
      note = f"the network has no {leaf} as {_NAMES[leaf]}"
      return measures.nothing(run, note)
    return looks.value(run, name=number, leaf=leaf, density=_DENSITY)

  return measure


def _peaks(figure: str, leaf: str, one: bool, about) -> Claim:
  what = "keep one peak" if one else "have two peaks"
  return Claim(
    figure,
    f"Initial weights at 21.1%, {_NAMES[leaf]}: {what}; density near zero over "
    "that around one standard deviation",
    "one peak" if one else "two peaks",
    _OVER_ONE if one else _UNDER_ONE,
    (1.0,),
    "ratio",
    _look("valley", leaf),
    about,
  )


def _signs(figure: str, leaf: str, positive: bool, about) -> Claim:
  return Claim(
    figure,
    f"Initial weights at 21.1%, {_NAMES[leaf]}: positive are",
    "more" if positive else "fewer",
    (50.0, 100.0) if positive else (0.0, 50.0),
    (50.0,),
    "%",
    _look("positive", leaf),
    about,
  )


def _even(figure: str, about) -> Claim:
  return Claim(
    figure,
    "Connections at 21.1% are spread more evenly into units than out of them, "
    "both in excess of chance, where least so",
    "evenly",
    _UNDER_ONE,
    (1.0,),
    "ratio",
    functools.partial(looks.in_over_out, density=_DENSITY),
    about,
  )


CLAIMS = claim_lib.of(
  {"model": "lenet", "pruning": "iterative", "reset": "every_round"},
  _peaks("15", _HIDDEN_1, True, _ADAM),
  _peaks("15", _HIDDEN_2, False, _ADAM),
  _peaks("15", _OUTPUT, False, _ADAM),
  _signs("15", _HIDDEN_2, True, _ADAM),
  _signs("15", _OUTPUT, False, _ADAM),
  *(_peaks("16", leaf, False, _SGD) for leaf in _NAMES),
  _signs("16", _HIDDEN_1, False, _SGD),
  _signs("16", _HIDDEN_2, True, _SGD),
  _signs("16", _OUTPUT, True, _SGD),
  Claim(
    "17",
    "At 21.1%, initial weights redrawn from the ticket's own are nearer to "
    "reinit than to the ticket: difference of the two gaps in accuracy",
    "nearer",
    MORE,
    (0.0,),
    "points",
    lambda run: measures.minus(
      measures.difference(
        run, statistics.EARLY_TEST, _at("ticket"), _at("redraw")
      ),
      measures.difference(
        run, statistics.EARLY_TEST, _at("redraw"), _at("reinit")
      ),
    ),
  ),
  higher(
    "18",
    "At 21.1%, reinit is more accurate than weights pruned by magnitude before "
    "training",
    statistics.EARLY_TEST,
    _at("reinit"),
    _at("magnitude_at_start"),
  ),
  *(
    Claim(
      figure,
      f"{text}, in the layer where least so",
      "more",
      band,
      band[:1],
      unit,
      functools.partial(looks.least, name=number, density=_DENSITY),
      _ADAM,
    )
    for figure, text, number, band, unit in (
      (
        "19",
        "The 21.1% ticket's weights move further than the others: ratio",
        "moved",
        _OVER_ONE,
        "times",
      ),
      (
        "20",
        "The 21.1% ticket's weights grow in magnitude more often than the "
        "others",
        "grown",
        MORE,
        "%",
      ),
    )
  ),
  _even("21", _ADAM),
  _even("22", _SGD),
  Claim(
    "23",
    "Connections out of the first hidden layer at 21.1% are less even than by "
    "chance: ratio",
    "very uneven",
    _OVER_ONE,
    (1.0,),
    "ratio",
    _look("uneven_out", _HIDDEN_2),
    _ADAM,
  ),
  Claim(
    "23",
    "Pixels at the border keep fewer connections at 21.1% than the others: "
    "ratio",
    "fewer",
    _UNDER_ONE,
    (1.0,),
    "ratio",
    _look("border", _HIDDEN_1),
    _ADAM,
  ),
  same(
    "25",
    "At 21.1%, noise of half a standard deviation: difference of accuracy to "
    "the ticket",
    0.25,
    functools.partial(
      measures.difference,
      quantity=statistics.EARLY_TEST,
      a=_at("noise 0.5"),
      b=_at("ticket"),
    ),
  ),
  higher(
    "25",
    "At 21.1%, accuracy falls with noise: half a standard deviation above "
    "three",
    statistics.EARLY_TEST,
    _at("noise 0.5"),
    _at("noise 3"),
  ),
  higher(
    "25",
    "At 21.1%, noise of three standard deviations is more accurate than reinit",
    statistics.EARLY_TEST,
    _at("noise 3"),
    _at("reinit"),
  ),
)
