"""LeNet: figures 4c, 9, 24 and 26 to 31."""

import functools
from collections.abc import Iterable

from experiments.claims import across
from experiments.claims.across import Across
from lth_jax.report import crossings, looks, measures, records, statistics
from lth_jax.report.published.claim import LESS, Claim

_END, _STEP = statistics.END_TEST, statistics.EARLY_STEP
_DENSE = measures.DENSE


def _one_shot() -> Iterable[Across]:
  for density in (0.07, 0.036):
    where = "ticket", density
    ours, other = ("mnist_lenet", where), ("lenet_oneshot", where)
    at = f"at {100 * density:.1f}%"
    text = f"Iterative tickets more accurate than one-shot tickets {at}"
    yield across.gap("4c", text, ours, other)
    text = f"One-shot tickets learn slower than iterative tickets {at}"
    yield across.slower("4c", text, other, ours)


def _unevenness() -> Across:
  def measure(adam, sgd):
    return measures.over(
      *(
        looks.value(run, "uneven_out", "Dense_1/kernel", 0.211)
        for run in (adam, sgd)
      )
    )

  return Across(
    Claim(
      "24",
      "Connections out of the first hidden layer: more uneven under Adam than "
      "under gradient descent",
      "less uneven",
      across.OVER_ONE,
      (1.0,),
      "times",
      measure,
    ),
    ("mnist_lenet", "lenet_sgd"),
  )


def _lenet_rates() -> Iterable[Across]:
  adam, sgd = "lenet_adam_rates", "lenet_sgd_rates"
  best = f"{adam}_1.2e-3", _DENSE
  for rate in ("2e-4", "6e-4", "2e-3"):
    yield across.same(
      "26",
      f"Adam: rates {rate} and 1.2e-3 give the original the same accuracy",
      0.3,
      (f"{adam}_{rate}", _DENSE),
      best,
    )
  text = "Adam: the original learns slower at rate 2e-4 than at 1.2e-3"
  yield across.slower("26", text, (f"{adam}_2e-4", _DENSE), best)
  yield from across.pattern("26", adam, ("2.5e-5", "6.4e-3"), "Adam, rate")
  rates = "0.05", "0.1", "0.2", "0.4", "0.8"
  yield from across.pattern("27", sgd, rates, "Gradient descent, rate")
  for rate in ("0.4", "0.8"):
    yield Across(
      Claim(
        "27",
        f"Gradient descent, rate {rate}: early stop of the original over that "
        "under Adam",
        "as fast",
        (0.5, 2.0),
        (0.5, 2.0),
        "times",
        functools.partial(_steps_over, where=_DENSE),
      ),
      (f"{sgd}_{rate}", f"{adam}_1.2e-3"),
    )
  momentum = "lenet_momentum_rates"
  yield from across.pattern(
    "28", momentum, ("0.0125", "0.05", "0.1"), "Momentum, rate"
  )
  yield across.best(
    "28",
    "Momentum, rate 0.025: tickets above the original at best by",
    f"{momentum}_0.025",
    "never",
    LESS,
    _END,
  )


def _steps_over(first, second, where) -> measures.Sample:
  return measures.over(
    measures.level(first, _STEP, where), measures.level(second, _STEP, where)
  )


def _lenet_sweeps() -> Iterable[Across]:
  where = "ticket", 0.043
  for rate in ("0.1", "0.2"):
    for fast in ("0.4", "0.6", "0.8"):
      yield across.gap(
        "29",
        f"Pruning {rate} a round is more accurate than {fast}, at about 4.3%",
        (f"lenet_pruning_rates_{rate}", where),
        (f"lenet_pruning_rates_{fast}", where),
      )
  stds = "0.025", "0.05", "0.1", "0.2", "0.4"
  yield from across.pattern("30", "lenet_init_std", stds, "Initial deviation")
  ticket = "ticket", 0.211
  best = "lenet_init_std_0.1", ticket
  for std in ("0.025", "0.4"):
    text = f"Ticket at 21.1%: deviation 0.1 is more accurate than {std}"
    yield across.gap("30", text, best, (f"lenet_init_std_{std}", ticket))
  glorot = "lenet_adam_rates_1.2e-3", ticket
  text = "Ticket at 21.1%: deviation 0.1 and Glorot's"
  yield across.same("30", text, 0.3, best, glorot)
  for size, density in (("300-100", 0.211), ("600-200", 0.107)):
    yield across.gap(
      "31",
      f"LeNet-{size} pruned to the size of LeNet-75-25 is more accurate",
      (f"lenet_sizes_{size}", ("ticket", density)),
      ("lenet_sizes_75-25", _DENSE),
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
        f"LeNet-{size}: tickets fall below the original at",
        "9,000 to 15,000",
        (6_000, 22_000),
        (num_weights,),
        "weights",
        _weights_left,
      ),
      (f"lenet_sizes_{size}",),
    )


def _weights_left(run: records.Run) -> measures.Sample:
  found = crossings.falls(run, "ticket")
  counted = run.lanes[0].counted
  return found._replace(values=found.values / 100 * counted)


CLAIMS: tuple[Across, ...] = (
  *_one_shot(),
  *across.reset("9", "LeNet", "mnist_lenet", "lenet_continued", 0.07),
  *across.reset("9", "LeNet", "mnist_lenet", "lenet_continued", 0.036),
  _unevenness(),
  *_lenet_rates(),
  *_lenet_sweeps(),
)
