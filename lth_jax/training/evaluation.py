"""Loss and accuracy of a set of weights on a set of images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from lth_jax.training import sharding


class Metric(NamedTuple):
  """Mean loss, float32, and number of images classified rightly, int32."""

  loss: jax.Array
  num_correct: jax.Array


class Metrics(NamedTuple):
  """The three splits at one set of weights."""

  train: Metric
  valid: Metric
  test: Metric


class NumImages(NamedTuple):
  """How many images each split has."""

  train: int
  valid: int
  test: int


def make(model, scale, batch_size: int, num_parts: int = 1):
  """Returns (params, stats, images, labels, indices [N]) -> Score.

  The images at `indices`, int32, are evaluated `batch_size` at a time; none of
  them gives a loss of NaN and no correct image.

  Args:
    model: the network, a `models.Model`.
    scale: uint8 images `[B, H, W, C]` to float32.
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
        scale(images[chosen]),
        train=False,
        key=jax.random.key(0),  # consumed by nobody: train is off
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


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns the loss of each image, `[B]`.

  Args:
    logits: `[B, num_classes]`.
    labels: `[B]` int32.

  >>> cross_entropy(jnp.zeros((1, 2)), jnp.array([0]))
  Array([0.6931472], dtype=float32)
  """
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def no_metric() -> Metric:
  """Returns the score of what was not measured: NaN and -1.

  >>> no_metric()
  Metric(loss=Array(nan, dtype=float32), num_correct=Array(-1, dtype=int32))
  """
  return Metric(jnp.float32(jnp.nan), jnp.int32(-1))
