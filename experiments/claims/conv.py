"""Conv-2, -4 and -6: figures 6, 10 and 32 to 37."""

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

from experiments.claims import across
from experiments.claims.across import Across
from lth_jax.report import measures, statistics
from lth_jax.report.published.claim import LESS, MORE, Claim

# Appendix H reports validation accuracies (section H.1).
_EARLY, _END = statistics.EARLY_VALID, statistics.END_VALID
_STEP = statistics.EARLY_STEP
_DENSE = measures.DENSE
# Below this accuracy, in percent, a network has learned nothing; ours.
_CHANCE = 15.0


class _Network(NamedTuple):
  """What was published of a network.

  Attributes:
    name: its name.
    dropout: points that dropout gives the original: of test accuracy (figure
      6), and of validation accuracy (figure 36; None where it is not said).
    twelfth: density after 12 rounds.
    half: after 4 rounds.
    tenth: after 10 rounds.
    sixth: after 6 rounds in figure 35 with convolutions pruned by 10%, and by
      20%.
    share: of dense layers in all weights, as printed.
    parts: density after 6 rounds where only convolutions are pruned, and where
      only dense layers are.
  """

  name: str
  dropout: tuple[float, float | None]
  twelfth: float
  half: float
  tenth: float
  sixth: tuple[float, float]
  share: str
  parts: tuple[float, float]


_NETWORKS = {
  "conv2": _Network(
    "Conv-2",
    (2.1, None),
    0.071,
    0.412,
    0.11,
    (0.265, 0.262),
    "99%",
    (0.996, 0.27),
  ),
  "conv4": _Network(
    "Conv-4",
    (3.0, 2.7),
    0.092,
    0.436,
    0.134,
    (0.291, 0.262),
    "89%",
    (0.95, 0.34),
  ),
  "conv6": _Network(
    "Conv-6",
    (2.4, 2.2),
    0.106,
    0.467,
    0.153,
    (0.399, 0.262),
    "35%",
    (0.685, 0.635),
  ),
}


def _dropout(model: str, network: _Network) -> Iterable[Across]:
  on_test, on_valid = network.dropout
  rows = [("6", f"{model}_dropout", on_test, statistics.EARLY_TEST)]
  if on_valid is not None:
    rows.append(("36", f"{model}_dropout_rates_2e-4", on_valid, _EARLY))
  for figure, run, points, quantity in rows:
    yield across.gap(
      figure,
      f"{network.name}: dropout raises accuracy of the original by",
      (run, _DENSE),
      (model, _DENSE),
      quantity,
      f"{points} points",
      (1.0, 4.0),
    )


def _adam() -> Iterable[Across]:
  sweep = "{}_adam_rates_{}"
  for model, rate, gain, density in (
    ("conv2", "2e-4", 3.3, 0.03),
    ("conv4", "3e-4", 3.7, 0.054),
    ("conv4", "4e-4", 3.6, 0.054),
    ("conv6", "3e-4", 2.4, 0.093),
    ("conv6", "4e-4", 2.7, 0.152),
  ):
    run = sweep.format(model, rate)
    yield across.gap(
      "32",
      f"{_NETWORKS[model].name}, Adam, rate {rate}: ticket at "
      f"{100 * density:.1f}% above the original by",
      (run, ("ticket", density)),
      (run, _DENSE),
      _EARLY,
      f"{gain} points",
      (gain / 2, 2 * gain),
    )
  for model, rate, factor, density in (
    ("conv2", "2e-4", 4.8, 0.088),
    ("conv4", "3e-4", 4.27, 0.111),
    ("conv4", "2e-4", 5.1, 0.092),
    ("conv6", "3e-4", 2.61, 0.119),
    ("conv6", "2e-4", 6.26, 0.197),
  ):
    run = sweep.format(model, rate)
    yield across.ratio(
      "32",
      f"{_NETWORKS[model].name}, Adam, rate {rate}: the original takes longer "
      f"than the {100 * density:.1f}% ticket by a factor",
      (run, _DENSE),
      (run, ("ticket", density)),
      f"{factor}",
      (factor / 2, 2 * factor),
    )
  rate = "4e-4"
  yield Across(
    Claim(
      "32",
      f"Conv-2, Adam, rate {rate}: tickets above the original by up to",
      "6.5 points",
      (3.25, 13.0),
      (0.0,),
      "points",
      functools.partial(measures.largest_gain, quantity=_EARLY),
    ),
    (sweep.format("conv2", rate),),
  )
  where = "ticket", 0.197
  yield across.gap(
    "32",
    "Conv-6, Adam: ticket at 19.7% more accurate at rate 3e-4 than at 2e-4",
    (sweep.format("conv6", "3e-4"), where),
    (sweep.format("conv6", "2e-4"), where),
    _EARLY,
  )
  for model, network in _NETWORKS.items():
    # The highest of our list; the paper's is in its plots.
    yield across.on_average(
      "32",
      f"{network.name}, Adam, rate 2e-3: tickets above the original",
      sweep.format(model, "2e-3"),
      _EARLY,
      network.half,
      network.tenth,
      "no longer",
      across.NO_GAIN,
    )
  for model, rate, accuracy in (
    ("conv2", "2e-4", 67.6),
    ("conv2", "4e-4", 65.2),
    ("conv4", "3e-4", 74.9),
    ("conv4", "4e-4", 75.5),
    ("conv6", "3e-4", 79.1),
    ("conv6", "4e-4", 79.2),
  ):
    band = accuracy - 1.5, accuracy + 1.5
    yield Across(
      Claim(
        "32",
        f"{_NETWORKS[model].name}, Adam, rate {rate}: accuracy of the original",
        f"{accuracy}%",
        band,
        band,
        "%",
        functools.partial(measures.level, quantity=_EARLY, where=_DENSE),
        absolute=True,
      ),
      (sweep.format(model, rate),),
    )


def _descent(model: str, network: _Network) -> Iterable[Across]:
  run = f"{model}_sgd_rates_0.03"
  yield across.gap(
    "33",
    f"{network.name}: the original under Adam above that under gradient "
    "descent by",
    (model, _DENSE),
    (run, _DENSE),
    _EARLY,
    "2 to 3 points",
    (1.0, 5.0),
  )
  if model == "conv6":
    text = f"{network.name}, gradient descent: tickets above the original"
    where = network.half, network.tenth
    yield across.on_average("33", text, run, _EARLY, *where)
  else:
    half, tenth = ("ticket", network.half), ("ticket", network.tenth)
    yield across.gap(
      "33",
      f"{network.name}, gradient descent: accuracy first dips, at "
      f"{100 * network.half:.1f}%",
      (run, _DENSE),
      (run, half),
      _EARLY,
      "dips",
    )
    yield across.gap(
      "33",
      f"{network.name}, gradient descent: and recovers, at "
      f"{100 * network.tenth:.1f}%",
      (run, tenth),
      (run, half),
      _EARLY,
      "recovers",
    )
    yield across.gap(
      "33",
      f"{network.name}, gradient descent: to the original's accuracy or above, "
      f"at {100 * network.tenth:.1f}%",
      (run, tenth),
      (run, _DENSE),
      _EARLY,
      "level or higher",
      (-0.5, math.inf),
      (-0.5,),
    )


def _momentum(model: str, network: _Network) -> Iterable[Across]:
  where = network.half, network.tenth
  sweep = f"{model}_momentum_rates"
  text = f"{network.name}, momentum, rate 0.003: tickets above the original"
  yield across.on_average("34", text, f"{sweep}_0.003", _EARLY, *where)
  if model == "conv4":
    yield across.gap(
      "34",
      "Conv-4, momentum, rate 0.001: accuracy first dips, at 43.6%",
      (f"{sweep}_0.001", _DENSE),
      (f"{sweep}_0.001", ("ticket", 0.436)),
      _EARLY,
      "dips",
    )
  if model != "conv6":
    for rate in ("0.005", "0.008"):
      yield across.on_average(
        "34",
        f"{network.name}, momentum, rate {rate}: early stop comes earlier",
        f"{sweep}_{rate}",
        _STEP,
        *where,
        published="no earlier",
        band=across.NO_FASTER,
      )


def _pruning_rates(model: str, network: _Network) -> Across:
  slow, fast = network.sixth
  return across.same(
    "35",
    f"{network.name}, after 6 rounds: convolutions pruned by 10% and by 20% a "
    "round",
    1.0,
    (f"{model}_pruning_rates_0.1", ("ticket", slow)),
    (f"{model}_pruning_rates_0.2", ("ticket", fast)),
    _EARLY,
  )


def _dropout_rates() -> Iterable[Across]:
  level = functools.partial(measures.level, quantity=_END)
  lowest = functools.partial(measures.lowest, quantity=_END, arm="ticket")
  learns = (_CHANCE, 100.0)
  for what, rate, published, band, measure in (
    (
      "the original",
      "1e-4",
      "fails",
      (0.0, _CHANCE),
      functools.partial(level, where=_DENSE),
    ),
    (
      "the ticket at 21.2%",
      "1e-4",
      "learns",
      learns,
      functools.partial(level, where=("ticket", 0.212)),
    ),
    (
      "the worst network down to 5.7%",
      "3e-4",
      "never fails",
      learns,
      functools.partial(lowest, down_to=0.057),
    ),
  ):
    yield Across(
      Claim(
        "36",
        f"Conv-2, dropout, rate {rate}: accuracy of {what} at the end",
        published,
        band,
        (_CHANCE,),
        "%",
        measure,
        absolute=True,
      ),
      (f"conv2_dropout_rates_{rate}",),
    )
  for model, gain, best, faster, fastest in (
    ("conv4", 5.0, 0.076, 1.58, 0.076),
    ("conv6", 3.5, 0.105, 1.5, 0.151),
  ):
    run, name = f"{model}_dropout_rates_2e-4", _NETWORKS[model].name
    yield across.gap(
      "36",
      f"{name}, dropout, rate 2e-4: ticket at {100 * best:.1f}% above the "
      "original by",
      (run, ("ticket", best)),
      (run, _DENSE),
      _EARLY,
      f"{gain} points",
      (gain / 2, 2 * gain),
    )
    yield across.ratio(
      "36",
      f"{name}, dropout, rate 2e-4: the original takes longer than the "
      f"{100 * fastest:.1f}% ticket by a factor",
      (run, _DENSE),
      (run, ("ticket", fastest)),
      f"{faster}",
      (1.1, 2.5),
    )


def _parts(model: str, network: _Network) -> Iterable[Across]:
  conv, dense = network.parts
  text = f"{network.name}, only convolutions pruned: tickets"
  other = (
    f"{network.name}, only dense layers pruned ({network.share} of the "
    "weights): tickets"
  )
  for what, part, quantity, sparse, published, band in (
    (f"{text} above the original", "conv", _EARLY, conv, "higher", MORE),
    (f"{text} learn faster", "conv", _STEP, conv, "faster", MORE),
    (f"{other} above the original", "fc", _EARLY, dense, "lower", LESS),
    (f"{other} learn faster", "fc", _STEP, dense, "slower", LESS),
  ):
    run = f"{model}_{part}_only"
    yield across.on_average(
      "37", what, run, quantity, 1.0, sparse, published, band
    )


CLAIMS: tuple[Across, ...] = (
  *_adam(),
  *_dropout_rates(),
  *(
    claim
    for model, network in _NETWORKS.items()
    for claim in (
      *_dropout(model, network),
      *across.reset(
        "10", network.name, model, f"{model}_continued", network.twelfth
      ),
      *_descent(model, network),
      *_momentum(model, network),
      _pruning_rates(model, network),
      *_parts(model, network),
    )
  ),
)
