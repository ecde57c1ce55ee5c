"""What the paper shows, figure by figure, and the runs that show it.

A row is a folder of flagfiles in `experiments/flags`, one a scale; with points
it is a sweep: one run for each of them.
"""

import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from lth_jax import errors, flags, lanes
from lth_jax.configs import Config

SCALES = ("paper", "cpu", "smoke")
_FLAGS = pathlib.Path("experiments/flags")


class Row(NamedTuple):
  """Trainings that belong together.

  Attributes:
    name: its folder of flagfiles, and the stem of its workdirs.
    figures: figures of the paper that it is for.
    what: what is asked, in a few words.
    points: of a sweep: the name of each and the flags that make it.
  """

  name: str
  figures: tuple[str, ...]
  what: str
  points: tuple[tuple[str, str], ...] = ()


class Run(NamedTuple):
  """One run of a row.

  Attributes:
    name: its folder below the workdir.
    arguments: the command line that gives its config.
  """

  name: str
  arguments: tuple[str, ...]


def _points(flag: str, values: str) -> tuple[tuple[str, str], ...]:
  """One point for each value of a flag."""
  return tuple(
    (value.replace(",", "-"), f"--{flag}={value}") for value in values.split()
  )


ROWS = (
  Row(
    "mnist_lenet",
    ("1", "3", "4a", "4b", "4c", "9", "11", "12", "14", "15", "19-24"),
    "LeNet: iterative tickets against reinits and random masks",
  ),
  Row("lenet_oneshot", ("4c",), "LeNet: one-shot tickets"),
  Row("lenet_continued", ("9",), "LeNet: reset or continue between prunings"),
  Row(
    "lenet_controls",
    ("17", "18", "25"),
    "LeNet: what of the initialization matters",
  ),
  Row("lenet_sgd", ("16", "22", "24"), "LeNet: tickets of gradient descent"),
  Row(
    "lenet_adam_rates",
    ("26",),
    "LeNet: Adam's learning rate",
    _points("learning_rate", "2.5e-5 2e-4 6e-4 1.2e-3 2e-3 6.4e-3"),
  ),
  Row(
    "lenet_sgd_rates",
    ("27",),
    "LeNet: learning rate of gradient descent",
    _points("learning_rate", "0.05 0.1 0.2 0.4 0.8"),
  ),
  Row(
    "lenet_momentum_rates",
    ("28",),
    "LeNet: learning rate with momentum",
    _points("learning_rate", "0.0125 0.025 0.05 0.1"),
  ),
  Row(
    "lenet_pruning_rates",
    ("29",),
    "LeNet: weights pruned a round",
    # As many rounds as it takes to come to 5% of the weights.
    tuple(
      (
        f"{rate:g}",
        f"--rates=Dense_2/kernel={rate / 2:g},kernel={rate:g} "
        f"--rounds={math.ceil(math.log(0.05, 1 - rate))}",
      )
      for rate in (0.1, 0.2, 0.4, 0.6, 0.8)
    ),
  ),
  Row(
    "lenet_init_std",
    ("30",),
    "LeNet: scale of the initialization",
    _points("init_std", "0.025 0.05 0.1 0.2 0.4"),
  ),
  Row(
    "lenet_sizes",
    ("31",),
    "LeNet: size of the network",
    _points("hidden", "75,25 150,50 300,100 600,200"),
  ),
  *(
    Row(
      f"conv{n}",
      ("1", "5", "6", "13", "14", "37"),
      f"Conv-{n}: tickets against reinits and random masks",
    )
    for n in (2, 4, 6)
  ),
  *(
    Row(f"conv{n}_dropout", ("6",), f"Conv-{n}: tickets and dropout")
    for n in (2, 4, 6)
  ),
  *(
    Row(f"conv{n}_{part}", ("37",), f"Conv-{n}: {part.replace('_', ' ')}")
    for n in (2, 4, 6)
    for part in ("conv_only", "fc_only")
  ),
  Row("resnet20", ("8", "42"), "ResNet-20 at a high learning rate"),
  Row("resnet20_low", ("8", "42"), "ResNet-20 at a low learning rate"),
  Row("resnet20_warmup", ("8", "39", "44"), "ResNet-20 with warm-up"),
  Row("resnet20_layerwise", ("39", "41"), "ResNet-20 pruned layer by layer"),
  Row("vgg19", ("7", "43"), "VGG-19 at a high learning rate"),
  Row("vgg19_low", ("7", "43"), "VGG-19 at a low learning rate"),
  Row("vgg19_warmup", ("7", "38", "45"), "VGG-19 with warm-up"),
  Row("vgg19_layerwise", ("38", "40"), "VGG-19 pruned layer by layer"),
)


def runs(row: Row, scale: str) -> list[Run]:
  """Lists the runs of a row.

  Args:
    row: one of `ROWS`.
    scale: one of `SCALES`.
  """
  flagfile = f"--flagfile={_FLAGS / row.name / scale}.flags"
  if not row.points:
    return [Run(row.name, (flagfile,))]
  return [
    Run(f"{row.name}_{label}", (flagfile, *changed.split()))
    for label, changed in row.points
  ]


def config(run: Run) -> Config:
  """Returns the config of a run.

  Raises:
    InputError: a flagfile is missing or wrong.
  """
  return flags.parse(run.arguments)


def num_trainings(config: Config) -> int:
  """Returns how many trainings a run is made of."""
  return sum(
    len(lanes.of_round(config, replicate, index))
    for replicate in lanes.replicates(config)
    for index in range(config.study.rounds + 1)
  )


def find(figure: str) -> list[Row]:
  """Lists the rows that a figure needs.

  Args:
    figure: such as "4a" or "25".

  Raises:
    InputError: there is no such figure.
  """
  found = [row for row in ROWS if figure in _spread(row.figures)]
  if not found:
    known = {name for row in ROWS for name in _spread(row.figures)}
    raise errors.InputError(
      f"--figure={figure}: there is none; known are "
      f"{', '.join(sorted(known, key=_order))}."
    )
  return found


def _spread(figures: Sequence[str]) -> list[str]:
  """Writes '19-24' out."""
  found = []
  for name in figures:
    first, dash, last = name.partition("-")
    if dash:
      found += [str(number) for number in range(int(first), int(last) + 1)]
    else:
      found.append(name)
  return found


def _order(figure: str) -> tuple[int, str]:
  digits = "".join(filter(str.isdigit, figure))
  return int(digits), figure
