"""A network and data of one's own: a small MLP on arrays of an .npz file.

  python -m experiments.mnist_lenet --module=examples/mlp.py --model=mlp \
    --dataset=arrays --data_dir=DATA --num_valid=200 --steps=2000 \
    --workdir=runs/mlp

`DATA/arrays.npz` has x_train, y_train, x_test and y_test: uint8 images of one
size, and labels from 0. The rates of --rates are by leaf names: `output` is the
leaf that `mlp` names, `kernel` every other.
"""

import pathlib

import flax.linen as nn
import jax
import numpy as np

from lth_jax import data, models


class MLP(nn.Module):
  """Two hidden layers with layer normalization."""

  num_classes: int

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    """Returns logits."""
    x = images.reshape(len(images), -1)
    for width in (64, 32):
      x = nn.gelu(nn.LayerNorm()(nn.Dense(width)(x)))
    return nn.Dense(self.num_classes)(x)


def mlp(
  image_shape: tuple[int, ...], num_classes: int, options: models.Options
) -> models.Model:
  """Returns the network for images of one shape."""
  return models.from_linen(MLP(num_classes), image_shape, "Dense_2/kernel")


def arrays(data_dir: str) -> data.Dataset:
  """Returns the images of `arrays.npz`."""
  with np.load(pathlib.Path(data_dir) / "arrays.npz") as found:
    parts = [
      data.Examples(
        found[f"x_{part}"].reshape(*found[f"x_{part}"].shape[:3], -1),
        found[f"y_{part}"].astype(np.int32),
      )
      for part in ("train", "test")
    ]
  num_classes = int(parts[0].labels.max()) + 1
  return data.Dataset("arrays", *parts, num_classes, source="npz")
