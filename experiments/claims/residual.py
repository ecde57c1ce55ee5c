"""ResNet-20 and VGG-19: figures 7, 8, 38, 39 and 42 to 45."""

from collections.abc import Iterable

from experiments.claims import across
from experiments.claims.across import Across
from lth_jax.report import measures, statistics

# Figures 7 and 8, and those of appendix I, show test accuracies.
_END = statistics.END_TEST
_DENSE = measures.DENSE
# Density after 6 rounds.
_SIX_ROUNDS = {"vgg19": 0.262, "resnet20": 0.271}
_NAMES = {"vgg19": "VGG-19", "resnet20": "ResNet-20"}


def _settings() -> Iterable[Across]:
  ticket = "ticket", _SIX_ROUNDS["resnet20"]
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


def _scopes() -> Iterable[Across]:
  text = (
    "pruned layer by layer, tickets cease to be as accurate as the original "
    "sooner than pruned globally: densities apart by"
  )
  for figure, model, published, band in (
    ("38", "vgg19", "6.9% over 1.5%", (2.0, 10.0)),
    ("39", "resnet20", "sooner", across.OVER_ONE),
  ):
    runs = f"{model}_layerwise", f"{model}_warmup"
    full = f"{_NAMES[model]}: {text}"
    yield across.sooner(figure, full, *runs, published, band)


def _rates() -> Iterable[Across]:
  for figure, model in (("42", "resnet20"), ("43", "vgg19")):
    for rate in ("0.03", "0.1"):
      yield across.on_average(
        figure,
        f"{_NAMES[model]}, rate {rate}, no warm-up: tickets above the original",
        f"{model}_rates_{rate}",
        _END,
        0.518,
        0.118,
        "never",
        across.NO_GAIN,
      )
  yield across.on_average(
    "42",
    "ResNet-20, rate 0.01, no warm-up: tickets above the original",
    "resnet20_rates_0.01",
    _END,
    0.417,
    0.219,
  )


def _warmups() -> Iterable[Across]:
  for figure, model in (("44", "resnet20"), ("45", "vgg19")):
    density = _SIX_ROUNDS[model]
    none, some, long = (
      (f"{model}_warmups_{steps}", ("ticket", density))
      for steps in (0, 5000, 20000)
    )
    text = f"{_NAMES[model]}, ticket at {100 * density:.1f}%"
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


CLAIMS: tuple[Across, ...] = (
  *_settings(),
  *_scopes(),
  *_rates(),
  *_warmups(),
)
