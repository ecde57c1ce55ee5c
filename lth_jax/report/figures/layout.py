"""The figures of each network, after those of the paper."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lth_jax.report import protocols, records, statistics
from lth_jax.report.figures import curves, panels

NETWORKS = {
  "lenet": "LeNet",
  "conv2": "Conv-2",
  "conv4": "Conv-4",
  "conv6": "Conv-6",
  "resnet20": "ResNet-20",
  "vgg19": "VGG-19",
}
# Figures 3 and 11 end here, long before the 50,000 iterations of the paper.
_BEGINNING = 15_000


class Figure(NamedTuple):
  """A figure of a run.

  Attributes:
    name: stem of its files.
    title: its number in the paper, if it has one, and what it shows.
    caption: how to read it.
    panels: functions that draw one panel each.
  """

  name: str
  title: str
  caption: str
  panels: tuple[panels.DrawPanel, ...]


def of(run: records.Run) -> tuple[Figure, ...]:
  """Returns the figures that a run has data for, the main one first."""
  one_shot = run.config["pruning"] == "oneshot"
  words = {
    "network": NETWORKS.get(run.config["model"], run.config["model"]),
    "pruning": "one-shot pruning" if one_shot else "iterative pruning",
    "aside": _ASIDE if len(statistics.arms(run)) > 1 else "",
  }
  found = []
  for name in _names(run.config):
    title, draw, caption = _FIGURES[name]
    if parts := draw(run):
      texts = title.format(**words), caption.format(**words)
      found.append(Figure(name, *texts, parts))
  return tuple(found)


def milestones(run: records.Run) -> tuple[statistics.Quantity, ...]:
  """Returns the quantities of figures 7 and 8; empty for other networks."""
  shares = protocols.MILESTONES.get(run.config["model"])
  if shares is None:
    return ()
  steps = statistics.steps_near(run, shares)
  return *map(statistics.accuracy_at, steps), statistics.END_TEST


def _names(config: Mapping[str, Any]) -> tuple[str, ...]:
  """The figures of a network, in the order of the page."""
  by_layer = config["scope"] == "layer"
  match config["model"]:
    case "lenet":
      one_shot = ("figure_4c",) if config["pruning"] == "oneshot" else ()
      return "figure_4a", "figure_3", "figure_11", "figure_4b", *one_shot
    case "resnet20":
      main = "figure_41" if by_layer else "figure_8"
    case "vgg19":
      main = "figure_40" if by_layer else "figure_7"
    case "conv2" | "conv4" | "conv6":
      main = "figure_6" if config["dropout"] else "figure_5"
    case _:
      main = "own"
  return main, "learning", "validation"


def _against_density(
  quantities: Sequence[statistics.Quantity], run: records.Run, log: bool = True
) -> tuple[panels.DrawPanel, ...]:
  """A panel for each quantity that some trial has."""
  return tuple(
    functools.partial(panels.against_density, run, quantity, log=log)
    for quantity in quantities
    if any(np.isfinite(quantity.read(each)) for each in run.results)
  )


def _while_training(
  curve: statistics.Curve, run: records.Run, last_step: int | None = None
) -> tuple[panels.DrawPanel, ...]:
  steps = run.config["steps"]
  return curves.draw(run, curve, min(steps, last_step or steps))


_all = functools.partial(_against_density, statistics.QUANTITIES)
_early = functools.partial(_against_density, statistics.QUANTITIES[:3])
_end = functools.partial(_against_density, statistics.QUANTITIES[3:])
_tests = functools.partial(_while_training, statistics.TEST_CURVE)
_losses = functools.partial(_while_training, statistics.VALID_CURVE)


def _deep(run: records.Run) -> tuple[panels.DrawPanel, ...]:
  return _against_density(milestones(run), run)


_BARS = (
  "Means over replicates, bars from the smallest to the largest; draws of an "
  "arm are averaged within a replicate first. Controls that fall far below the "
  "tickets leave the panel; the table has all values.{aside}"
)
_ASIDE = (
  " Arms are moved sideways, by half a percent of the axis from one to the "
  "next, so that their bars do not overlap; the dense network is not."
)
_OPEN = (
  f"{_BARS} An open marker: in some trial the validation loss still fell at "
  "the last evaluation, so that the step is a lower bound."
)
_BANDS = (
  "Means over replicates at the densities nearest to the ones in the paper's "
  "figure 3; bands run from the smallest to the largest replicate."
)
_BEGIN = f"{_BANDS} At most the first {_BEGINNING:,} iterations are shown."
_DEEP = "Test accuracy of {network}, {pruning}"

# File: title, panels, caption.
_FIGURES: dict[
  str, tuple[str, Callable[[records.Run], tuple[panels.DrawPanel, ...]], str]
] = {
  "figure_3": (
    "Figure 3. Test accuracy while training",
    functools.partial(_tests, last_step=_BEGINNING),
    _BEGIN,
  ),
  "figure_4a": ("Figure 4a. At early stopping, {pruning}", _early, _OPEN),
  "figure_4b": (
    "Figures 4b and 12. At the end of training, {pruning}",
    _end,
    _BARS,
  ),
  "figure_4c": (
    "Figure 4c. At early stopping, {pruning}, linear axis",
    functools.partial(_early, log=False),
    _OPEN,
  ),
  "figure_5": ("Figures 5 and 13. {network}, {pruning}", _all, _OPEN),
  "figure_6": ("Figure 6. {network} with dropout, {pruning}", _all, _OPEN),
  "figure_7": (f"Figure 7. {_DEEP} over all layers", _deep, _BARS),
  "figure_8": (f"Figure 8. {_DEEP} over all layers", _deep, _BARS),
  "figure_11": (
    "Figure 11. Validation loss while training",
    functools.partial(_losses, last_step=_BEGINNING),
    _BEGIN,
  ),
  "figure_40": (f"Figure 40. {_DEEP} layer by layer", _deep, _BARS),
  "figure_41": (f"Figure 41. {_DEEP} layer by layer", _deep, _BARS),
  "own": ("{network}, {pruning}", _all, _OPEN),
  "learning": ("Test accuracy while training", _tests, _BANDS),
  "validation": ("Validation loss while training", _losses, _BANDS),
}
NAMES = tuple(_FIGURES)
