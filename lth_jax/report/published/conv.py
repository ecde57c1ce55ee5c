"""The published claims about Conv-2, -4 and -6: figures 1, 5, 6, 13, 14.

Frankle & Carbin (2019), sections 3 and 4, appendices D and E.
"""

import functools
import math
from typing import NamedTuple

from lth_jax.report import crossings, measures, statistics
from lth_jax.report.published import claim as claim_lib
from lth_jax.report.published.claim import MORE, Claim, higher, same, slower

_TWO_PERCENT = 0.02
_DENSE = measures.DENSE


class _Network(NamedTuple):
  """What was published of a network.

  Attributes:
    model: its name.
    faster: largest speed-up of early stop, a factor.
    gain: largest gain of test accuracy at early stop, points.
    dropout_gain: likewise with dropout.
    half: density after 4 rounds of pruning, about a half.
    tenth: after 10 rounds, about a tenth.
  """

  model: str
  faster: float
  gain: float
  dropout_gain: float
  half: float
  tenth: float


_NETWORKS = (
  _Network("conv2", 3.5, 3.4, 2.3, half=0.412, tenth=0.11),
  _Network("conv4", 3.5, 3.5, 4.6, half=0.436, tenth=0.134),
  _Network("conv6", 2.5, 3.3, 4.7, half=0.467, tenth=0.153),
)


def _plain(network: _Network) -> tuple[Claim, ...]:
  model, faster, gain = network[:3]
  half, tenth = f"{100 * network.half:.1f}%", f"{100 * network.tenth:.1f}%"
  early = statistics.EARLY_TEST
  reinit, random = ("reinit", network.tenth), ("random", network.tenth)
  return claim_lib.of(
    {"model": model, "dropout": False, "reset": "every_round"},
    slower(
      "1", f"Random masks at {tenth} learn slower than dense", random, _DENSE
    ),
    higher(
      "1",
      f"Dense is more accurate than random masks at {tenth}",
      early,
      _DENSE,
      random,
    ),
    _best(
      "5",
      "Tickets: early stop comes earlier than the original's by up to",
      f"{100 * (1 - 1 / faster):.0f}% ({faster} times)",
      (50.0, 80.0),  # twice to five times as fast
      "%",
      statistics.EARLY_STEP,
    ),
    _best(
      "5",
      "Tickets: test accuracy above the original's by up to",
      f"{gain} points",
      (2.0, 5.0),
      "points",
      early,
    ),
    Claim(
      "5",
      "Tickets: test accuracy falls below the original's at",
      "2%",
      (0.0, 4.0),
      (100.0,),
      "% of weights",
      functools.partial(crossings.falls, arm="ticket"),
    ),
    _best(
      "5",
      "Tickets at the end: test accuracy above the original's by up to",
      "higher",
      MORE,
      "points",
      statistics.END_TEST,
    ),
    slower(
      "5", f"Reinit at {tenth} learns slower than the original", reinit, _DENSE
    ),
    Claim(
      "5",
      "Reinit falls below the original's accuracy sooner than tickets: "
      "densities apart by",
      "sooner",
      (1.0, math.inf),
      (1.0,),
      "times",
      lambda run: measures.over(
        crossings.falls(run, "reinit"), crossings.falls(run, "ticket")
      ),
    ),
    *(
      [
        Claim(
          "5",
          f"Reinit at {half}: test accuracy level with the original's",
          "level or higher",
          (-0.5, math.inf),
          (-0.5,),
          "points",
          functools.partial(
            measures.difference,
            quantity=early,
            a=("reinit", network.half),
            b=_DENSE,
          ),
        )
      ]
      if model != "conv6"
      else []
    ),
    Claim(
      "13",
      "Train accuracy at the end, tickets down to 2%",
      "about 100%",
      (measures.FULL_ACCURACY, 100.0),
      (measures.FULL_ACCURACY,),
      "%",
      functools.partial(
        measures.lowest_train, arm="ticket", down_to=_TWO_PERCENT
      ),
    ),
    same(
      "14",
      f"At the end, from {half} to {tenth}: difference of reinit and random "
      "masks",
      1.0,
      functools.partial(
        measures.over_range,
        quantity=statistics.END_TEST,
        sparse=network.tenth,
        dense=network.half,
        arms=("reinit", "random"),
      ),
    ),
  )


def _dropout(network: _Network) -> tuple[Claim, ...]:
  return claim_lib.of(
    {"model": network.model, "dropout": True},
    _best(
      "6",
      "With dropout, tickets: test accuracy above the original's by up to",
      f"{network.dropout_gain} points",
      (1.0, 7.0),
      "points",
      statistics.EARLY_TEST,
    ),
    _best(
      "6",
      "With dropout, tickets: early stop comes earlier than the original's by "
      "up to",
      "earlier",
      MORE,
      "%",
      statistics.EARLY_STEP,
    ),
  )


def _best(figure, text, published, band, unit, quantity) -> Claim:
  measure = functools.partial(measures.largest_gain, quantity=quantity)
  return Claim(figure, text, published, band, (0.0,), unit, measure)


CLAIMS = tuple(
  claim
  for network in _NETWORKS
  for claim in (*_plain(network), *_dropout(network))
)
