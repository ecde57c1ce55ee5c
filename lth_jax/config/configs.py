"""A whole run as one value: its sections, its flat form and its identity.

The sections `data` to `randomness` are the *identity* of a run: a stored run
that differs in one of their fields is another run. `study` may grow: more
rounds, replicates, arms. `execution` may change: only last bits depend on it.
Field names are unique over all sections, so that flags, `config.json`
and messages use them bare.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lth_jax import errors
from lth_jax.config import checks
from lth_jax.config.checks import show as show
from lth_jax.config.execution import Execution as Execution
from lth_jax.config.execution import Processes as Processes
from lth_jax.config.sections import OUTPUT as OUTPUT
from lth_jax.config.sections import Code as Code
from lth_jax.config.sections import Data as Data
from lth_jax.config.sections import Model as Model
from lth_jax.config.sections import Pruning as Pruning
from lth_jax.config.sections import Randomness as Randomness
from lth_jax.config.sections import Training as Training
from lth_jax.config.study import ARMS as ARMS
from lth_jax.config.study import Study as Study

IDENTITY = ("data", "model", "training", "pruning", "randomness", "code")
SECTIONS = (*IDENTITY, "study", "execution")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
  """A whole run; see the sections.

  Every config that exists is valid as far as that can be known without data
  and network: a wrong field raises an `InputError` that names it, when a
  section or a config is made, by `from_flat`, `dataclasses.replace` or a call.
  """

  data: Data = dataclasses.field(default_factory=Data)
  model: Model = dataclasses.field(default_factory=Model)
  training: Training = dataclasses.field(default_factory=Training)
  pruning: Pruning = dataclasses.field(default_factory=Pruning)
  randomness: Randomness = dataclasses.field(default_factory=Randomness)
  code: Code = dataclasses.field(default_factory=Code)
  study: Study = dataclasses.field(default_factory=Study)
  execution: Execution = dataclasses.field(default_factory=Execution)

  def __post_init__(self):
    """Checks what concerns several sections; each has checked itself."""
    if not (self.execution.module or self.code.code):
      for name, words in own_names(self).items():
        fault = errors.unknown(f"value of --{name}", words[0], built_in(name))
        raise errors.InputError(f"{fault[:-1]}, and functions of a --module.")
    batch_size, parts = self.training.batch_size, self.execution.batch_devices
    if batch_size % parts:
      raise errors.InputError(
        f"--batch_devices={parts}: does not divide --batch_size={batch_size} "
        "into equal parts; choose a divisor."
      )
    asked, rounds = len(self.pruning.densities), self.study.rounds
    if asked and rounds > asked:
      raise errors.InputError(
        f"--rounds={rounds}: --densities has {asked}; ask for --rounds={asked} "
        "or fewer, or give more densities."
      )
    rewind_step, steps = self.pruning.rewind_step, self.training.steps
    if rewind_step >= steps:
      raise errors.InputError(
        f"--rewind_step={rewind_step}: no step is left to train, since --steps "
        f"is {steps}; choose an earlier one."
      )


@functools.cache
def fields() -> dict[str, tuple[str, dataclasses.Field, Any]]:
  """Returns {field name: (section, field, type)} over all sections."""
  return {
    field.name: (section, field, checks.types(kind)[field.name])
    for section, kind in checks.types(Config).items()
    for field in dataclasses.fields(kind)
  }


def built_in(name: str) -> tuple[str, ...]:
  """Returns the built-in values of a field; none if it takes no names."""
  _, field, _ = fields()[name]
  return field.metadata.get("names", ())


def own_names(config: Config) -> dict[str, list[str]]:
  """Returns {field: names} of all values that are not built in."""
  found = {}
  for name, (section, _, _) in fields().items():
    if known := built_in(name):
      asked = checks.words(getattr(getattr(config, section), name))
      found[name] = [x for x in asked if x not in known]
  return {name: words for name, words in found.items() if words}


def to_flat(config: Config) -> dict[str, Any]:
  """Returns {field name: value} with lists for tuples, ready for JSON."""
  values = {
    name: getattr(getattr(config, section), name)
    for name, (section, _, _) in fields().items()
  }
  return {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in values.items()
  }


def from_flat(values: Mapping[str, Any]) -> Config:
  """Returns a valid config; fields that `values` lacks keep their default.

  Raises:
    InputError: names the field that is unknown or wrong, and the remedy.

  >>> config = from_flat({"hidden": [20, 10], "steps": 100})
  >>> config.model.hidden, config.training.steps, config.training.batch_size
  ((20, 10), 100, 60)
  >>> from_flat({"batch_size": 0})
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: --batch_size=0: must be at least 1.
  """
  parts: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
  for name, value in values.items():
    if name not in fields():
      raise errors.InputError(errors.unknown("field", name, fields()))
    section, _, _ = fields()[name]
    parts[section][name] = tuple(value) if isinstance(value, list) else value
  config = Config(
    **{name: kind(**parts[name]) for name, kind in checks.types(Config).items()}
  )
  rates = _renamed(config.pruning.rates, _old_output(config.model), OUTPUT)
  return dataclasses.replace(
    config, pruning=dataclasses.replace(config.pruning, rates=rates)
  )


def identity(config: Config) -> dict[str, Any]:
  """Returns {field name: value} of the sections in `IDENTITY`."""
  flat = to_flat(config)
  return {name: flat[name] for name in flat if fields()[name][0] in IDENTITY}


# Defaults that have changed: what no flag said is in no old id.
_OLD_DEFAULTS = {"order": "shared"}


def run_id(config: Config) -> str:
  """Returns 16 hexadecimal digits for the identity's non-default fields.

  A field added later with a default that keeps behaviour renames no old run,
  nor does another default, nor the rule `output`, which counts as the pattern
  that it replaced.
  """

  def counted(config):
    rates = _renamed(config.pruning.rates, OUTPUT, _old_output(config.model))
    return identity(config) | {"rates": list(rates)}

  default = counted(Config()) | _OLD_DEFAULTS
  changed = {
    name: value
    for name, value in counted(config).items()
    if value != default[name]
  }
  text = json.dumps(changed, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(runs: Sequence[Config]) -> list[dict[str, Any]]:
  """Returns {field name: value} of each run, for the fields that differ.

  `execution` does not count, since no result depends on it.
  """
  flat = [to_flat(run) for run in runs]
  names = [
    name
    for name, (section, _, _) in fields().items()
    if section != "execution" and any(x[name] != flat[0][name] for x in flat)
  ]
  return [{name: each[name] for name in names} for each in flat]


def rules(config: Config, output: str = "") -> list[tuple[str, float]]:
  """Returns `rates` as (pattern, rate) pairs.

  The name of the output layer's kernel, if given, replaces the pattern
  `output`; that rule then comes first, so that no other decides that leaf.

  >>> rules(Config(), "Dense_2/kernel")
  [('^Dense_2/kernel$', 0.1), ('kernel', 0.2)]
  """
  parts = [rule.rpartition("=") for rule in config.pruning.rates]
  parsed = [(pattern, float(rate)) for pattern, _, rate in parts]
  parsed.sort(key=lambda rule: rule[0] != OUTPUT)
  exact = f"^{re.escape(output)}$" if output else OUTPUT
  return [(exact if name == OUTPUT else name, rate) for name, rate in parsed]


def _old_output(model: Model) -> str:
  """Returns the output layer's pattern in configs from before `OUTPUT`."""
  if model.model in ("resnet20", "vgg19"):
    return "Dense"
  fixed = model.model in ("conv2", "conv4", "conv6")
  fixed |= model.model == "lenet" and len(model.hidden) == 2
  return "Dense_2/kernel" if fixed else OUTPUT


def _renamed(rates: Sequence[str], old: str, new: str) -> tuple[str, ...]:
  parts = [rule.rpartition("=") for rule in rates]
  return tuple(
    (new if pattern == old else pattern) + equals + rate
    for pattern, equals, rate in parts
  )
