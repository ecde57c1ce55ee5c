"""Convolutional networks against XLA's own convolution and pooling."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny

from lth_jax import models
from lth_jax.models import cpu
from lth_jax.models.cpu import convolution

SHAPES = [
  ((6, 8, 6, 3), (3, 3, 3, 5)),
  ((4, 5, 7, 20), (3, 3, 20, 32)),
  ((3, 8, 8, 4), (5, 3, 4, 8)),
  ((2, 2, 2, 32), (3, 3, 32, 16)),  # smaller than the kernel
  ((3, 1, 1, 4), (3, 3, 4, 4)),
  ((7, 4, 4, 8), (1, 1, 8, 8)),
  ((2, 32, 32, 64), (3, 3, 64, 64)),  # several chunks
  ((4, 5, 7, 32), (3, 3, 32, 48)),  # no whole tiles
  ((3, 1, 1, 32), (3, 3, 32, 32)),
]
STRIDED = [
  ((4, 8, 8, 3), (3, 3, 3, 6), (2, 2)),
  ((3, 7, 6, 4), (3, 3, 4, 5), (2, 2)),
  ((2, 9, 8, 4), (5, 3, 4, 8), (1, 3)),
  ((2, 1, 2, 4), (3, 3, 4, 4), (2, 2)),  # smaller than the kernel
  ((4, 6, 5, 8), (1, 1, 8, 4), (2, 2)),
]
LAYOUT = ("NHWC", "HWIO", "NHWC")


def native(images, kernel):
  return jax.lax.conv_general_dilated(
    images, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT
  )


def draw(*shapes):
  rng = np.random.default_rng(0)
  return [rng.standard_normal(s).astype(np.float32) for s in shapes]


def assert_close(found, expected):
  assert found.shape == expected.shape and found.dtype == expected.dtype
  scale = float(jnp.abs(expected).max())
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(("image_shape", "kernel_shape"), SHAPES)
def test_a_convolution_and_its_gradients_are_xlas(image_shape, kernel_shape):
  images, kernel, grad = draw(
    image_shape, kernel_shape, (*image_shape[:3], kernel_shape[-1])
  )

  @jax.jit
  def run(images, kernel, grad):
    return [
      (value, *pullback(grad))
      for value, pullback in (
        jax.vjp(f, images, kernel) for f in (convolution.convolve, native)
      )
    ]

  for found, expected in zip(*run(images, kernel, grad)):
    assert_close(found, expected)


@pytest.mark.parametrize(("image_shape", "kernel_shape", "strides"), STRIDED)
def test_a_strided_convolution_is_xlas(image_shape, kernel_shape, strides):
  images, kernel = draw(image_shape, kernel_shape)
  padding = [(n // 2, n // 2) for n in kernel_shape[:2]]

  def reference(images, kernel):
    return jax.lax.conv_general_dilated(
      images, kernel, strides, padding, dimension_numbers=LAYOUT
    )

  expected, pullback = jax.vjp(reference, images, kernel)
  (grad,) = draw(expected.shape)
  found, own = jax.vjp(
    lambda x, k: strided.convolve(x, k, strides), images, kernel
  )
  for one, other in zip((found, *own(grad)), (expected, *pullback(grad))):
    assert_close(one, other)
  # It keeps some of the pixels of the convolution without a stride.
  whole = convolution.convolve(images, kernel)
  assert_close(found, whole[:, :: strides[0], :: strides[1]])


def test_a_strided_convolution_and_its_gradients_are_products():
  """XLA's gradients of convolutions are slow in loops on CPU."""
  images, kernel = draw(*STRIDED[0][:2])

  def loss(images, kernel):
    return jnp.square(strided.convolve(images, kernel, (2, 2))).sum()

  run = jax.jit(jax.value_and_grad(loss, (0, 1)))
  text = run.lower(images, kernel).as_text()
  assert "dot_general" in text and "convolution" not in text


def test_a_strided_convolution_is_xlas_own_on_gpu():
  """XLA for GPU aborts on the product (jaxlib 0.11.2)."""
  images, kernel = draw(*STRIDED[0][:2])

  def loss(images, kernel):
    return jnp.square(strided.convolve(images, kernel, (2, 2))).sum()

  traced = jax.jit(jax.value_and_grad(loss, (0, 1))).trace(images, kernel)
  text = traced.lower(lowering_platforms=("cuda",)).as_text()
  assert "stablehlo.convolution" in text and "dot_general" not in text


@pytest.mark.parametrize(("image_shape", "kernel_shape", "strides"), STRIDED)
def test_a_strided_convolution_is_one_function_on_all_platforms(
  image_shape, kernel_shape, strides
):
  images, kernel = draw(image_shape, kernel_shape)
  assert_close(
    strided._native(images, kernel, strides),
    strided.convolve(images, kernel, strides),
  )


@pytest.mark.parametrize("channels", [3, 32])
def test_trials_may_be_stacked(channels):
  images, kernels = draw((2, 4, 6, 6, channels), (2, 3, 3, channels, 32))

  def loss(convolve, kernel, images):
    return jnp.square(convolve(images, kernel)).sum()

  found, expected = (
    jax.vmap(jax.grad(lambda k, x, f=f: loss(f, k, x)))(kernels, images)
    for f in (convolution.convolve, native)
  )
  assert_close(found, expected)


def test_the_gradient_of_the_input_is_not_made_where_nobody_uses_it():
  images, kernel = draw(*SHAPES[0])

  def loss(kernel, images):
    return convolution.convolve(images, kernel).sum()

  def count(argnums):
    step = jax.jit(jax.grad(loss, argnums))
    text = step.lower(kernel, images).compile().as_text()
    return text.count(" convolution(") + text.count("ynn_fusion(")

  assert count(0) < count((0, 1))


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


@pytest.mark.parametrize(
  ("num", "weights"), [(2, 4_300_992), (4, 2_425_024), (6, 2_261_184)]
)
def test_the_networks_have_the_papers_weights(num, weights):
  model = models.conv(num, (32, 32, 3), 10)
  params, stats = jax.eval_shape(model.init, tiny.key())
  kernels = [layer["kernel"] for layer in params.values()]
  assert sum(k.size for k in kernels) == weights
  assert len(kernels) == num + 3 and stats == {}


def test_a_width_factor_scales_all_but_the_output():
  model = models.conv(4, (32, 32, 3), 10, width=0.25)
  params, _ = jax.eval_shape(model.init, tiny.key())
  widths = [layer["bias"].shape[0] for layer in params.values()]
  assert widths == [16, 16, 32, 32, 64, 64, 10]


def test_another_number_of_convolutions_is_an_error():
  with pytest.raises(ValueError, match="no Conv-3"):
    models.conv(3, (32, 32, 3), 10)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_is_of_the_key_and_off_in_evaluation(rate):
  model = models.conv(2, (8, 8, 3), 10, width=0.1, dropout=rate)
  params, stats = model.init(tiny.key())
  images = draw((4, 8, 8, 3))[0]
  logits = {
    (train, seed): np.asarray(
      model.apply(params, stats, images, train=train, key=tiny.key(seed))[0]
    )
    for train in (False, True)
    for seed in (1, 2)
  }
  np.testing.assert_array_equal(logits[False, 1], logits[False, 2])
  assert (logits[True, 1] != logits[True, 2]).any() == (rate > 0)


def handing_on(name, shape):
  """A layer each output of which is one input and a number of the layer."""
  num_in, num_out = shape[-2:]
  kernel = np.eye(num_in)[:, np.arange(num_out) % num_in]
  if len(shape) == 4:
    kernel = np.pad(kernel[None, None], [(1, 1), (1, 1), (0, 0), (0, 0)])
  added = {"Dense_0": 10, "Dense_1": 100, "Dense_2": 1000}.get(name, 0)
  bias = np.full(num_out, added)
  return {"kernel": np.float32(kernel), "bias": np.float32(bias)}


@pytest.mark.parametrize(
  ("num", "rate"), [(2, 0.5), (2, 0.75), (4, 0.5), (6, 0.5)]
)
def test_dropout_is_before_each_dense_layer_and_nowhere_else(num, rate):
  """White images; what is added on the way tells where factors came in."""
  model = models.conv(num, (8, 8, 1), 10, width=0.05, dropout=rate)
  params, stats = jax.eval_shape(model.init, tiny.key())
  params = {
    name: handing_on(name, layer["kernel"].shape)
    for name, layer in params.items()
  }
  images = np.ones((200, 8, 8, 1), np.float32)

  def sums(train):
    logits, _ = model.apply(params, stats, images, train=train, key=tiny.key())
    return np.unique(np.round(logits, 3), return_counts=True)

  assert sums(train=False)[0].tolist() == [1 + 10 + 100 + 1000]
  factor, kept = 1 / (1 - rate), 1 - rate
  wanted = {
    1000: rate,
    1000 + factor * 100: kept * rate,
    1000 + factor * (100 + factor * 10): kept**2 * rate,
    1000 + factor * (100 + factor * (10 + factor * 1)): kept**3,
  }
  values, counts = sums(train=True)
  np.testing.assert_allclose(values, [*wanted])
  np.testing.assert_allclose(counts / 2000, [*wanted.values()], atol=0.03)


def test_the_gradient_for_other_devices_is_the_same():
  """Traced for CPU it is never run; so it is called by itself."""
  for image_shape, kernel_shape in SHAPES:
    images, kernel, grad = draw(
      image_shape, kernel_shape, (*image_shape[:3], kernel_shape[-1])
    )
    found = convolution._native_kernel_gradient(kernel, images, grad)
    _, pullback = jax.vjp(
      lambda k, x=images: convolution.convolve(x, k), kernel
    )
    assert_close(pullback(grad)[0], found)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_devices_get_their_own_convolutions(platform):
  """Lowered for them there is nothing but convolutions, and no loop."""
  images, kernel = draw((4, 8, 8, 32), (3, 3, 32, 32))

  def run(images, kernel):
    value, pullback = jax.vjp(convolution.convolve, images, kernel)
    return pullback(value)

  exported = jax.export.export(jax.jit(run), platforms=[platform])(
    images, kernel
  )
  text = exported.mlir_module()
  assert text.count("stablehlo.convolution") == 3
  assert "stablehlo.while" not in text and "dot_general" not in text
