"""What a config must be, before data or network are looked at."""

import math
from collections.abc import Iterator
from typing import Literal, get_args, get_origin

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.config.configs import Config


def check(config: Config) -> None:
  """Checks all that can be checked without data or network.

  Args:
    config: what a person asked for.

  Raises:
    InputError: a field is wrong; the message names it, and what would do.

  >>> check(configs.from_flat({"batch_size": 0}))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: --batch_size=0: must be at least 1.
  """
  configs.rules(config)
  for faults in (_names, _ranges, _size, _conflicts):
    for fault in faults(config):
      raise errors.InputError(fault)


def _names(config: Config) -> Iterator[str]:
  """Choices that are none."""
  for name, (section, _, kind) in configs.fields(config).items():
    value = getattr(getattr(config, section), name)
    if get_origin(kind) is Literal and value not in get_args(kind):
      yield errors.unknown(f"value of --{name}", value, get_args(kind))
  for arm in config.study.arms:
    if arm not in configs.ARMS:
      yield errors.unknown("arm in --arms", arm, configs.ARMS)


def _ranges(config: Config) -> Iterator[str]:
  """Single fields out of their range."""
  known = configs.fields(config)
  for name, allowed, what in _RANGES:
    value = getattr(getattr(config, known[name][0]), name)
    if not allowed(value):
      yield f"--{name}={configs.show(value)}: must be {what}."


def _size(config: Config) -> Iterator[str]:
  """More than anyone trains."""
  plan = config.study
  kinds = len(plan.arms) + plan.reinits + len(plan.noise)
  if plan.replicates * (plan.rounds + 1) * kinds > _MAX_TRIALS:
    yield (
      f"--replicates={plan.replicates}: with --rounds={plan.rounds}, "
      f"--reinits={plan.reinits} and the other arms these are more than "
      f"{_MAX_TRIALS:,} trainings; ask for fewer."
    )


def _conflicts(config: Config) -> Iterator[str]:
  """Fields that do not go together."""
  plan, settings = config.study, config.training
  late = [r for r in plan.control_rounds if r > plan.rounds]
  if late:
    yield (
      f"--control_rounds={configs.show(plan.control_rounds)}: there is no "
      f"round {late[0]} of --rounds={plan.rounds}; leave it out."
    )
  if settings.warmup > settings.steps:
    yield (
      f"--warmup={settings.warmup}: longer than the run, whose --steps is "
      f"{settings.steps}; shorten it."
    )
  if settings.drops and settings.drops[-1] >= settings.steps:
    yield (
      f"--drops={configs.show(settings.drops)}: step {settings.drops[-1]} is "
      f"not before the end of the run, whose --steps is {settings.steps}; "
      "leave it out."
    )
  if settings.batch_size % config.execution.batch_devices:
    yield (
      f"--batch_devices={config.execution.batch_devices}: does not divide "
      f"--batch_size={settings.batch_size}, of which each is to have a part."
    )
  if config.model.dropout and not config.model.model.startswith("conv"):
    yield (
      f"--dropout={config.model.dropout}: {config.model.model} has none; it "
      "is for --model=conv2, conv4 and conv6."
    )
  if "noise" in plan.arms and not plan.noise:
    yield (
      "--noise has no level, but --arms asks for 'noise': give some, such as "
      "--noise=0.5,1, or leave the arm out."
    )
  if "ticket" not in plan.arms:
    yield (
      "--arms lacks 'ticket': masks come from tickets, and every control is "
      "compared with one; add it."
    )
  if config.pruning.pruning == "oneshot" and config.pruning.reset != (
    "every_round"
  ):
    yield (
      "--reset=continued needs --pruning=iterative: one-shot pruning has no "
      "rounds to continue over."
    )


def _distinct(items):
  return len(set(items)) == len(items)


def _at_least(low):
  return lambda value: value >= low


def _is_float(value: float) -> bool:
  """Says whether a positive number is one in float32, too."""
  return 1e-37 <= value <= 1e38


# A report lists them all.
_MAX_TRIALS = 100_000
_POSITIVE = (_at_least(1), "at least 1")
_COUNT = (_at_least(0), "at least 0")
_ZERO_OR_FLOAT = (
  lambda value: value == 0 or _is_float(value),
  "0 or positive, from 1e-37 to 1e38",
)
_RANGES = (
  ("num_valid", *_COUNT),
  ("num_train", *_COUNT),
  ("num_test", *_COUNT),
  ("width", lambda width: 0 < width <= 1000, "in (0, 1000]"),
  ("dropout", lambda rate: 0 <= rate < 1, "in [0, 1)"),
  ("init_std", *_ZERO_OR_FLOAT),
  ("warmup", *_COUNT),
  (
    "drops",
    lambda steps: (
      steps == tuple(sorted(set(steps))) and min(steps, default=1) >= 1
    ),
    "steps from 1 on, each later than the one before",
  ),
  ("weight_decay", *_ZERO_OR_FLOAT),
  (
    "noise",
    lambda levels: _distinct(levels) and all(map(_ZERO_OR_FLOAT[0], levels)),
    "different levels of 0 or more, and below 1e38",
  ),
  (
    "hidden",
    lambda widths: all(1 <= w <= 1_000_000 for w in widths),
    "widths in [1, 1000000]",
  ),
  ("steps", lambda steps: 1 <= steps < 2**31, "in [1, 2**31)"),
  ("batch_size", *_POSITIVE),
  ("learning_rate", _is_float, "a positive number, from 1e-37 to 1e38"),
  ("momentum", lambda value: 0 <= value < 1, "in [0, 1)"),
  ("batch_devices", *_POSITIVE),
  ("eval_every", *_POSITIVE),
  ("test_every", *_POSITIVE),
  ("seed", lambda seed: 0 <= seed < 2**32, "in [0, 2**32)"),
  (
    "order_seed",
    lambda seed: seed is None or 0 <= seed < 2**32,
    "in [0, 2**32)",
  ),
  ("rounds", lambda number: 0 <= number <= 1000, "in [0, 1000]"),
  ("replicates", lambda number: 1 <= number <= 10_000, "in [1, 10000]"),
  ("first_replicate", lambda index: 0 <= index < 2**31, "in [0, 2**31)"),
  ("reinits", lambda number: 1 <= number <= 1000, "in [1, 1000]"),
  (
    "arms",
    lambda arms: len(arms) > 0 and _distinct(arms),
    f"one or more of {', '.join(configs.ARMS)}, each once",
  ),
  (
    "control_rounds",
    lambda rounds: all(r >= 1 for r in rounds) and _distinct(rounds),
    "rounds from 1 on, each once",
  ),
  ("devices", *_COUNT),
  ("trials_per_device", lambda trials: 0 <= trials <= 1000, "in [0, 1000]"),
  (
    "checkpoint_minutes",
    lambda minutes: 0 <= minutes < math.inf,
    "0 or more minutes",
  ),
)
