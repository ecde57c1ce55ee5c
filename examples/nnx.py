"""A convolutional network in Flax NNX.

  python -m experiments.mnist_lenet --module=examples/nnx.py \
    --model=convolutions --dataset=mnist_10k --num_valid=1000 --steps=1000 \
    --workdir=runs/nnx

Images are those of any data set that `--dataset` knows.
"""

import jax
from flax import nnx

from lth_jax import models


class Convolutions(nnx.Module):
  """Two convolutions with batch normalization, and a dense layer."""

  def __init__(self, channels: int, num_classes: int, rngs: nnx.Rngs):
    self.first = nnx.Conv(channels, 8, (3, 3), strides=2, rngs=rngs)
    self.norm = nnx.BatchNorm(8, rngs=rngs)
    self.second = nnx.Conv(8, 16, (3, 3), strides=2, rngs=rngs)
    self.dropout = nnx.Dropout(0.2, rngs=rngs)
    self.output = nnx.Linear(16, num_classes, rngs=rngs)

  def __call__(self, images: jax.Array) -> jax.Array:
    """Returns logits."""
    x = nnx.relu(self.norm(self.first(images)))
    x = nnx.relu(self.second(x))
    return self.output(self.dropout(x.mean((1, 2))))


def convolutions(
  image_shape: tuple[int, ...], num_classes: int, options: models.Options
) -> models.Model:
  """Returns the network for images of one shape."""
  channels = image_shape[-1]
  return models.from_nnx(
    lambda rngs: Convolutions(channels, num_classes, rngs), "output/kernel"
  )
