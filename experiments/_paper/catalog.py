"""What the paper shows, figure by figure, and the runs that show it.

A row is a folder of flagfiles in `experiments/flags`, one a scale; with points
it is a sweep: one run for each of them. A sweep stands alone: it also trains
the point that another row trains with controls and, mostly, for longer. What
the paper varies is often told by its plots only; where nothing else is said
here, the values between those of its text are ours.
"""

import functools
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from lth_jax import errors
from lth_jax.config import configs, flags, plan
from lth_jax.config.configs import Config

SCALES = ("paper", "cpu", "smoke")
NETWORKS = "2"  # the figure that needs no training
_FLAGS = pathlib.Path("experiments/flags")


class Point(NamedTuple):
  """One run of a sweep.

  Attributes:
    name: what its run's name ends in.
    flags: make it, behind the row's flagfile.
    warmup: part of the steps over which the learning rate rises, if that is
      what is varied; steps differ from scale to scale.
  """

  name: str
  flags: str = ""
  warmup: float | None = None


class Row(NamedTuple):
  """Trainings that belong together.

  Attributes:
    name: its folder of flagfiles, and the stem of its workdirs.
    figures: figures of the paper that it is for.
    what: what is asked, in a few words.
    points: of a sweep.
  """

  name: str
  figures: tuple[str, ...]
  what: str
  points: tuple[Point, ...] = ()


class Run(NamedTuple):
  """One run of a row.

  Attributes:
    name: its folder below the workdir.
    arguments: the command line that gives its config.
  """

  name: str
  arguments: tuple[str, ...]


def _points(flag: str, values: str) -> tuple[Point, ...]:
  """One point for each value of a flag."""
  return tuple(
    Point(value.replace(",", "-"), f"--{flag}={value}")
    for value in values.split()
  )


def _warmups(steps: int) -> tuple[Point, ...]:
  """The paper's warm-ups (figure 44), of a run of so many steps."""
  return tuple(
    Point(str(warmup), warmup=warmup / steps)
    for warmup in (0, 500, 1000, 5000, 10_000, 20_000)
  )


# Sweeps of each of Conv-2, -4 and -6. The text names 2e-4 to 4e-4 for Adam, no
# rate for gradient descent, 0.001, 0.005 and 0.008 with momentum, 10% to 20% of
# the convolutions, and 1e-4 to 4e-4 with dropout (for Conv-2).
_CONV_SWEEPS = (
  (
    "adam_rates",
    "32",
    "Adam's learning rate",
    _points("learning_rate", "1e-4 2e-4 3e-4 4e-4 1e-3 2e-3"),
  ),
  (
    "sgd_rates",
    "33",
    "learning rate of gradient descent",
    _points("learning_rate", "0.003 0.01 0.03 0.1"),
  ),
  (
    "momentum_rates",
    "34",
    "learning rate with momentum",
    _points("learning_rate", "0.001 0.002 0.003 0.005 0.008"),
  ),
  (
    "pruning_rates",
    "35",
    "part of the convolutions pruned a round",
    tuple(
      Point(rate, f"--rates=output=0.1,Conv={rate},Dense=0.2")
      for rate in ("0.05", "0.1", "0.15", "0.2", "0.3")
    ),
  ),
  (
    "dropout_rates",
    "36",
    "learning rate with dropout",
    _points("learning_rate", "1e-4 2e-4 3e-4 4e-4"),
  ),
)


ROWS = (
  Row(
    "mnist_lenet",
    (
      "1",
      "3",
      "4a",
      "4b",
      "4c",
      "9",
      "11",
      "12",
      "14",
      "15",
      "19-21",
      "23",
      "24",
    ),
    "LeNet: iterative tickets against reinits and random masks",
  ),
  Row("lenet_oneshot", ("4c",), "LeNet: one-shot tickets"),
  Row("lenet_continued", ("9",), "LeNet: reset or continue between prunings"),
  Row(
    "lenet_controls",
    ("17", "18", "25"),
    "LeNet: what of the initialization matters",
  ),
  Row(
    "lenet_sgd_controls",
    ("17",),
    "LeNet: what of the initialization matters to gradient descent",
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
      Point(
        f"{rate:g}",
        f"--rates=output={rate / 2:g},kernel={rate:g} "
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
      ("1", "5", "6", "10", "13", "14", "37"),
      f"Conv-{n}: tickets against reinits and random masks",
    )
    for n in (2, 4, 6)
  ),
  *(
    Row(f"conv{n}_dropout", ("6",), f"Conv-{n}: tickets and dropout")
    for n in (2, 4, 6)
  ),
  *(
    Row(
      f"conv{n}_continued",
      ("10",),
      f"Conv-{n}: reset or continue between prunings",
    )
    for n in (2, 4, 6)
  ),
  *(
    Row(f"conv{n}_{name}", (figure,), f"Conv-{n}: {what}", points)
    for name, figure, what, points in _CONV_SWEEPS
    for n in (2, 4, 6)
  ),
  *(
    Row(f"conv{n}_{part}", ("37",), f"Conv-{n}: {part.replace('_', ' ')}")
    for n in (2, 4, 6)
    for part in ("conv_only", "fc_only")
  ),
  Row("resnet20", ("8",), "ResNet-20 at a high learning rate"),
  Row("resnet20_low", ("8",), "ResNet-20 at a low learning rate"),
  Row("resnet20_warmup", ("8", "39"), "ResNet-20 with warm-up"),
  Row(
    "resnet20_warmup_high",
    ("8",),
    "ResNet-20 with warm-up at a high learning rate",
  ),
  Row(
    "resnet20_layerwise",
    ("39", "41"),
    "ResNet-20 pruned layer by layer, with warm-up",
  ),
  Row(
    "resnet20_layerwise_high",
    ("41",),
    "ResNet-20 pruned layer by layer, at a high learning rate",
  ),
  Row(
    "resnet20_layerwise_low",
    ("41",),
    "ResNet-20 pruned layer by layer, at a low learning rate",
  ),
  # There are tickets at 0.01 and below only.
  Row(
    "resnet20_rates",
    ("42",),
    "ResNet-20: learning rate",
    _points("learning_rate", "0.003 0.01 0.03 0.1"),
  ),
  Row(
    "resnet20_warmups",
    ("44",),
    "ResNet-20: steps of warm-up, of 30,000",
    _warmups(steps=30_000),
  ),
  Row("vgg19", ("7",), "VGG-19 at a high learning rate"),
  Row("vgg19_low", ("7",), "VGG-19 at a low learning rate"),
  Row("vgg19_warmup", ("7", "38"), "VGG-19 with warm-up"),
  Row(
    "vgg19_layerwise",
    ("38", "40"),
    "VGG-19 pruned layer by layer, with warm-up",
  ),
  Row(
    "vgg19_layerwise_high",
    ("40",),
    "VGG-19 pruned layer by layer, at a high learning rate",
  ),
  Row(
    "vgg19_layerwise_low",
    ("40",),
    "VGG-19 pruned layer by layer, at a low learning rate",
  ),
  Row(
    "vgg19_rates",
    ("43",),
    "VGG-19: learning rate",
    _points("learning_rate", "0.003 0.01 0.03 0.1"),
  ),
  Row(
    "vgg19_warmups",
    ("45",),
    "VGG-19: steps of warm-up, of 112,480",
    _warmups(steps=112_480),
  ),
)


@functools.cache
def runs(row: Row, scale: str) -> tuple[Run, ...]:
  """Lists the runs of a row.

  Args:
    row: one of `ROWS`.
    scale: one of `SCALES`.

  Raises:
    InputError: a flagfile is missing or wrong, or two points of a sweep are the
      same run.
  """
  if not _FLAGS.is_dir():
    raise errors.InputError(
      f"There is no folder {_FLAGS} here; start this from the top of a clone."
    )
  flagfile = f"--flagfile={_FLAGS / row.name / scale}.flags"
  if not row.points:
    return (Run(row.name, (flagfile,)),)
  found = tuple(
    Run(f"{row.name}_{point.name}", (flagfile, *_changes(point, flagfile)))
    for point in row.points
  )
  names: dict[str, str] = {}
  for run in found:
    other = names.setdefault(configs.run_id(config(run)), run.name)
    if other != run.name:
      raise errors.InputError(
        f"{row.name}: {other} and {run.name} are the same run; take one of the "
        "points out of the catalog."
      )
  return found


def _changes(point: Point, flagfile: str) -> list[str]:
  if point.warmup is None:
    return point.flags.split()
  steps = flags.parse([flagfile]).training.steps
  return [f"--warmup={round(point.warmup * steps)}"]


def config(run: Run) -> Config:
  """Returns the config of a run.

  Raises:
    InputError: a flagfile is missing or wrong.
  """
  return flags.parse(run.arguments)


def num_trainings(config: Config) -> int:
  """Returns how many trainings a run is made of."""
  return sum(
    len(plan.of_round(config, replicate, index))
    for replicate in plan.replicates(config)
    for index in range(config.study.rounds + 1)
  )


def find(figure: str) -> list[Row]:
  """Lists the rows that a figure needs.

  Args:
    figure: such as "4a" or "25"; `NETWORKS` needs none.

  Raises:
    InputError: there is no such figure.
  """
  known = {name for row in ROWS for name in _spread(row.figures)} | {NETWORKS}
  if figure not in known:
    raise errors.InputError(
      f"--figure={figure}: there is none; known are "
      f"{', '.join(sorted(known, key=_order))}."
    )
  return [row for row in ROWS if figure in _spread(row.figures)]


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
