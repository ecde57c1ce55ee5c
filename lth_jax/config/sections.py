"""The sections of a config: frozen dataclasses, plain data, one idea each.

A section whose values no run can have cannot be made: `InputError` names the
field and the remedy. Each field has a help text and a range; rules between
fields of a section follow its fields.
"""

import dataclasses
from collections.abc import Iterator
from typing import Literal

from lth_jax.config import checks
from lth_jax.config.checks import Range

OUTPUT = "output"  # in a rule of `rates`: the kernel of the output layer
# Kinds of data of one's own: npz:FILE, idx:FOLDER, folder:FOLDER.
OWN_DATA = ("npz", "idx", "folder")


def _has_path(dataset: str) -> bool:
  """Returns whether a name tells where data of one's own lie.

  A run has its name on every machine, wherever its data lie.
  """
  kind, colon, path = dataset.partition(":")
  is_own = bool(colon) and kind in OWN_DATA
  return is_own and ("/" in path or path in ("", ".", "..", "~"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(checks.Section):
  """The images."""

  dataset: str = checks.field(
    "mnist",
    "Data set: mnist_10k (bundled), mnist, fashion_mnist, cifar10, cifar100, "
    "a TFDS image-classification set, or data of your own: npz:FILE, "
    "idx:FOLDER, folder:FOLDER. Of a path, the last part names the run, and "
    "the rest becomes --data_dir.",
    Range(
      lambda name: not _has_path(name),
      "npz:FILE, idx:FOLDER or folder:FOLDER without the folder that it lies "
      "in, which --data_dir names",
    ),
  )
  num_valid: int = checks.field(
    5000,
    "Training images set aside for validation; 0 for none, and then "
    "there is no early-stopping step.",
    checks.at_least(0),
  )
  num_train: int = checks.field(
    0,
    "Images to train on, the first ones of the data set; 0 for all.",
    checks.at_least(0),
  )
  num_test: int = checks.field(
    0, "Test images, the first ones; 0 for all.", checks.at_least(0)
  )
  scaling: Literal["unit", "standard", "l2"] = checks.field(
    "unit",
    "Pixels as numbers: 'unit' divides by 255; 'standard' then has "
    "mean 0 and standard deviation 1 a channel; 'l2' divides an image by its "
    "Euclidean norm.",
  )
  augment: str = checks.choice(
    "none",
    "'crop_flip' pads each training image by 4 pixels, crops it at random and "
    "flips half of them.",
    ("none", "crop_flip"),
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(checks.Section):
  """The network."""

  model: str = checks.choice(
    "lenet",
    "Network; the paper's Resnet-18 is 'resnet20'.",
    ("lenet", "conv2", "conv4", "conv6", "resnet20", "vgg19"),
  )
  hidden: tuple[int, ...] = checks.field(
    (300, 100),
    "Widths of LeNet's hidden layers.",
    Range(
      lambda widths: all(1 <= w <= 1_000_000 for w in widths),
      "widths in [1, 1000000]",
    ),
  )
  width: float = checks.field(
    1.0,
    "Factor for the channels and hidden widths of every layer.",
    Range(lambda width: 0 < width <= 1000, "in (0, 1000]"),
  )
  dropout: float = checks.field(
    0.0,
    "Dropout rate before each dense layer of conv2, conv4 and conv6.",
    checks.FRACTION,
  )
  init_std: float = checks.field(
    0.0,
    "Standard deviation of the normal distribution that all kernels are drawn "
    "from; 0 for Glorot's normal distribution.",
    checks.ZERO_OR_FLOAT,
  )

  def _conflicts(self) -> Iterator[str]:
    if self.dropout and self.model in ("lenet", "resnet20", "vgg19"):
      yield (
        f"--dropout={self.dropout}: {self.model} has none; it is for "
        "--model=conv2, conv4 and conv6."
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(checks.Section):
  """One training run; the defaults are the paper's (figure 2)."""

  steps: int = checks.field(
    50_000,
    "Training steps of every run.",
    Range(lambda steps: 1 <= steps < 2**31, "in [1, 2**31)"),
  )
  batch_size: int = checks.field(60, "Images a step.", checks.at_least(1))
  optimizer: str = checks.choice(
    "adam", "Optimizer.", ("adam", "sgd", "momentum", "nesterov")
  )
  learning_rate: float = checks.field(
    1.2e-3, "Learning rate.", checks.POSITIVE_FLOAT
  )
  warmup: int = checks.field(
    0,
    "Steps over which the learning rate rises linearly from 0.",
    checks.at_least(0),
  )
  drops: tuple[int, ...] = checks.field(
    (),
    "Steps at which the learning rate drops to a tenth.",
    Range(
      lambda steps: (
        steps == tuple(sorted(set(steps))) and min(steps, default=1) >= 1
      ),
      "steps from 1 on, each later than the one before",
    ),
  )
  weight_decay: float = checks.field(
    0.0,
    "Factor of the weights that is added to their gradients.",
    checks.ZERO_OR_FLOAT,
  )
  momentum: float = checks.field(
    0.9, "Momentum of 'momentum' and 'nesterov'.", checks.FRACTION
  )
  eval_every: int = checks.field(
    100,
    "Steps between evaluations on the validation images.",
    checks.at_least(1),
  )
  test_every: int = checks.field(
    1000,
    "Steps between evaluations on the test images, for curves; test "
    "accuracy at the early-stopping step and at the end is always measured.",
    checks.at_least(1),
  )
  matmul_precision: Literal["highest", "default"] = checks.field(
    "highest",
    "Precision of matrix products; 'highest' is float32 on every "
    "backend, 'default' is faster and less on TPU and GPU.",
  )

  def _conflicts(self) -> Iterator[str]:
    if self.warmup > self.steps:
      yield (
        f"--warmup={self.warmup}: longer than the run, whose --steps is "
        f"{self.steps}; shorten it."
      )
    if self.drops and self.drops[-1] >= self.steps:
      yield (
        f"--drops={checks.show(self.drops)}: step {self.drops[-1]} is not "
        f"before the end of the run, whose --steps is {self.steps}; leave it "
        "out."
      )


def _is_rule(rule: str) -> bool:
  pattern, equals, rate = rule.rpartition("=")
  try:
    return bool(pattern and equals) and 0 <= float(rate) < 1
  except ValueError:
    return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pruning(checks.Section):
  """From trained weights to masks; the defaults are the paper's (figure 2)."""

  rates: tuple[str, ...] = checks.field(
    ("output=0.1", "kernel=0.2"),
    "Fractions of the survivors pruned a round, as pattern=rate; 'output' is "
    "the output layer of any network, every other pattern is searched in the "
    "leaf name, and the first that matches decides.",
    Range(
      lambda rules: all(map(_is_rule, rules)),
      "pattern=rate with rates in [0, 1), such as output=0.1,kernel=0.2",
    ),
  )
  score: str = checks.choice(
    "magnitude",
    "Importance of a trained weight; the least important are pruned.",
    ("magnitude",),
  )
  densities: tuple[float, ...] = checks.field(
    (),
    "Densities of rounds 1, 2, ... in the place of the ladder that --rates "
    "give alone; the rates then decide the proportions of the layers.",
    Range(
      lambda found: (
        all(0 < density < 1 for density in found)
        and list(found) == sorted(set(found), reverse=True)
      ),
      "fractions in (0, 1), each smaller than the one before",
    ),
  )
  scope: Literal["layer", "global"] = checks.field(
    "layer", "Whether weights compete within their layer or all together."
  )
  pruning: Literal["iterative", "oneshot"] = checks.field(
    "iterative", "Prune a round at a time, or from the dense network at once."
  )
  reset: Literal["every_round", "continued"] = checks.field(
    "every_round",
    "Reset weights after every pruning, or search by continued "
    "training and reset only to evaluate (appendix B).",
  )
  rewind_step: int = checks.field(
    0,
    "Step k at which every round begins: the dense network is trained to it "
    "once, and schedule and batch order go on at it. 0 is the initialization.",
    checks.INDEX,
  )
  retrain: Literal["rewind", "lr_rewind", "finetune"] = checks.field(
    "rewind",
    "What is trained again after pruning, from --rewind_step to --steps: "
    "'rewind' the weights of that step; 'lr_rewind' the trained weights, with "
    "the learning rates from that step on; 'finetune' the trained weights, at "
    "the last learning rate.",
  )
  optimizer_state: Literal["fresh", "rewound"] = checks.field(
    "fresh", "State of the optimizer at --rewind_step: zero, or as it was."
  )

  def _conflicts(self) -> Iterator[str]:
    if self.retrain != "rewind" and self.reset != "every_round":
      yield (
        f"--retrain={self.retrain} needs --reset=every_round: 'continued' "
        "resets the weights of each density that it evaluates."
      )
    if self.optimizer_state == "rewound" and (
      self.retrain != "rewind" or not self.rewind_step
    ):
      yield (
        "--optimizer_state=rewound needs --retrain=rewind and a --rewind_step: "
        "it is the state that belongs to the weights of that step."
      )
    if self.pruning == "oneshot" and self.reset != "every_round":
      yield (
        "--reset=continued needs --pruning=iterative: one-shot pruning has no "
        "rounds to continue over."
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Randomness(checks.Section):
  """Seeds; see `lth_jax.lottery.keys` for what each decides."""

  seed: int = checks.field(
    0, "Seed of everything random, 0 to 2**32 - 1.", checks.SEED
  )
  order_seed: int | None = checks.field(
    None, "Seed of batch order and noise; by default `seed`.", checks.SEED
  )
  order: Literal["per_round", "shared"] = checks.field(
    "per_round",
    "Whether each round has its own batch order, or all share one; arms of a "
    "round always share it.",
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Code(checks.Section):
  """Code of one's own that decides results."""

  code: str = checks.field(
    "",
    "File and digest of the functions of --module that a run uses; filled in, "
    "and compared when the run is resumed.",
  )
