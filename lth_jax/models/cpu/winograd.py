"""Winograd's algorithm: 3x3 convolutions with fewer multiplications.

Outputs are computed in square tiles: the pixels that a tile needs and the
kernel are transformed, multiplied value by value with a product over the
channels, and transformed back. For 2x2 outputs that is 16 multiplications
instead of 36, with the error of the plain sum. (Lavin and Gray, arXiv
1509.09308.)

Measured for 60x32x32x64 to 64 channels: 13.6 ms instead of 24.5 forward, and 17
ms for the kernel's gradient, where chunks of images stay in the cache (20.9 ms
without chunks). Barriers between transforms gained nothing, `tensordot` over
three axes lost 25%.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Matrix = list[list[float]]


class Matrices(NamedTuple):
  """Transforms of tiles, in one dimension.

  The convolution of pixels x with a kernel k is
  `outputs.T @ ((kernel @ k) * (inputs @ x))`.

  Attributes:
    outputs: `[size + 2, size]` for tiles of that size.
    inputs: `[size + 2, size + 2]`.
    kernel: `[size + 2, 3]`.
  """

  outputs: Matrix
  inputs: Matrix
  kernel: Matrix


def matrices(points: tuple[float, ...]) -> Matrices:
  """Returns the transforms of tiles of a size, given size + 1 points.

  A convolution is a product of polynomials, here computed from their values at
  the points and at infinity.

  Args:
    points: distinct numbers; smaller ones give smaller errors.

  >>> matrices((0, 1, -1)).kernel
  [[-1.0, -0.0, -0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]]
  """
  size = len(points) - 1
  rest = [np.delete(points, i) for i in range(len(points))]
  scale = 1 / np.array([np.prod(p - r) for p, r in zip(points, rest)])
  powers = np.vander(points, max(size, 3), increasing=True)
  inputs = [np.append(np.poly(r)[::-1], 0) for r in rest]
  return Matrices(
    np.vstack([powers[:, :size], np.eye(size)[-1]]).tolist(),
    np.vstack([*inputs, np.poly(points)[::-1]]).tolist(),
    np.vstack([powers[:, :3] * scale[:, None], np.eye(3)[-1]]).tolist(),
  )


# Tiles of 4x4 halve the multiplications again, with ten times the error (4e-6
# of the largest value, against float64). That is enough for the kernel's
# gradient; forward they are slower, too (39 to 54 ms).
_FORWARD = matrices((0, 1, -1))
_GRADIENT = matrices((0, 1, -1, 0.5, -2))


def convolve(
  images: jax.Array, kernel: jax.Array, chunk: int, transposed: bool = False
) -> jax.Array:
  """Convolves with stride 1 and as many outputs as inputs (`SAME` padding).

  Args:
    images: `[B, H, W, C]`.
    kernel: `[3, 3, C, N]`.
    chunk: images at a time, a divisor of B; their tiles should fit the cache.
    transposed: the gradient of the images instead, given that of the outputs.

  Returns:
    `[B, H, W, N]`.

  >>> images, kernel = jnp.ones((1, 3, 3, 2)), jnp.ones((3, 3, 2, 1))
  >>> convolve(images, kernel, 1)[0, :, :, 0]
  Array([[ 8., 12.,  8.],
         [12., 18., 12.],
         [ 8., 12.,  8.]], dtype=float32)
  """
  height, width = images.shape[1:3]
  if transposed:
    kernel = kernel[::-1, ::-1]
  # Without the barrier, XLA would transform the kernel in every product.
  factors = jax.lax.optimization_barrier(_transform(_FORWARD.kernel, kernel))

  def run(images):
    inputs = _transform(_FORWARD.inputs, _inputs(images, 2))
    # Products of the transposed factor; to transpose it before takes XLA longer
    # than the products (4x4 pixels, 512 channels: 97 instead of 32 ms).
    products = [
      [x @ (y.T if transposed else y) for x, y in zip(*rows)]
      for rows in zip(inputs, factors)
    ]
    outputs = _transform(_transposed(_FORWARD.outputs), products)
    outputs = jnp.stack([jnp.stack(row, 3) for row in outputs], 2)
    batch, rows, _, columns, _, num_out = outputs.shape
    outputs = outputs.reshape(batch, 2 * rows, 2 * columns, num_out)
    return outputs[:, :height, :width]

  outputs = jax.lax.map(run, _chunks(images, chunk))
  return outputs.reshape(*images.shape[:3], -1)


def kernel_gradient(
  images: jax.Array, grad: jax.Array, chunk: int
) -> jax.Array:
  """Returns the gradient of a kernel `[3, 3, C, N]`: `convolve` transposed.

  Args:
    images: `[B, H, W, C]`.
    grad: the gradient of the outputs, `[B, H, W, N]`.
    chunk: as for `convolve`.

  >>> images, grad = jnp.ones((1, 3, 3, 1)), jnp.ones((1, 3, 3, 1))
  >>> kernel_gradient(images, grad, 1)[:, :, 0, 0].round(5)
  Array([[4., 6., 4.],
         [6., 9., 6.],
         [4., 6., 4.]], dtype=float32)
  """
  size, transforms = 4, _GRADIENT
  # With few pixels, writing 36 products as large as the kernel, instead of 16,
  # costs more than the multiplications do (64x2x2x512 pixels to 512 channels:
  # 9 instead of 46 ms).
  if max(images.shape[1:3]) <= 4:
    size, transforms = 2, _FORWARD

  def add(total, chunks):
    images, grad = chunks
    inputs = _transform(transforms.inputs, _inputs(images, size))
    grads = _transform(transforms.outputs, _outputs(grad, size))
    products = [
      [_flat(x).T @ _flat(y) for x, y in zip(*rows)]
      for rows in zip(inputs, grads)
    ]
    return jax.tree.map(jnp.add, total, products), None

  zeros = jnp.zeros((images.shape[3], grad.shape[3]), grad.dtype)
  total = [[zeros] * (size + 2)] * (size + 2)
  chunks = _chunks(images, chunk), _chunks(grad, chunk)
  total, _ = jax.lax.scan(add, total, chunks)
  rows = _transform(_transposed(transforms.kernel), total)
  return jnp.stack([jnp.stack(row) for row in rows])


def narrow_kernel_gradient(
  images: jax.Array, grad: jax.Array, chunk: int
) -> jax.Array:
  """Returns what `kernel_gradient` does; faster with few channels.

  Only rows are transformed. Columns are the product's inner axis, three shifted
  ones side by side, which keeps it long enough: 11 instead of 16 ms for
  128x32x32x16 to 16 channels.

  Args:
    images: `[B, H, W, C]`, H a multiple of 4.
    grad: the gradient of the outputs, `[B, H, W, N]`.
    chunk: as for `convolve`.

  >>> images, grad = jnp.ones((1, 4, 3, 1)), jnp.ones((1, 4, 3, 1))
  >>> narrow_kernel_gradient(images, grad, 1)[:, :, 0, 0].round(5)
  Array([[ 6.,  9.,  6.],
         [ 8., 12.,  8.],
         [ 6.,  9.,  6.]], dtype=float32)
  """
  _, height, width, num_in = images.shape
  num_out = grad.shape[3]

  def columns(rows):
    padded = jnp.pad(rows, ((0, 0), (0, 0), (num_in, num_in)))
    length = width * num_in
    shifted = [
      padded[..., j * num_in : j * num_in + length].reshape(-1, num_in)
      for j in range(3)
    ]
    return jnp.concatenate(shifted, -1)

  def add(total, chunks):
    # Pixels of a row are one axis, so that transforms run over long rows.
    images, grad = (x.reshape(*x.shape[:2], -1) for x in chunks)
    images = jnp.pad(images, ((0, 0), (1, 1), (0, 0)))
    rows = [images[:, i : i + height - 3 : 4] for i in range(6)]
    inputs = _combine(_GRADIENT.inputs, rows)
    grads = _combine(_GRADIENT.outputs, [grad[:, i::4] for i in range(4)])
    products = [
      jnp.reshape(y, (-1, num_out)).T @ columns(x)
      for x, y in zip(inputs, grads)
    ]
    return jax.tree.map(jnp.add, total, products), None

  total = [jnp.zeros((num_out, 3 * num_in), grad.dtype)] * 6
  chunks = _chunks(images, chunk), _chunks(grad, chunk)
  total, _ = jax.lax.scan(add, total, chunks)
  rows = jnp.stack(_combine(_transposed(_GRADIENT.kernel), total))
  return rows.reshape(3, num_out, 3, num_in).transpose(0, 2, 3, 1)


def _transform(matrix, grid):
  """Returns `matrix @ grid @ matrix.T` for a grid of arrays."""
  columns = [_combine(matrix, column) for column in zip(*grid)]
  return [_combine(matrix, row) for row in zip(*columns)]


def _combine(matrix, parts):
  return [sum(c * x for c, x in zip(row, parts) if c) for row in matrix]


def _transposed(matrix):
  return list(zip(*matrix))


def _inputs(images, size):
  """Returns the grid of pixels that a tile needs: `[B, rows, columns, C]`."""
  height, width = images.shape[1:3]
  padding = (0, 0), (1, 1 + -height % size), (1, 1 + -width % size), (0, 0)
  images = jnp.pad(images, padding)
  rows, columns = (
    [slice(i, i + length, size) for i in range(size + 2)]
    for length in (height, width)
  )
  return [[images[:, i, j] for j in columns] for i in rows]


def _outputs(images, size):
  """Returns the grid of pixels that are in a tile: `[B, rows, columns, C]`."""
  height, width = images.shape[1:3]
  padding = (0, 0), (0, -height % size), (0, -width % size), (0, 0)
  images = jnp.pad(images, padding)
  every = [slice(i, None, size) for i in range(size)]
  return [[images[:, i, j] for j in every] for i in every]


def _flat(images):
  return images.reshape(-1, images.shape[-1])


def _chunks(images, chunk):
  return images.reshape(-1, chunk, *images.shape[1:])
