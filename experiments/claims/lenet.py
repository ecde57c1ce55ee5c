"""LeNet: figures 4c, 9, 24 and 26 to 31."""

import functools
from collections.abc import Iterable

from experiments.claims import across
from experiments.claims.across import Across
from lth_jax.report import (
  crossings,
  learning,
  looks,
  measures,
  records,
  statistics,
)
from lth_jax.report.published.claim import Claim

# Appendix G reports validation accuracies (section G.1).
_EARLY, _END = statistics.EARLY_VALID, statistics.END_VALID
_DENSE = measures.DENSE
_TICKET = ("ticket", 0.211)
# Where tickets beat the dense network in figure 4, and every sweep has them.
_RANGE = (0.513, 0.134)


def _one_shot() -> Iterable[Across]:
  for density in (0.07, 0.036):
    where = "ticket", density
    ours, other = ("mnist_lenet", where), ("lenet_oneshot", where)
    at = f"at {100 * density:.1f}%"
    text = f"Iterative tickets more accurate than one-shot tickets {at}"
    yield across.gap("4c", text, ours, other, statistics.EARLY_TEST)
    text = f"One-shot tickets learn slower than iterative tickets {at}"
    yield across.ratio("4c", text, other, ours)


def _unevenness() -> Across:
  def measure(adam: records.Run, sgd: records.Run) -> measures.Sample:
    return measures.over(
      *(
        looks.value(run, "uneven_out", "Dense_1/kernel", 0.211)
        for run in (adam, sgd)
      )
    )

  return Across(
    Claim(
      "24",
      "Connections out of the first hidden layer at 21.1%: more uneven under "
      "Adam than under gradient descent",
      "more uneven",
      across.OVER_ONE,
      (1.0,),
      "times",
      measure,
    ),
    ("mnist_lenet", "lenet_sgd"),
  )


def _pattern(figure: str, names: str, runs: Iterable[str]) -> Iterable[Across]:
  """Tickets beat the dense network in every run of a sweep."""
  for run in runs:
    point = run.rpartition("_")[2]
    text = f"{names} {point}: tickets above the original at the end"
    yield across.on_average(figure, text, run, _END, *_RANGE)


def _adam() -> Iterable[Across]:
  sweep = "lenet_adam_rates"
  best = f"{sweep}_1.2e-3", _DENSE
  for rate in ("2e-4", "6e-4", "2e-3"):
    text = f"Adam: rates {rate} and 1.2e-3 give the original the same accuracy"
    other = f"{sweep}_{rate}", _DENSE
    yield across.same("26", text, 0.3, other, best, _EARLY)
  text = "Adam: the original learns slower at rate 2e-4 than at 1.2e-3"
  yield across.ratio("26", text, (f"{sweep}_2e-4", _DENSE), best)
  yield across.ratio(
    "26",
    "Adam: the original at rate 2e-3 is as fast as at 1.2e-3",
    (f"{sweep}_2e-3", _DENSE),
    best,
    "as fast",
    across.AS_FAST,
  )
  ends = f"{sweep}_2.5e-5", f"{sweep}_6.4e-3"
  yield from _pattern("26", "Adam, rate", ends)
  for run in ends:
    yield Across(
      Claim(
        "26",
        f"Adam, rate {run.rpartition('_')[2]}: the original's validation loss "
        "still falls at the end; replicates",
        "all",
        (50.0, 100.0),
        (50.0,),
        "%",
        functools.partial(learning.unstopped, where=_DENSE),
        absolute=True,
      ),
      (run,),
    )


def _descent() -> Iterable[Across]:
  sweep = "lenet_sgd_rates"
  rates = "0.05", "0.1", "0.2", "0.4", "0.8"
  runs = [f"{sweep}_{rate}" for rate in rates]
  yield from _pattern("27", "Gradient descent, rate", runs)
  for rate in ("0.4", "0.8"):
    run = f"{sweep}_{rate}"
    yield across.ratio(
      "27",
      f"Gradient descent, rate {rate}: the original is as fast as under Adam",
      (run, _DENSE),
      ("lenet_adam_rates_1.2e-3", _DENSE),
      "as fast",
      across.AS_FAST,
    )
    claim = Claim(
      "27",
      f"Gradient descent, rate {rate}: tickets are as accurate as the original "
      "down to",
      "< 1%",
      (0.0, 1.0),
      (100.0,),
      "% of weights",
      functools.partial(crossings.back, quantity=_EARLY),
    )
    yield Across(claim, (run,))


def _momentum() -> Iterable[Across]:
  sweep = "lenet_momentum_rates"
  runs = [f"{sweep}_{rate}" for rate in ("0.0125", "0.05", "0.1")]
  yield from _pattern("28", "Momentum, rate", runs)
  yield across.on_average(
    "28",
    "Momentum, rate 0.025: tickets above the original at the end",
    f"{sweep}_0.025",
    _END,
    *_RANGE,
    published="never",
    band=across.NO_GAIN,
  )
  for rate in ("0.0125", "0.1"):
    yield across.gap(
      "28",
      f"Momentum: the original at rate 0.025 more accurate than at {rate}",
      (f"{sweep}_0.025", _DENSE),
      (f"{sweep}_{rate}", _DENSE),
      _EARLY,
    )


def _pruning_rates() -> Iterable[Across]:
  # The densities of 0.6 a round, 6.6% and 2.8%, are too far from the others'.
  where = "ticket", 0.044
  for rate in ("0.1", "0.2"):
    for fast in ("0.4", "0.8"):
      yield across.gap(
        "29",
        f"Pruning {rate} a round is more accurate than {fast}, at about 4.4%",
        (f"lenet_pruning_rates_{rate}", where),
        (f"lenet_pruning_rates_{fast}", where),
        _EARLY,
      )


def _deviations() -> Iterable[Across]:
  sweep = "lenet_init_std"
  stds = "0.025", "0.05", "0.1", "0.2", "0.4"
  runs = [f"{sweep}_{std}" for std in stds]
  yield from _pattern("30", "Initial deviation", runs)
  best = f"{sweep}_0.1", _TICKET
  for std in ("0.025", "0.4"):
    text = f"Ticket at 21.1%: deviation 0.1 is more accurate than {std}"
    yield across.gap("30", text, best, (f"{sweep}_{std}", _TICKET), _EARLY)
  text = "Ticket at 21.1%: deviation 0.1 is as accurate as Glorot's"
  glorot = "lenet_adam_rates_1.2e-3", _TICKET
  yield across.same("30", text, 0.3, best, glorot, _EARLY)


def _sizes() -> Iterable[Across]:
  small = "lenet_sizes_75-25", _DENSE
  for size, density in (("300-100", 0.211), ("600-200", 0.107)):
    pruned = f"lenet_sizes_{size}", ("ticket", density)
    text = f"LeNet-{size} pruned to the size of LeNet-75-25"
    yield across.gap("31", f"{text} is more accurate", pruned, small, _EARLY)
    yield across.ratio(
      "31", f"LeNet-75-25 learns slower than {text}", small, pruned
    )
  for size, num_weights in (
    ("75-25", 60_925),
    ("150-50", 125_600),
    ("300-100", 266_200),
    ("600-200", 592_400),
  ):
    yield Across(
      Claim(
        "31",
        f"LeNet-{size}: tickets are back to the original's accuracy at",
        "9,000 to 15,000",
        (6_000, 22_000),
        (num_weights,),
        "weights",
        _weights_left,
      ),
      (f"lenet_sizes_{size}",),
    )


def _weights_left(run: records.Run) -> measures.Sample:
  found = crossings.back(run, _EARLY)
  return found._replace(values=found.values / 100 * run.lanes[0].counted)


CLAIMS: tuple[Across, ...] = (
  *_one_shot(),
  *across.reset("9", "LeNet", "mnist_lenet", "lenet_continued", 0.07),
  *across.reset("9", "LeNet", "mnist_lenet", "lenet_continued", 0.036),
  _unevenness(),
  *_adam(),
  *_descent(),
  *_momentum(),
  *_pruning_rates(),
  *_deviations(),
  *_sizes(),
)
