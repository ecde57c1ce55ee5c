"""A convolution whose gradients are as fast on CPU as its value."""

import functools
import math

import jax
import jax.numpy as jnp

from lth_jax.models.cpu import winograd

# Bytes of shifted images held at once for the kernel's gradient: they should
# stay in the cache. Best of the sizes tried on a core with 1 MiB of L2.
_CHUNK_BYTES = 1_700_000
# Bytes of images that Winograd's algorithm takes at once; no fewer than the
# kernel's, which is read for each chunk.
_WINOGRAD_BYTES = 600_000
# With fewer channels the transforms cost more than the products save.
_WINOGRAD_CHANNELS = 32
_LAYOUT = ("NHWC", "HWIO", "NHWC")


@jax.custom_vjp
def convolve(images: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves with stride 1 and as many outputs as inputs (`SAME` padding).

  XLA's CPU backend has a fast routine for this, but not for the gradients that
  JAX derives from it (jax issue 12868). Here the input's gradient is such a
  convolution again; the kernel's is, on CPU, a sum of matrix products over a
  few images at a time. Also on CPU only, `winograd` does 3x3 kernels of many
  channels. Under `jax.jit` an input gradient that nobody uses, as in the first
  layer, costs nothing.

  Args:
    images: `[B, H, W, C]`.
    kernel: `[K, L, C, N]`, K and L odd.

  Returns:
    `[B, H, W, N]`.

  >>> images, kernel = jnp.ones((1, 3, 3, 2)), jnp.ones((3, 3, 2, 1))
  >>> convolve(images, kernel)[0, :, :, 0]
  Array([[ 8., 12.,  8.],
         [12., 18., 12.],
         [ 8., 12.,  8.]], dtype=float32)
  """
  if not _suits_winograd(kernel.shape):
    return _native(images, kernel)
  chunk = _winograd_chunk(images, kernel.shape)
  return jax.lax.platform_dependent(
    images,
    kernel,
    cpu=functools.partial(winograd.convolve, chunk=chunk),
    default=_native,
  )


def _forward(images, kernel):
  return convolve(images, kernel), (images, kernel)


def _backward(residuals, grad):
  images, kernel = residuals
  flipped = kernel[::-1, ::-1].swapaxes(2, 3)
  on_cpu = functools.partial(_products, shape=kernel.shape)
  if _suits_winograd(kernel.shape):
    chunk = _winograd_chunk(images, kernel.shape)
    on_cpu = functools.partial(winograd.kernel_gradient, chunk=chunk)
  kernel_gradient = jax.lax.platform_dependent(
    images,
    grad,
    cpu=on_cpu,
    default=functools.partial(_native_kernel_gradient, kernel),
  )
  return convolve(grad, flipped), kernel_gradient


convolve.defvjp(_forward, _backward)


def _native(images, kernel):
  rows, columns = kernel.shape[:2]
  padding = "SAME"
  if images.shape[1] < rows or images.shape[2] < columns:
    # The fast routine takes no image smaller than the kernel, and XLA would
    # fold the padding back into it.
    images = jax.lax.optimization_barrier(_pad(images, rows, columns))
    padding = "VALID"
  return jax.lax.conv_general_dilated(
    images, kernel, (1, 1), padding, dimension_numbers=_LAYOUT
  )


def _native_kernel_gradient(kernel, images, grad):
  (gradient,) = jax.linear_transpose(lambda k: _native(images, k), kernel)(grad)
  return gradient


def _suits_winograd(shape):
  return shape[:2] == (3, 3) and min(shape[2:]) >= _WINOGRAD_CHANNELS


def _winograd_chunk(images, shape):
  """Images that Winograd's algorithm takes at once."""
  itemsize = images.dtype.itemsize
  wanted = max(_WINOGRAD_BYTES, itemsize * math.prod(shape))
  return _divisor(
    len(images), wanted // (itemsize * math.prod(images.shape[1:]))
  )


def _products(images, grad, shape):
  """The kernel's gradient as products of shifted images."""
  rows, columns, num_in, num_out = shape
  batch, height, width = grad.shape[:3]
  image_bytes = images.dtype.itemsize * height * width * columns * num_in
  chunk = _divisor(batch, _CHUNK_BYTES // image_bytes)
  few = columns * num_in < num_out

  def add(total, inputs):
    x, grad = inputs
    x = _pad(x, rows, columns)
    x = jnp.concatenate([x[:, :, j : j + width] for j in range(columns)], -1)
    shifted = [
      x[:, i : i + height].reshape(-1, x.shape[-1]) for i in range(rows)
    ]
    grad = grad.reshape(-1, num_out)
    if few:
      products = [x.T @ grad for x in shifted]
    else:
      # Transposed before the product, not by it: up to a quarter less time.
      grad = jax.lax.optimization_barrier(grad.T)
      products = [grad @ x for x in shifted]
    return total + jnp.stack(products), None

  chunks = [x.reshape(-1, chunk, *x.shape[1:]) for x in (images, grad)]
  shape = (columns * num_in, num_out) if few else (num_out, columns * num_in)
  total, _ = jax.lax.scan(add, jnp.zeros((rows, *shape), images.dtype), chunks)
  total = total if few else total.swapaxes(1, 2)
  return total.reshape(rows, columns, num_in, num_out)


def _pad(images, rows, columns):
  return jnp.pad(
    images, ((0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0))
  )


def _divisor(number, limit):
  """The largest divisor of a number that is not above a limit; 1 if none."""
  limit = min(max(limit, 1), number)
  return next(d for d in range(limit, 0, -1) if number % d == 0)
