"""How long the trainings of the paper take, before anything is started."""

import math

from lth_jax.config.configs import Config

# Milliseconds a step, by model and width: measured on 2 CPU cores, evaluation
# included, at so many images a step.
_MILLISECONDS = {
  "lenet": (60, {1.0: 0.71}),
  "conv2": (60, {1.0: 70.0, 0.25: 14.4}),
  "conv4": (60, {1.0: 122.0}),
  "conv6": (60, {1.0: 183.0}),
  "resnet20": (128, {1.0: 338.0, 0.5: 144.0}),
  "vgg19": (64, {1.0: 1259.0, 0.125: 31.0}),
}


def seconds(config: Config) -> float:
  """Estimates how long one training takes on 2 CPU cores.

  Args:
    config: of its run; hidden layers count as those of the paper.

  >>> from lth_jax.config import configs
  >>> round(seconds(configs.from_flat({"model": "conv2", "steps": 1000})))
  70
  """
  asked, width = config.training, config.model.width
  images, known = _MILLISECONDS[config.model.model]
  nearest = min(known, key=lambda each: abs(math.log(each / width)))
  step = known[nearest] * width / nearest * asked.batch_size / images
  return asked.steps * step / 1000
