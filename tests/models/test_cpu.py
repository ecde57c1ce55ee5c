"""Convolution and pooling against XLA's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny

from lth_jax.models import cpu
from lth_jax.models.cpu import convolution

SHAPES = [
  ((6, 8, 6, 3), (3, 3, 3, 5), (1, 1)),
  ((4, 5, 7, 20), (3, 3, 20, 32), (1, 1)),
  ((3, 8, 8, 4), (5, 3, 4, 8), (1, 1)),
  ((2, 2, 2, 32), (3, 3, 32, 16), (1, 1)),  # smaller than the kernel
  ((3, 1, 1, 4), (3, 3, 4, 4), (1, 1)),
  ((7, 4, 4, 8), (1, 1, 8, 8), (1, 1)),
  ((4, 64, 64, 12), (3, 3, 12, 8), (1, 1)),  # several chunks of products
  # Winograd's algorithm, in several chunks and with tiles that are not whole.
  ((4, 39, 41, 32), (3, 3, 32, 48), (1, 1)),
  ((6, 2, 2, 32), (3, 3, 32, 32), (1, 1)),
  # Several columns as channels; not where they do not divide the width.
  ((4, 5, 12, 16), (3, 3, 16, 16), (1, 1)),
  ((4, 6, 16, 3), (3, 3, 3, 8), (1, 1)),
  ((4, 5, 11, 16), (3, 3, 16, 16), (1, 1)),
  ((4, 8, 6, 16), (3, 3, 16, 24), (1, 1)),
  ((4, 8, 8, 3), (3, 3, 3, 6), (2, 2)),
  ((3, 7, 6, 4), (3, 3, 4, 5), (2, 2)),
  ((2, 9, 8, 4), (5, 3, 4, 8), (1, 3)),
  ((2, 1, 2, 4), (3, 3, 4, 4), (2, 2)),
  ((4, 6, 5, 8), (1, 1, 8, 4), (2, 2)),
]
CHUNKED = SHAPES[6], SHAPES[7]


def draw(*shapes):
  rng = np.random.default_rng(0)
  return [rng.standard_normal(s).astype(np.float32) for s in shapes]


def assert_close(found, expected):
  assert found.shape == expected.shape and found.dtype == expected.dtype
  scale = float(jnp.abs(expected).max())
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(("image_shape", "kernel_shape", "strides"), SHAPES)
def test_a_convolution_and_its_gradients_are_xlas(
  image_shape, kernel_shape, strides
):
  padding = [(n // 2, n // 2) for n in kernel_shape[:2]]

  def reference(images, kernel):
    return jax.lax.conv_general_dilated(
      images,
      kernel,
      strides,
      padding,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )

  @tiny.quick_jit
  def run(images, kernel):
    value, pullback = jax.vjp(reference, images, kernel)
    found, own = jax.vjp(
      lambda x, k: cpu.convolve(x, k, strides), images, kernel
    )
    elsewhere = convolution.native(images, kernel, strides)
    return (found, *own(value), elsewhere), (value, *pullback(value), value)

  for found, expected in zip(*run(*draw(image_shape, kernel_shape))):
    assert_close(found, expected)


@pytest.mark.parametrize(("image_shape", "kernel_shape", "_"), CHUNKED)
def test_the_gradient_of_the_kernel_is_made_in_chunks(
  image_shape, kernel_shape, _
):
  def loss(kernel, images):
    return cpu.convolve(images, kernel).sum()

  text = jax.jit(jax.grad(loss)).lower(*draw(kernel_shape, image_shape))
  assert "while" in text.as_text()


def lowered(platform, strides, channels):
  """A value and its gradients, as text."""
  images, kernel = draw((4, 8, 8, channels), (3, 3, channels, channels))

  def loss(images, kernel):
    return jnp.square(cpu.convolve(images, kernel, strides)).sum()

  traced = jax.jit(jax.value_and_grad(loss, (0, 1))).trace(images, kernel)
  return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(("strides", "channels"), [((1, 1), 32), ((2, 2), 3)])
def test_other_devices_get_their_own_convolutions(platform, strides, channels):
  text = lowered(platform, strides, channels)
  assert text.count("stablehlo.convolution") == 3
  assert "stablehlo.while" not in text and "dot_general" not in text


def test_gradients_of_a_strided_convolution_are_products_on_cpu():
  text = lowered("cpu", (2, 2), 3)
  assert text.count("dot_general") > 1
  assert text.count("stablehlo.convolution") == 1  # the value


@pytest.mark.parametrize("channels", [3, 32])
def test_trials_may_be_stacked(channels):
  images, kernels = draw((2, 4, 6, 6, channels), (2, 3, 3, channels, 32))

  def gradient(convolve):
    def loss(kernel, images):
      return jnp.square(convolve(images, kernel)).sum()

    return tiny.quick_jit(jax.vmap(jax.grad(loss)))(kernels, images)

  assert_close(gradient(cpu.convolve), gradient(convolution.native))


def test_the_gradient_of_the_input_is_not_made_where_nobody_uses_it():
  images, kernel = draw(*SHAPES[0][:2])

  def loss(kernel, images):
    return cpu.convolve(images, kernel).sum()

  def count(argnums):
    step = jax.jit(jax.grad(loss, argnums))
    text = step.lower(kernel, images).compile().as_text()
    return text.count(" convolution(") + text.count("ynn_fusion(")

  assert count(0) < count((0, 1))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(6, 5, 3, 4), (64, 2, 2, 32)])
def test_batch_norm_and_its_gradient_are_those_in_float64(shape, relu):
  images, outer, scale, bias = draw(shape, shape, shape[3:], shape[3:])

  def reference(images, scale, bias):
    mean, var = images.mean((0, 1, 2)), images.var((0, 1, 2))
    mean, var, scale, bias = (
      x[None, None, None] for x in (mean, var, scale, bias)
    )
    y = (images - mean) / jnp.sqrt(var + 1e-5) * scale + bias
    return nn.relu(y) if relu else y

  def run(function, *args):
    value, pullback = jax.vjp(function, *args)
    return value, *pullback(outer.astype(value.dtype))

  found = run(lambda *args: cpu.batch_norm(*args, relu)[0], images, scale, bias)
  with jax.enable_x64(True):
    args = (jnp.asarray(x, jnp.float64) for x in (images, scale, bias))
    expected = [np.asarray(x) for x in run(reference, *args)]
  for one, other in zip(found, expected):
    atol = 2e-6 * np.abs(other).max()
    np.testing.assert_allclose(one, other, rtol=0, atol=atol)


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (2, 5, 7, 3), (1, 1, 3, 2)])
def test_pooling_and_its_gradient_are_xlas_also_for_ties(shape):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 3, shape).astype(np.float32)
  outer = rng.standard_normal(
    (shape[0], shape[1] // 2, shape[2] // 2, shape[3])
  ).astype(np.float32)

  def reference(x):
    return nn.max_pool(x, (2, 2), (2, 2))

  for found, expected in zip(
    *(
      (value, *pullback(outer))
      for value, pullback in (
        jax.vjp(f, images) for f in (cpu.max_pool, reference)
      )
    )
  ):
    np.testing.assert_array_equal(found, expected)


def test_pooling_behind_batch_norm_keeps_its_gradient():
  """XLA computes the images twice here, and rounds them differently."""
  images, scale, outer = draw((6, 4, 2, 16), (16,), (6, 2, 1, 16))

  def gradient(pool):
    def loss(images):
      x = images - images.mean((0, 1, 2), keepdims=True)
      return (pool(nn.relu(x * scale[None, None, None] + 0.5)) * outer).sum()

    return jax.jit(
      lambda x: jax.lax.fori_loop(
        0, 2, lambda _, y: jax.grad(loss)(x + 0 * y), x
      )
    )(images)

  found, expected = (
    gradient(pool)
    for pool in (cpu.max_pool, lambda x: nn.max_pool(x, (2, 2), (2, 2)))
  )
  assert_close(found, expected)
