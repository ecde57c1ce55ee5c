"""Loss and accuracy of a set of weights on a set of images."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lth_jax import models
from lth_jax.data import order
from lth_jax.training import sharding

PyTree = Any
Array = jax.Array | np.ndarray


# (logits [B, num_classes], labels [B]) -> losses [B]
cross_entropy = optax.softmax_cross_entropy_with_integer_labels


class Metric(NamedTuple):
  """Mean loss, float32, and number of images classified correctly, int32."""

  loss: Array
  num_correct: Array


# Of a split that was not measured.
NO_METRIC = Metric(np.array(np.nan, np.float32), np.array(-1, np.int32))


class Metrics(NamedTuple):
  """The three splits at one set of weights."""

  train: Metric
  valid: Metric
  test: Metric


class NumImages(NamedTuple):
  """Number of images of each split."""

  train: int
  valid: int
  test: int


# uint8 images [B, H, W, C] -> float32 of the same shape
Scale = Callable[[jax.Array], jax.Array]
# (params, stats, images, labels, indices [N]) -> metric of those N images
Evaluate = Callable[[PyTree, PyTree, Array, Array, Array], Metric]


def make(
  model: models.Model, scale: Scale, batch_size: int, num_parts: int = 1
) -> Evaluate:
  """Returns a function that evaluates weights on images.

  The images at `indices`, int32, are evaluated `batch_size` at a time; without
  any index the loss is NaN and no image is correct.

  Args:
    model: the network.
    scale: from uint8 images to the network's input.
    batch_size: B, images evaluated at once; changes memory and speed only.
    num_parts: devices that B is split over; B is rounded up to a multiple.

  >>> from lth_jax import models
  >>> from lth_jax.data import scaling
  >>> images, labels = jnp.zeros((4, 2, 2, 1), jnp.uint8), jnp.arange(4) % 2
  >>> scale = scaling.make("unit", images)
  >>> evaluate = make(models.lenet((2, 2, 1), 2, ()), scale, batch_size=2)
  >>> params = {"Dense_0": {"kernel": jnp.ones((4, 2)), "bias": jnp.zeros(2)}}
  >>> jax.jit(evaluate)(params, {}, images, labels, jnp.array([0, 1, 2]))
  Metric(loss=Array(0.6931472, dtype=float32), \
num_correct=Array(2, dtype=int32))
  """

  def evaluate(params, stats, images, labels, indices):
    num = len(indices)
    if num == 0:
      return Metric(jnp.float32(jnp.nan), jnp.int32(0))
    size = -(-min(batch_size, num) // num_parts) * num_parts
    rows = -(-num // size)
    indices = jnp.pad(indices, (0, rows * size - num)).reshape(rows, size)
    counts = (jnp.arange(rows * size) < num).reshape(rows, size)

    def add(total, row):
      chosen, counts = (sharding.split(part, num_parts) for part in row)
      logits, _ = model.apply(
        params,
        stats,
        scale(order.take(images, chosen)),
        train=False,
        key=jax.random.key(0),  # unused: train is off
      )
      losses = cross_entropy(logits, labels[chosen])
      right = logits.argmax(-1) == labels[chosen]
      return Metric(
        total.loss + jnp.where(counts, losses, 0).sum(),
        total.num_correct + (right & counts).sum(dtype=jnp.int32),
      ), None

    total = Metric(jnp.float32(0), jnp.int32(0))
    total, _ = jax.lax.scan(add, total, (indices, counts))
    return Metric(total.loss / num, total.num_correct)

  return evaluate
