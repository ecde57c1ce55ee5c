"""How long the trainings of the paper take, before anything is started."""

import itertools
import math

from lth_jax import configs
from lth_jax.configs import Config

# Milliseconds a step, by model and width: measured on 2 CPU cores, evaluation
# included, at the paper's batch sizes.
_MILLISECONDS = {
  "lenet": {1.0: 0.71},
  "conv2": {1.0: 70.0, 0.25: 14.4},
  "conv4": {1.0: 122.0},
  "conv6": {1.0: 183.0},
  "resnet20": {1.0: 338.0, 0.5: 144.0},
  "vgg19": {1.0: 1259.0, 0.125: 31.0},
}
# Images a step that these are for, where not 60.
_BATCH_SIZES = {"resnet20": 128, "vgg19": 64}


def seconds(config: Config) -> float:
  """Estimates how long one training takes on 2 CPU cores.

  Args:
    config: of its run.

  >>> round(seconds(configs.from_flat({"model": "conv2", "steps": 1000})))
  70
  """
  asked = config.training
  batches = asked.batch_size / _BATCH_SIZES.get(config.model.model, 60)
  return asked.steps * batches * _milliseconds(config.model) / 1000


def _milliseconds(asked: configs.Model) -> float:
  """Scales what was measured at the nearest width."""
  known = _MILLISECONDS[asked.model]
  nearest = min(known, key=lambda width: abs(math.log(width / asked.width)))
  if asked.model == "lenet":
    default = configs.Model()
    return known[nearest] * _num_weights(asked) / _num_weights(default)
  return known[nearest] * asked.width / nearest


def _num_weights(asked: configs.Model) -> float:
  """Weights of LeNet on MNIST."""
  sizes = 784, *(asked.width * units for units in asked.hidden), 10
  return sum(a * b for a, b in itertools.pairwise(sizes))


def duration(seconds: float) -> str:
  """Formats an estimate.

  Args:
    seconds: how long.

  >>> duration(42), duration(1000), duration(11_500), duration(3_540_000)
  ('42 s', '17 min', '3.2 h', '41 days')
  """
  if seconds < 100:
    return f"{seconds:.0f} s"
  if seconds < 100 * 60:
    return f"{seconds / 60:.0f} min"
  hours = seconds / 3600
  return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"
