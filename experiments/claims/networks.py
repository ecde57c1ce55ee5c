"""Conv-2, -4 and -6, ResNet-20, VGG-19: figures 6 to 8, 10, 32 to 45."""

import functools
from collections.abc import Iterable

from experiments.claims import across
from experiments.claims.across import Across
from lth_jax.report import measures, statistics
from lth_jax.report.published.claim import LESS, MORE, Claim

_END, _STEP = statistics.END_TEST, statistics.EARLY_STEP
_DENSE = measures.DENSE
_CONV = ("conv2", "conv4", "conv6")
# Densities after 6 rounds, convolutions pruned by 10% and by 20% a round.
_SIX_ROUNDS = {
  "conv2": (0.265, 0.262),
  "conv4": (0.291, 0.262),
  "conv6": (0.401, 0.262),
}
# Dense layers' share of the weights, as printed.
_SHARES = {"conv2": "99%", "conv4": "89%", "conv6": "35%"}


def _dropout() -> Iterable[Across]:
  published = {"conv2": 2.1, "conv4": 3.0, "conv6": 2.4}
  for model in _CONV:
    yield across.gap(
      "6",
      f"{_title(model)}: dropout raises accuracy of the original by",
      (f"{model}_dropout", _DENSE),
      (model, _DENSE),
      published=f"{published[model]} points",
      band=(1.0, 4.0),
    )


def _residual() -> Iterable[Across]:
  ticket = "ticket", 0.271
  yield across.gap(
    "7",
    "VGG-19: warm-up raises accuracy of the original by",
    ("vgg19_warmup", _DENSE),
    ("vgg19", _DENSE),
    _END,
    "about 1 point",
    (0.3, 2.0),
  )
  yield across.gap(
    "8",
    "ResNet-20: the original at rate 0.1 above the 27.1% ticket at rate 0.01",
    ("resnet20", _DENSE),
    ("resnet20_low", ticket),
    _END,
  )
  yield across.same(
    "8",
    "ResNet-20: the 27.1% ticket with warm-up, and the original at rate 0.1",
    0.5,
    ("resnet20_warmup", ticket),
    ("resnet20", _DENSE),
    _END,
  )
  text = (
    "pruned layer by layer, tickets fall below the original sooner than pruned "
    "globally: densities apart by"
  )
  for figure, model, published, band in (
    ("38", "vgg19", "6.9% over 1.5%", (2.0, 10.0)),
    ("39", "resnet20", "sooner", across.OVER_ONE),
  ):
    runs = f"{model}_layerwise", f"{model}_warmup"
    full = f"{_title(model)}: {text}"
    yield across.sooner(figure, full, *runs, published, band)


def _continued() -> Iterable[Across]:
  for model, density in (("conv2", 0.071), ("conv4", 0.092), ("conv6", 0.106)):
    yield from across.reset(
      "10", _title(model), model, f"{model}_continued", density
    )


def _conv_rates() -> Iterable[Across]:
  for model, rate, gain in (
    ("conv2", "2e-4", 3.3),
    ("conv2", "4e-4", 6.5),
    ("conv4", "3e-4", 3.7),
    ("conv4", "4e-4", 3.6),
    ("conv6", "3e-4", 2.4),
    ("conv6", "4e-4", 2.7),
  ):
    yield across.best(
      "32",
      f"{_title(model)}, Adam, rate {rate}: tickets above the original by up "
      "to",
      f"{model}_adam_rates_{rate}",
      f"{gain} points",
      (gain / 2, 2 * gain),
    )


def _conv_other_rates() -> Iterable[Across]:
  for model in _CONV:
    title = _title(model)
    sgd = f"{model}_sgd_rates_0.03"
    yield across.gap(
      "33",
      f"{title}: the original under Adam above that under gradient descent by",
      (model, _DENSE),
      (sgd, _DENSE),
      published="2 to 3 points",
      band=(1.0, 5.0),
    )
    yield across.best(
      "33",
      f"{title}, gradient descent: tickets above the original by up to",
      sgd,
      "higher",
      MORE,
    )
    yield across.best(
      "34",
      f"{title}, momentum, rate 0.003: tickets above the original by up to",
      f"{model}_momentum_rates_0.003",
      "higher",
      MORE,
    )
    yield across.same(
      "35",
      f"{title}, after 6 rounds: convolutions pruned by 10% and by 20% a round",
      1.0,
      (f"{model}_pruning_rates_0.1", ("ticket", _SIX_ROUNDS[model][0])),
      (f"{model}_pruning_rates_0.2", ("ticket", _SIX_ROUNDS[model][1])),
    )
  yield across.gap(
    "34",
    "Conv-4, momentum, rate 0.001: accuracy first dips, at 43.6%",
    ("conv4_momentum_rates_0.001", _DENSE),
    ("conv4_momentum_rates_0.001", ("ticket", 0.436)),
    published="dips",
  )
  for model in ("conv2", "conv4"):
    yield across.best(
      "34",
      f"{_title(model)}, momentum, rate 0.008: early stop comes earlier by up "
      "to",
      f"{model}_momentum_rates_0.008",
      "no earlier",
      LESS,
      _STEP,
    )


def _dropout_rates() -> Iterable[Across]:
  chance = 15.0
  for rate, published, band in (
    ("1e-4", "fails", (0.0, chance)),
    ("3e-4", "learns", (chance, 100.0)),
  ):
    yield Across(
      Claim(
        "36",
        f"Conv-2, dropout, rate {rate}: accuracy of the original at the end",
        published,
        band,
        (chance,),
        "%",
        functools.partial(measures.level, quantity=_END, where=_DENSE),
        absolute=True,
      ),
      (f"conv2_dropout_rates_{rate}",),
    )
  for model, rate, gain in (("conv4", "2e-4", 5.0), ("conv6", "2e-4", 3.5)):
    yield across.best(
      "36",
      f"{_title(model)}, dropout, rate {rate}: tickets above the original by "
      "up to",
      f"{model}_dropout_rates_{rate}",
      f"{gain} points",
      (gain / 2, 2 * gain),
    )


def _residual_rates() -> Iterable[Across]:
  for figure, model in (("42", "resnet20"), ("43", "vgg19")):
    for rate in ("0.03", "0.1"):
      yield across.best(
        figure,
        f"{_title(model)}, rate {rate}, no warm-up: tickets above the original "
        "at best by",
        f"{model}_rates_{rate}",
        "never",
        LESS,
        _END,
      )
  ticket = "ticket", 0.271
  for figure, model in (("44", "resnet20"), ("45", "vgg19")):
    sweep = f"{model}_warmups"
    none, some, long = (
      (f"{sweep}_{steps}", ticket) for steps in (0, 5000, 20000)
    )
    text = f"{_title(model)}, ticket at 27.1%"
    yield across.gap(
      figure, f"{text}: warm-up of 5,000 steps above none", some, none, _END
    )
    yield across.same(
      figure,
      f"{text}: warm-up of 20,000 steps and of 5,000",
      0.5,
      long,
      some,
      _END,
    )


def _conv_parts() -> Iterable[Across]:
  for model in _CONV:
    title, run = _title(model), f"{model}_conv_only"
    text = f"{title}, only convolutions pruned: tickets"
    yield across.best(
      "37", f"{text} above the original by up to", run, "higher", MORE
    )
    yield across.best(
      "37", f"{text} learn faster by up to", run, "faster", MORE, _STEP
    )
    run = f"{model}_fc_only"
    yield across.best(
      "37",
      f"{title}, only dense layers pruned ({_SHARES[model]} of the weights): "
      "tickets above the original at best by",
      run,
      "lower",
      LESS,
    )


def _title(model: str) -> str:
  known = {"vgg19": "VGG-19", "resnet20": "ResNet-20"}
  return known.get(model, f"Conv-{model[-1]}")


CLAIMS: tuple[Across, ...] = (
  *_dropout(),
  *_residual(),
  *_continued(),
  *_conv_rates(),
  *_conv_other_rates(),
  *_dropout_rates(),
  *_conv_parts(),
  *_residual_rates(),
)
