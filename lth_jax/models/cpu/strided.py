"""A convolution with a stride that is fast on CPU, gradients included."""

import functools

import jax
import jax.numpy as jnp


def convolve(
  images: jax.Array, kernel: jax.Array, strides: tuple[int, int]
) -> jax.Array:
  """Convolves around every second pixel, or as far apart as the strides say.

  The result is that of `convolution.convolve` at the pixels 0, stride,
  2 stride, ... It is one product of patches and kernel, from which JAX derives
  gradients that are products too. XLA's own gradients of a convolution with a
  stride take 30 to 40 times as long on CPU inside a loop. On GPU and TPU XLA's
  convolution is used; XLA for GPU aborts on that product (jaxlib 0.11.2).

  Args:
    images: `[B, H, W, C]`.
    kernel: `[K, L, C, N]`, K and L odd.
    strides: of rows and columns.

  Returns:
    `[B, ceil(H / strides[0]), ceil(W / strides[1]), N]`.

  >>> images, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 1))
  >>> convolve(images, kernel, (2, 2))[0, :, :, 0]
  Array([[ 8., 12.],
         [12., 18.]], dtype=float32)
  """
  return jax.lax.platform_dependent(
    images,
    kernel,
    cpu=functools.partial(_products, strides=strides),
    default=functools.partial(_native, strides=strides),
  )


def _native(images, kernel, strides):
  return jax.lax.conv_general_dilated(
    images,
    kernel,
    strides,
    [(size // 2, size // 2) for size in kernel.shape[:2]],
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def _products(images, kernel, strides):
  rows, columns, _, num_out = kernel.shape
  _, height, width, _ = images.shape
  down, right = strides
  padded = jnp.pad(
    images, ((0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0))
  )
  shifted = [
    padded[:, i : i + height : down, j : j + width : right]
    for i in range(rows)
    for j in range(columns)
  ]
  return jnp.concatenate(shifted, -1) @ kernel.reshape(-1, num_out)
