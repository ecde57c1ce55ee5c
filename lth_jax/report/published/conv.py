"""The published claims about Conv-2, -4 and -6: figures 1, 5, 6, 13, 14.

Frankle & Carbin (2019), sections 3 and 4, appendices D and E.
"""

import functools
import math
from typing import NamedTuple

from lth_jax.report import crossings, measures, statistics
from lth_jax.report.published import claim as claim_lib
from lth_jax.report.published.claim import (
  Claim,
  higher,
  on_average,
  same,
  slower,
)

_EARLY, _END = statistics.EARLY_TEST, statistics.END_TEST
_STEP = statistics.EARLY_STEP
_DENSE = measures.DENSE
_TWO_PERCENT = 0.02


class _Network(NamedTuple):
  """What was published of a network.

  Attributes:
    model: its name.
    faster: largest speed-up of early stop, a factor, and at which density.
    gain: largest gain of test accuracy at early stop, points, and where.
    dropout_gain: likewise with dropout, where is not said.
    half: density after 4 rounds of pruning, about a half.
    tenth: after 10 rounds, about a tenth.
  """

  model: str
  faster: tuple[float, float]
  gain: tuple[float, float]
  dropout_gain: float
  half: float
  tenth: float


_NETWORKS = (
  _Network("conv2", (3.5, 0.088), (3.4, 0.046), 2.3, half=0.412, tenth=0.11),
  _Network("conv4", (3.5, 0.092), (3.5, 0.111), 4.6, half=0.436, tenth=0.134),
  _Network("conv6", (2.5, 0.151), (3.3, 0.264), 4.7, half=0.467, tenth=0.153),
)


def _random(network: _Network) -> tuple[Claim, ...]:
  arm, text = ("random", network.tenth), f"{100 * network.tenth:.1f}%"
  half = "random", network.half
  return (
    slower("1", f"Random masks learn slower with pruning: {text}", arm, half),
    higher(
      "1",
      f"Random masks get less accurate with pruning: {text}",
      _EARLY,
      half,
      arm,
    ),
    slower("1", f"Random masks at {text} learn slower than dense", arm, _DENSE),
    higher(
      "1",
      f"Dense is more accurate than random masks at {text}",
      _EARLY,
      _DENSE,
      arm,
    ),
    same(
      "14",
      "At the end, from a half to a tenth: difference of reinit and random "
      "masks",
      1.0,
      functools.partial(
        measures.over_range,
        quantity=_END,
        sparse=network.tenth,
        dense=network.half,
        arms=("reinit", "random"),
      ),
    ),
  )


def _tickets(network: _Network) -> tuple[Claim, ...]:
  (faster, fastest), (gain, best) = network.faster, network.gain
  return (
    Claim(
      "5",
      f"Ticket at {100 * fastest:.1f}%: the original takes longer by a factor",
      f"{faster}",
      (2.0, 5.0),
      (1.0,),
      "times",
      functools.partial(measures.ratio, a=_DENSE, b=("ticket", fastest)),
    ),
    Claim(
      "5",
      "Tickets learn fastest at",
      f"{100 * fastest:.1f}%",
      (5.0, 25.0),
      (100.0,),
      "% of weights",
      crossings.fastest,
    ),
    Claim(
      "5",
      f"Ticket at {100 * best:.1f}%: test accuracy above the original's by",
      f"{gain} points",
      (2.0, 5.0),
      (0.0,),
      "points",
      functools.partial(
        measures.difference, quantity=_EARLY, a=("ticket", best), b=_DENSE
      ),
    ),
    *(
      on_average("5", text, quantity, network.tenth, network.half)
      for text, quantity in (
        ("Tickets: early stop comes earlier than the original's", _STEP),
        ("Tickets: test accuracy above the original's", _EARLY),
        ("Tickets at the end: test accuracy above the original's", _END),
      )
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
    Claim(
      "13",
      "Train accuracy at the end, tickets down to 2%",
      "about 100%",
      (measures.FULL_ACCURACY, 100.0),
      (measures.FULL_ACCURACY,),
      "%",
      functools.partial(
        measures.lowest,
        quantity=statistics.END_TRAIN,
        arm="ticket",
        down_to=_TWO_PERCENT,
      ),
    ),
  )


def _reinit(network: _Network) -> tuple[Claim, ...]:
  half, tenth = ("reinit", network.half), ("reinit", network.tenth)
  text = f"{100 * network.tenth:.1f}%"
  level = Claim(
    "5",
    f"Reinit at {100 * network.half:.1f}%: test accuracy level with the "
    "original's",
    "level or higher",
    (-0.5, math.inf),
    (-0.5,),
    "points",
    functools.partial(measures.difference, quantity=_EARLY, a=half, b=_DENSE),
  )
  return (
    slower(
      "5", f"Reinit at {text} learns slower than the original", tenth, _DENSE
    ),
    slower("5", f"Reinit learns slower with pruning: {text}", tenth, half),
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
    *([] if network.model == "conv6" else [level]),
  )


def _dropout(network: _Network) -> tuple[Claim, ...]:
  return (
    Claim(
      "6",
      "With dropout, tickets: test accuracy above the original's by up to",
      f"{network.dropout_gain} points",
      (1.0, 7.0),
      (0.0,),
      "points",
      functools.partial(measures.largest_gain, quantity=_EARLY),
    ),
    *(
      on_average("6", text, quantity, network.tenth, network.half)
      for text, quantity in (
        ("With dropout, tickets: test accuracy above the original's", _EARLY),
        ("With dropout, tickets: early stop comes earlier", _STEP),
      )
    ),
  )


def _of(network: _Network) -> tuple[Claim, ...]:
  plain = {"model": network.model, "dropout": False, "reset": "every_round"}
  return (
    *claim_lib.of(
      plain, *_random(network), *_tickets(network), *_reinit(network)
    ),
    *claim_lib.of(plain | {"dropout": True}, *_dropout(network)),
  )


CLAIMS = tuple(claim for network in _NETWORKS for claim in _of(network))
