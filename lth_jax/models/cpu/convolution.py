"""Convolutions whose gradients are as fast on CPU as their values.

Measured with jaxlib 0.10.2 on a core: XLA's convolution with stride 1 is fast
(24 ms for 60x32x32x64 to 64 channels), but the gradient of its input takes 5
times as long, and that of its kernel seconds (jax issue 12868). With a stride,
the value is fast too (5 ms for 128x32x32x16 to 32 channels, products of patches
30), and gradients take 30 to 40 times as long as products of patches, but only
inside a loop (966 against 34 ms), so measure there. Convolutions of at most 16
channels miss the fast routine; see `_columns`. Slower for the value: patches
(35 ms), nine shifted products (30 ms), shifted rows (31 ms).
"""

import functools
import math

import jax
import jax.numpy as jnp

from lth_jax.models.cpu import winograd

# Bytes of shifted images held at once for the kernel's gradient; they should
# stay in the cache. The best of the sizes tried on a core with 1 MiB of L2.
_CHUNK_BYTES = 1_700_000
# Bytes of images that Winograd's algorithm takes at once; at least those of the
# kernel, which is read for each chunk.
_WINOGRAD_BYTES = 600_000
# With fewer channels the transforms cost more than the products save.
_WINOGRAD_CHANNELS = 32
# The same for the kernel's gradient where only rows are transformed.
_NARROW_CHANNELS = 16
_NARROW_BYTES = 260_000
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(
  images: jax.Array, kernel: jax.Array, strides: tuple[int, int] = (1, 1)
) -> jax.Array:
  """Convolves around the pixels 0, stride, 2 stride, ...; zeros lie outside.

  Args:
    images: `[B, H, W, C]`.
    kernel: `[K, L, C, N]`, K and L odd.
    strides: of rows and columns.

  Returns:
    `[B, ceil(H / strides[0]), ceil(W / strides[1]), N]`.

  >>> images, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 1))
  >>> convolve(images, kernel)[0, :, :, 0]
  Array([[ 8., 12., 12.,  8.],
         [12., 18., 18., 12.],
         [12., 18., 18., 12.],
         [ 8., 12., 12.,  8.]], dtype=float32)
  >>> convolve(images, kernel, (2, 2))[0, :, :, 0]
  Array([[ 8., 12.],
         [12., 18.]], dtype=float32)
  """
  return _convolve(images, kernel, tuple(strides))


def native(
  images: jax.Array, kernel: jax.Array, strides: tuple[int, int] = (1, 1)
) -> jax.Array:
  """Returns XLA's own convolution of the arguments of `convolve`.

  >>> native(jnp.ones((1, 1, 1, 2)), jnp.ones((3, 3, 2, 1))).ravel()
  Array([2.], dtype=float32)
  """
  rows, columns = kernel.shape[:2]
  if tuple(strides) != (1, 1):
    padding = [(rows // 2, rows // 2), (columns // 2, columns // 2)]
  elif images.shape[1] < rows or images.shape[2] < columns:
    # The fast routine takes no image smaller than the kernel, and XLA would
    # fold the padding back into it.
    images = jax.lax.optimization_barrier(_pad(images, rows, columns))
    padding = "VALID"
  else:
    padding = "SAME"
  return jax.lax.conv_general_dilated(
    images, kernel, strides, padding, dimension_numbers=_LAYOUT
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(images, kernel, strides):
  """Convolves; `winograd` does 3x3 kernels of many channels with stride 1.

  Under `jax.jit` an input gradient that nobody uses, as in the first layer,
  costs nothing.
  """
  default = functools.partial(native, strides=strides)
  if strides != (1, 1):
    return default(images, kernel)
  if _suits_winograd(kernel.shape):
    chunk = _winograd_chunk(images, kernel.shape)
    on_cpu = functools.partial(winograd.convolve, chunk=chunk)
  elif (columns := _columns(images.shape, kernel.shape)) > 1:
    on_cpu = functools.partial(_widened, columns=columns)
  else:
    return default(images, kernel)
  return jax.lax.platform_dependent(images, kernel, cpu=on_cpu, default=default)


def _forward(images, kernel, strides):
  return _convolve(images, kernel, strides), (images, kernel)


def _backward(strides, residuals, grad):
  """With stride 1, the images' gradient is such a convolution again.

  On CPU, the kernel's gradient and those with a stride are matrix products.
  """
  images, kernel = residuals
  kernel_gradient = jax.lax.platform_dependent(
    images,
    grad,
    cpu=functools.partial(
      _kernel_gradient, shape=kernel.shape, strides=strides
    ),
    default=lambda images, grad: _transposed(
      lambda k: native(images, k, strides), kernel, grad
    ),
  )
  if strides == (1, 1):
    return _images_gradient(grad, kernel), kernel_gradient
  # Only on CPU: XLA for GPU aborts on products of patches (jaxlib 0.11.2).
  on_cpu, default = (
    lambda grad, kernel, f=f: _transposed(
      lambda x: f(x, kernel, strides), images, grad
    )
    for f in (_strided_products, native)
  )
  images_gradient = jax.lax.platform_dependent(
    grad, kernel, cpu=on_cpu, default=default
  )
  return images_gradient, kernel_gradient


_convolve.defvjp(_forward, _backward)


def _kernel_gradient(images, grad, shape, strides):
  height = images.shape[1]
  if strides != (1, 1) or shape[:2] != (3, 3):
    return _products(images, grad, shape, strides)
  if _suits_winograd(shape):
    chunk = _winograd_chunk(images, shape)
    return winograd.kernel_gradient(images, grad, chunk)
  if min(shape[2:]) >= _NARROW_CHANNELS and height % 4 == 0:
    image_bytes = images.dtype.itemsize * math.prod(images.shape[1:])
    chunk = _divisor(len(images), _NARROW_BYTES // image_bytes)
    return winograd.narrow_kernel_gradient(images, grad, chunk)
  return _products(images, grad, shape, strides)


def _images_gradient(grad, kernel):
  if not _suits_winograd(kernel.shape):
    return _convolve(grad, _flipped(kernel), (1, 1))
  chunk = _winograd_chunk(grad, kernel.shape)
  return jax.lax.platform_dependent(
    grad,
    kernel,
    cpu=functools.partial(winograd.convolve, chunk=chunk, transposed=True),
    default=lambda grad, kernel: native(grad, _flipped(kernel)),
  )


def _flipped(kernel):
  return kernel[::-1, ::-1].swapaxes(2, 3)


def _transposed(linear, example, grad):
  (gradient,) = jax.linear_transpose(linear, example)(grad)
  return gradient


def _columns(image_shape, kernel_shape):
  """Returns how many columns of outputs `_widened` takes as channels.

  XLA gives no convolution of at most 16 channels to its fast routine. Measured
  for 3x3 kernels: 9 instead of 13 ms with 16 channels, 4 instead of 8 with 8.
  """
  _, height, width, num_in = image_shape
  rows, columns, _, num_out = kernel_shape
  num, rest = divmod(64 if num_in < 8 else 32, num_out)
  suits = (rows, columns) == (3, 3) and num_in <= 16 and num > 1 and rest == 0
  if suits and rows <= height and num + 2 <= width and width % num == 0:
    return num
  return 1


def _widened(images, kernel, columns):
  """Convolves with the outputs of several columns as channels of one."""
  rows, width = kernel.shape[:2]
  wide = [
    jnp.pad(kernel, ((0, 0), (i, columns - 1 - i), (0, 0), (0, 0)))
    for i in range(columns)
  ]
  outputs = jax.lax.conv_general_dilated(
    images,
    jnp.concatenate(wide, -1),
    (1, columns),
    [(rows // 2,) * 2, (width // 2,) * 2],
    dimension_numbers=_LAYOUT,
  )
  return outputs.reshape(*images.shape[:3], -1)


def _strided_products(images, kernel, strides):
  """Convolves by one product of patches and kernel."""
  rows, columns, _, num_out = kernel.shape
  _, height, width, _ = images.shape
  down, right = strides
  padded = _pad(images, rows, columns)
  shifted = [
    padded[:, i : i + height : down, j : j + width : right]
    for i in range(rows)
    for j in range(columns)
  ]
  return jnp.concatenate(shifted, -1) @ kernel.reshape(-1, num_out)


def _suits_winograd(shape):
  return shape[:2] == (3, 3) and min(shape[2:]) >= _WINOGRAD_CHANNELS


def _winograd_chunk(images, shape):
  """Returns how many images Winograd's algorithm takes at once."""
  itemsize = images.dtype.itemsize
  wanted = max(_WINOGRAD_BYTES, itemsize * math.prod(shape))
  return _divisor(
    len(images), wanted // (itemsize * math.prod(images.shape[1:]))
  )


def _products(images, grad, shape, strides):
  """Returns the kernel's gradient, by products of shifted images."""
  rows, columns, num_in, num_out = shape
  batch, height, width = grad.shape[:3]
  down, right = strides
  image_bytes = images.dtype.itemsize * height * width * columns * num_in
  chunk = _divisor(batch, _CHUNK_BYTES // image_bytes)
  few = columns * num_in < num_out

  def add(total, inputs):
    x, grad = inputs
    x = _pad(x, rows, columns)
    last = right * (width - 1) + 1
    shifted = [x[:, :, j : j + last : right] for j in range(columns)]
    x = jnp.concatenate(shifted, -1)
    last = down * (height - 1) + 1
    shifted = [
      x[:, i : i + last : down].reshape(-1, x.shape[-1]) for i in range(rows)
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
  """Returns the largest divisor of a number up to a limit, at least 1."""
  limit = min(max(limit, 1), number)
  return next(d for d in range(limit, 0, -1) if number % d == 0)
