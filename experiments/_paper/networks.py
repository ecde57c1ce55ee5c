"""Figure 2: the networks, their weights and the densities of their rounds."""

import functools
import itertools
from typing import Any

import jax
import numpy as np

from experiments._paper import catalog
from lth_jax import masks, pruning
from lth_jax.config import configs
from lth_jax.config.configs import Config
from lth_jax.report import tables

PyTree = Any

_IMAGES = {
  **dict.fromkeys(("mnist", "mnist_10k"), (28, 28, 1)),
  "cifar10": (32, 32, 3),
}
# By row: the name of the network, and as the paper prints them the numbers of
# weights in its convolutions and in all layers.
_PRINTED = {
  "mnist_lenet": ("LeNet", tables.DASH, "266K"),
  "conv2": ("Conv-2", "38K", "4.3M"),
  "conv4": ("Conv-4", "260K", "2.4M"),
  "conv6": ("Conv-6", "1.1M", "1.7M"),
  "resnet20": ("ResNet-20", "270K", "274K"),
  "vgg19": ("VGG-19", tables.DASH, "20.0M"),
}
_NOTES = """\
Conv-6: the densities in the paper's text fit 2.3M weights, not the 1.7M that it
prints. ResNet-20, the paper's Resnet-18: 274K counts BatchNorm and biases too.
"""


@functools.cache
def markdown() -> str:
  """Writes figure 2's networks and their ladders as Markdown tables."""
  named = catalog.named("paper")
  runs = {name: catalog.config(named[name]) for name in _PRINTED}
  full = {name: full_masks(config) for name, config in runs.items()}
  counts = tables.markdown(_counts(full), "Figure 2: weights, without biases")
  ladders = {name: ladder(runs[name], full[name]) for name in runs}
  caption = "Weights left after each round, in percent"
  return f"{counts}\n{_NOTES}\n{tables.markdown(_by_round(ladders), caption)}"


def full_masks(config: Config) -> PyTree:
  """Returns the full masks of a network, NumPy, without initializing it."""
  model = _model(config)
  shapes = jax.eval_shape(
    lambda key: masks.full(model.init(key)[0]), jax.random.key(0)
  )
  return jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), shapes)


def _model(config: Config):
  from lth_jax import models  # loads flax, which --help does without

  asked = config.model
  image = _IMAGES[config.data.dataset]
  return models.make(
    asked.model, image, num_classes=10, hidden=asked.hidden, width=asked.width
  )


def _counts(full: dict[str, PyTree]) -> tables.Table:
  rows = []
  for name, tree in full.items():
    title, printed_convolutions, printed_all = _PRINTED[name]
    sizes = {2: 0, 4: 0}  # of dense layers and of convolutions, by their axes
    for mask in jax.tree.leaves(tree):
      sizes[mask.ndim] += mask.size
    ours = [f"{n:,}" for n in (sizes[4], sizes[2], sizes[2] + sizes[4])]
    rows.append((title, *ours, printed_convolutions, printed_all))
  head = "Network", "Convolutions", "Dense layers", "All"
  paper = "Convolutions in the paper", "All in the paper"
  return tables.Table((*head, *paper), tuple(rows))


def ladder(config: Config, full: PyTree) -> tuple[float, ...]:
  """Returns the density of each round of a run, dense first."""
  return pruning.density_schedule(
    full,
    pruning.fractions(full, configs.rules(config, _model(config).output)),
    config.study.rounds,
    scope=config.pruning.scope,
  )


def _by_round(ladders: dict[str, tuple[float, ...]]) -> tables.Table:
  """Tabulates densities by round, with a dash after a network's last round."""
  columns = itertools.zip_longest(*ladders.values())
  rows = tuple(
    (
      str(index),
      *(tables.DASH if x is None else f"{100 * x:.2f}" for x in densities),
    )
    for index, densities in enumerate(columns)
  )
  return tables.Table(("Round", *(_PRINTED[name][0] for name in ladders)), rows)
