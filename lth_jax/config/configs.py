"""What a run is: frozen dataclasses, plain data, one section an idea.

The sections `data` to `randomness` are the *identity* of a run: a stored run
that differs in one of their fields is another run. `study` may grow: more
rounds, replicates, arms. `execution` may change freely: results do not depend
on it. Field names are unique over all sections, so that flags, `config.json`
and messages use them bare.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lth_jax import errors

ARMS = (
  "ticket",
  "reinit",
  "redraw",
  "noise",
  "random",
  "random_global",
  "magnitude_at_start",
)
IDENTITY = ("data", "model", "training", "pruning", "randomness")
SECTIONS = (*IDENTITY, "study", "execution")
OUTPUT = "output"  # in a rule, the kernel of the output layer


def _field(default: Any, help: str) -> Any:
  return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
  """What is trained on."""

  dataset: str = _field(
    "mnist",
    "Data set: mnist_10k (bundled), mnist, fashion_mnist, cifar10, or a TFDS "
    "image-classification set.",
  )
  num_valid: int = _field(
    5000,
    "Training images set aside for validation; 0 for none, and then "
    "there is no early-stopping step.",
  )
  num_train: int = _field(
    0, "Images to train on, the first ones of the data set; 0 for all."
  )
  num_test: int = _field(0, "Test images, the first ones; 0 for all.")
  scaling: Literal["unit", "standard", "l2"] = _field(
    "unit",
    "Pixels as numbers: 'unit' divides by 255; 'standard' then has "
    "mean 0 and standard deviation 1 a channel; 'l2' divides an image by its "
    "Euclidean norm.",
  )
  augment: Literal["none", "crop_flip"] = _field(
    "none",
    "'crop_flip' pads each training image by 4 pixels, crops it at random and "
    "flips every other one.",
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
  """The network."""

  model: Literal["lenet", "conv2", "conv4", "conv6", "resnet20", "vgg19"] = (
    _field("lenet", "Network; the paper's Resnet-18 is 'resnet20'.")
  )
  hidden: tuple[int, ...] = _field(
    (300, 100), "Widths of LeNet's hidden layers."
  )
  width: float = _field(
    1.0, "Factor for the channels and hidden widths of every layer."
  )
  dropout: float = _field(
    0.0, "Dropout rate before each dense layer of conv2, conv4 and conv6."
  )
  init_std: float = _field(
    0.0,
    "Standard deviation of the normal distribution that all kernels are drawn "
    "from; 0 for Glorot's normal distribution.",
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
  """One training run; the defaults are the paper's (figure 2)."""

  steps: int = _field(50_000, "Training steps of every run.")
  batch_size: int = _field(60, "Images a step.")
  optimizer: Literal["adam", "sgd", "momentum", "nesterov"] = _field(
    "adam", "Optimizer."
  )
  learning_rate: float = _field(1.2e-3, "Learning rate.")
  warmup: int = _field(
    0, "Steps over which the learning rate rises linearly from 0."
  )
  drops: tuple[int, ...] = _field(
    (), "Steps at which the learning rate drops to a tenth."
  )
  weight_decay: float = _field(
    0.0, "Factor of the weights that is added to their gradients."
  )
  momentum: float = _field(0.9, "Momentum of 'momentum' and 'nesterov'.")
  eval_every: int = _field(
    100, "Steps between evaluations on the validation images."
  )
  test_every: int = _field(
    1000,
    "Steps between evaluations on the test images, for curves; test "
    "accuracy at the early-stopping step and at the end is always measured.",
  )
  matmul_precision: Literal["highest", "default"] = _field(
    "highest",
    "Precision of matrix products; 'highest' is float32 on every "
    "backend, 'default' is faster and less on TPU and GPU.",
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pruning:
  """From trained weights to masks; the defaults are the paper's (figure 2)."""

  rates: tuple[str, ...] = _field(
    ("output=0.1", "kernel=0.2"),
    "Fractions of the survivors pruned a round, as pattern=rate; 'output' is "
    "the output layer of any network, every other pattern is searched in the "
    "leaf name, and the first that matches decides.",
  )
  scope: Literal["layer", "global"] = _field(
    "layer", "Whether weights compete within their layer or all together."
  )
  pruning: Literal["iterative", "oneshot"] = _field(
    "iterative", "Prune a round at a time, or from the dense network at once."
  )
  reset: Literal["every_round", "continued"] = _field(
    "every_round",
    "Reset weights after every pruning, or search by continued "
    "training and reset only to evaluate (appendix B).",
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Randomness:
  """Seeds; see `lth_jax.keys` for what each decides."""

  seed: int = _field(0, "Seed of everything random, 0 to 2**32 - 1.")
  order_seed: int | None = _field(
    None, "Seed of batch order and noise; by default `seed`."
  )
  order: Literal["shared", "per_round"] = _field(
    "shared", "Whether all rounds see the batches in one order."
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
  """How much of it; may grow from one call to the next."""

  rounds: int = _field(20, "Prunings after the dense round 0.")
  replicates: int = _field(5, "Independent repetitions.")
  first_replicate: int = _field(0, "Index of the first replicate.")
  arms: tuple[str, ...] = _field(
    ("ticket", "reinit", "random"),
    f"What to train at each density, of {', '.join(ARMS)}; ticket is needed.",
  )
  reinits: int = _field(3, "Fresh draws of weights for each ticket.")
  noise: tuple[float, ...] = _field(
    (0.5, 1.0, 2.0, 3.0),
    "Levels of the arm 'noise': standard deviations of what is added to a "
    "ticket's weights, in those of its layer's initial weights.",
  )
  control_rounds: tuple[int, ...] = _field(
    (), "Rounds at which the controls are trained; by default all."
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
  """How it is computed; results do not depend on it.

  Only last bits depend on `trials_per_device` and `batch_devices`.
  """

  source: Literal["auto", "bundled", "idx", "cifar", "tfds"] = _field(
    "auto",
    "Where the data set is read from: 'bundled' is the package; 'idx' (MNIST, "
    "Fashion-MNIST) and 'cifar' are original files in --data_dir; 'tfds' is "
    "what TFDS prepared; 'auto' takes the first that has it.",
  )
  data_dir: str | None = _field(
    None, "Folder of the original files, or of data that TFDS prepared."
  )
  devices: int = _field(
    0,
    "Devices to train on at once; on CPU one host device a core. 0 takes all.",
  )
  trials_per_device: int = _field(
    0,
    "Training runs that a device trains at once: 1 one after the other, n side "
    "by side under vmap; equal bits need an equal number. 0 is 1 on CPU and, "
    "but for lenet, on GPU; elsewhere the number that the run began with, or "
    "all that could run, at most 32.",
  )
  batch_devices: int = _field(
    1,
    "Devices that split each batch between them, for networks that are large; "
    "equal bits need an equal number.",
  )
  checkpoint_minutes: float = _field(
    5.0, "Minutes between saves inside a training run; 0 saves at every pause."
  )
  progress: Literal["auto", "bar", "log", "none"] = _field(
    "auto",
    "A progress bar, lines, or nothing; 'auto' draws a bar on a "
    "terminal and writes lines elsewhere.",
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
  """The processes that work on a run; no part of it, and stored nowhere."""

  distributed: Literal["off", "auto"] = _field(
    "off",
    "'auto' connects the processes that were started for this run, one a "
    "machine, by jax.distributed.",
  )
  coordinator_address: str | None = _field(
    None,
    "host:port at which process 0 is to be reached; found out on TPUs, under "
    "Slurm's srun and, with the package kubernetes, on Kubernetes.",
  )
  num_processes: int | None = _field(
    None, "How many processes there are; found out likewise."
  )
  process_id: int | None = _field(
    None, "Which of them this is, counted from 0; found out likewise."
  )
  join_seconds: int = _field(
    300,
    "Seconds that a process waits for the others at the start; JAX aborts it a "
    "minute later.",
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
  """A whole run; see the sections."""

  data: Data = Data()
  model: Model = Model()
  training: Training = Training()
  pruning: Pruning = Pruning()
  randomness: Randomness = Randomness()
  study: Study = Study()
  execution: Execution = Execution()


def fields(config: Config) -> dict[str, tuple[str, dataclasses.Field, Any]]:
  """Returns {field name: (section, field, type)} over all sections.

  Args:
    config: any; names and types do not depend on its values.

  >>> section, field, kind = fields(Config())["batch_size"]
  >>> section, field.default, kind, field.metadata["help"]
  ('training', 60, <class 'int'>, 'Images a step.')
  """
  return {
    field.name: (section.name, field, types[field.name])
    for section in dataclasses.fields(config)
    for types in [get_type_hints(section.type)]
    for field in dataclasses.fields(getattr(config, section.name))
  }


def to_flat(config: Config) -> dict[str, Any]:
  """Returns {field name: value} with lists for tuples, ready for JSON.

  Args:
    config: what to write down.

  >>> flat = to_flat(Config(model=Model(hidden=(20, 10))))
  >>> flat["hidden"], flat["optimizer"]
  ([20, 10], 'adam')
  """
  values = {
    name: getattr(getattr(config, section), name)
    for name, (section, _, _) in fields(config).items()
  }
  return {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in values.items()
  }


def from_flat(values: Mapping[str, Any]) -> Config:
  """Inverse of `to_flat`; fields that `values` lacks keep their default.

  Args:
    values: {field name: value}, of any sections.

  Raises:
    InputError: a name is unknown, or a value of the wrong type.

  >>> config = from_flat({"hidden": [20, 10], "steps": 100})
  >>> config.model.hidden, config.training.steps, config.training.batch_size
  ((20, 10), 100, 60)
  >>> from_flat({"step": 100})
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: Unknown field: 'step'; did you mean 'steps'? ...
  """
  known = fields(Config())
  sections: dict[str, dict[str, Any]] = {}
  for name, value in values.items():
    if name not in known:
      raise errors.InputError(errors.unknown("field", name, known))
    value = tuple(value) if isinstance(value, list) else value
    if not _fits(value, known[name][2]):
      raise errors.InputError(f"'{name}' cannot be {value!r}.")
    sections.setdefault(known[name][0], {})[name] = value
  default = Config()
  config = dataclasses.replace(
    default,
    **{
      section: dataclasses.replace(getattr(default, section), **changed)
      for section, changed in sections.items()
    },
  )
  rates = _renamed(config.pruning.rates, _old_output(config.model), OUTPUT)
  return dataclasses.replace(
    config, pruning=dataclasses.replace(config.pruning, rates=rates)
  )


def _old_output(model: Model) -> str:
  """The pattern of the output layer in configs that predate `OUTPUT`."""
  if model.model in ("resnet20", "vgg19"):
    return "Dense"
  fixed = model.model != "lenet" or len(model.hidden) == 2
  return "Dense_2/kernel" if fixed else OUTPUT


def _renamed(rates: Sequence[str], old: str, new: str) -> tuple[str, ...]:
  parts = [rule.rpartition("=") for rule in rates]
  return tuple(
    (new if pattern == old else pattern) + equals + rate
    for pattern, equals, rate in parts
  )


def _fits(value: Any, kind: Any) -> bool:
  """Says whether a value has a field's type; choices are `check`'s matter."""
  if get_origin(kind) is Literal:
    return isinstance(value, str)
  if get_origin(kind) is tuple:
    item = get_args(kind)[0]
    return isinstance(value, tuple) and all(_fits(x, item) for x in value)
  if get_args(kind):  # X | None
    return any(_fits(value, choice) for choice in get_args(kind))
  if isinstance(value, bool):
    return kind is bool
  return isinstance(value, (int, float) if kind is float else kind)


def identity(config: Config) -> dict[str, Any]:
  """Returns the fields that make a run what it is.

  Args:
    config: the run.

  Returns:
    {field name: value} of the sections in `IDENTITY`.

  >>> [name in identity(Config()) for name in ("steps", "rounds", "devices")]
  [True, False, False]
  """
  known = fields(config)
  return {
    name: value
    for name, value in to_flat(config).items()
    if known[name][0] in IDENTITY
  }


def run_id(config: Config) -> str:
  """Returns 16 hexadecimal digits for the identity's non-default fields.

  A field added later with a default that keeps behaviour renames no old run,
  nor does the rule `output`, which counts as the pattern that it replaced.

  Args:
    config: the run.

  >>> run_id(Config()) == run_id(from_flat({"rounds": 3, "devices": 1}))
  True
  >>> run_id(Config()) == run_id(from_flat({"steps": 100}))
  False
  """

  def counted(config):
    old = _old_output(config.model)
    rates = _renamed(config.pruning.rates, OUTPUT, old)
    return identity(config) | {"rates": list(rates)}

  default = counted(Config())
  changed = {
    name: value
    for name, value in counted(config).items()
    if value != default[name]
  }
  text = json.dumps(changed, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(runs: Sequence[Config]) -> list[dict[str, Any]]:
  """Returns, of each of several runs, the fields in which they differ.

  Args:
    runs: to compare; `execution` does not count, since no result depends on it.

  Returns:
    {field name: value} of each run, with the same names; equal for equal runs.

  >>> runs = [from_flat({"steps": 9, "seed": seed}) for seed in (0, 1)]
  >>> differences(runs)
  [{'seed': 0}, {'seed': 1}]
  """
  flat = [to_flat(run) for run in runs]
  names = [
    name
    for name, (section, _, _) in fields(Config()).items()
    if section != "execution" and any(x[name] != flat[0][name] for x in flat)
  ]
  return [{name: each[name] for name in names} for each in flat]


def rules(config: Config, output: str = "") -> list[tuple[str, float]]:
  """Parses `rates` into (pattern, rate) pairs.

  Args:
    config: has them.
    output: name of the output layer's kernel in the network, for which the
      rule `output` stands; that rule then comes first, so that no other
      decides that leaf.

  Raises:
    InputError: a rule has no rate or one outside [0, 1).

  >>> rules(Config(), "Dense_2/kernel")
  [('^Dense_2/kernel$', 0.1), ('kernel', 0.2)]
  """
  parsed = []
  for rule in config.pruning.rates:
    pattern, equals, rate = rule.rpartition("=")
    try:
      value = float(rate)
    except ValueError:
      value = math.nan
    if not equals or not pattern or not 0 <= value < 1:
      raise errors.InputError(
        f"--rates: '{rule}' is not pattern=rate with a rate in [0, 1), such "
        "as 'output=0.1'."
      )
    parsed.append((pattern, value))
  parsed.sort(key=lambda rule: rule[0] != OUTPUT)
  exact = f"^{re.escape(output)}$" if output else OUTPUT
  return [(exact if name == OUTPUT else name, rate) for name, rate in parsed]


def show(value: Any) -> Any:
  """Formats a field as its flag is written.

  Args:
    value: of a config's field.

  Returns:
    A tuple or list joined by commas, anything else as it is.

  >>> show((300, 100)), show(60)
  ('300,100', 60)
  """
  many = isinstance(value, tuple | list)
  return ",".join(map(str, value)) if many else value
