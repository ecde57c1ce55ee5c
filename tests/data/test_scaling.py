import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax import errors
from lth_jax.data import scaling


def images(num=20, channels=3):
  rng = np.random.default_rng(0)
  scale = np.array([1, 0.5, 0.1])[:channels]
  pixels = rng.integers(0, 256, (num, 4, 5, channels)) * scale
  return pixels.astype(np.uint8)


@pytest.mark.parametrize("name", ["unit", "standard", "l2"])
def test_shape_and_dtype(name):
  scaled = jax.jit(scaling.make(name, images()))(images()[:7])
  assert scaled.shape == (7, 4, 5, 3) and scaled.dtype == jnp.float32


@pytest.mark.parametrize("name", ["unit", "standard", "l2"])
def test_an_image_is_scaled_by_itself(name):
  scale = scaling.make(name, images())
  np.testing.assert_array_equal(scale(images())[3:4], scale(images()[3:4]))


def test_unit_is_in_0_to_1():
  scaled = scaling.make("unit", images())(images())
  np.testing.assert_allclose(scaled, images() / 255, rtol=1e-6)
  ends = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
  assert scaling.make("unit", ends)(ends).ravel().tolist() == [0, 1]


def test_standard_is_of_the_training_images_by_channel():
  train = images()
  scale = scaling.make("standard", train)
  scaled = np.asarray(scale(train), np.float64)
  np.testing.assert_allclose(scaled.mean((0, 1, 2)), 0, atol=1e-5)
  np.testing.assert_allclose(scaled.std((0, 1, 2)), 1, rtol=1e-5)
  other = images()[::-1] // 2
  expected = (other - train.mean((0, 1, 2))) / train.std((0, 1, 2))
  np.testing.assert_allclose(scale(other), expected, atol=1e-5)


def test_standard_of_a_constant_channel_is_an_error():
  flat = images()
  flat[..., 1] = 9
  with pytest.raises(errors.InputError, match=r"scaling=standard.*channel 1"):
    scaling.make("standard", flat)


def test_l2_gives_every_image_norm_1_and_leaves_black_black():
  some = images()
  some[0] = 0
  scaled = np.asarray(scaling.make("l2", some)(some), np.float64)
  norms = np.sqrt((scaled**2).sum((1, 2, 3)))
  np.testing.assert_allclose(norms[1:], 1, rtol=1e-5)
  assert norms[0] == 0
  direction = some[5] / np.linalg.norm(some[5].astype(float))
  np.testing.assert_allclose(scaled[5], direction, rtol=1e-5)


def test_an_unknown_name_is_an_error():
  with pytest.raises(ValueError, match="'unity'"):
    scaling.make("unity", images())
