"""From uint8 pixels to the inputs of a network, inside the compiled step."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lth_jax import errors

# `[B, H, W, C]` uint8 -> `[B, H, W, C]` float32
Scale = Callable[[jax.Array], jax.Array]


def make(name: str, images: np.ndarray) -> Scale:
  """Returns the scaling of a name.

  The paper does not tell how it scales pixels; its released code divides an
  image by its norm, others use [0, 1] or standardise.

  >>> images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
  >>> make("standard", images)(images).ravel()
  Array([-1.,  1.], dtype=float32)

  Args:
    name: "unit" for [0, 1]; "standard" for mean 0 and standard deviation 1 of
      each channel over `images`; "l2" for a Euclidean norm of 1 an image.
    images: the training images `[N, H, W, C]`; used by "standard" only.

  Raises:
    InputError: "standard", and a channel is constant.
    ValueError: unknown name.
  """
  match name:
    case "unit":
      return _unit
    case "standard":
      mean, deviation = _moments(images)
      if not deviation.all():
        raise errors.InputError(
          f"--scaling=standard: channel {deviation.argmin()} is the same in "
          "all training images; choose --scaling=unit."
        )
      return _standard(tuple(mean.tolist()), tuple(deviation.tolist()))
    case "l2":
      return _l2
    case _:
      raise ValueError(f"unknown scaling '{name}'")


def _moments(images):
  """Returns mean and standard deviation of each channel, of pixels in [0, 1].

  They follow from exact counts of the 256 values, so that no copy of the images
  as floats is needed.
  """
  values = np.arange(256) / 255
  counts = np.stack(
    [
      np.bincount(images[..., channel].ravel(), minlength=256)
      for channel in range(images.shape[-1])
    ]
  )
  shares = counts / counts.sum(1, keepdims=True)
  mean = shares @ values
  variance = (shares * (values - mean[:, None]) ** 2).sum(1)
  return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


@functools.cache  # an equal function object, so nothing is compiled twice
def _standard(mean, deviation):
  return lambda x: (_unit(x) - _like(mean, x)) / _like(deviation, x)


def _unit(images: jax.Array) -> jax.Array:
  return jnp.asarray(images, jnp.float32) / 255


def _l2(images: jax.Array) -> jax.Array:
  x = _unit(images)
  square = jnp.square(x).sum((1, 2, 3), keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(square, 1e-12))


def _like(channels: Sequence[float], images: jax.Array) -> np.ndarray:
  shape = (1,) * (images.ndim - 1) + (len(channels),)
  return np.array(channels, np.float32).reshape(shape)
