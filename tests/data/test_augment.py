import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax.data import augment

HEIGHT, WIDTH = 5, 6


def _key(seed=0):
  return jax.random.key(seed, impl="threefry2x32")


def _image():
  """No two values are equal and none is 0, so that each result differs."""
  values = np.arange(1, 1 + HEIGHT * WIDTH * 2, dtype=np.uint8)
  return values.reshape(HEIGHT, WIDTH, 2)


def _results(image):
  """{bytes: (rows up, columns left, flipped)} of all 162, pixel by pixel."""
  height, width, _ = image.shape
  results = {}
  for up in range(-4, 5):
    for left in range(-4, 5):
      shifted = np.zeros_like(image)
      for i in range(height):
        for j in range(width):
          if 0 <= i + up < height and 0 <= j + left < width:
            shifted[i, j] = image[i + up, j + left]
      for flipped in (False, True):
        result = np.fliplr(shifted) if flipped else shifted
        results[result.tobytes()] = up + 4, left + 4, int(flipped)
  return results


def _drawn(key, num):
  """`[num, 3]` integers: what befell each of `num` copies of the image."""
  copies = jnp.tile(_image()[None], (num, 1, 1, 1))
  results = _results(_image())
  assert len(results) == 9 * 9 * 2
  outputs = np.asarray(augment.crop_and_flip(key, copies))
  return np.array([results[output.tobytes()] for output in outputs])


def _assert_uniform(*draws, sizes):
  """Chi-square of the joint frequencies, five standard deviations above."""
  cells = np.ravel_multi_index(draws, sizes)
  counts = np.bincount(cells, minlength=np.prod(sizes))
  assert len(counts) == np.prod(sizes) and counts.min() > 0
  expected = len(cells) / len(counts)
  assert expected >= 20
  freedom = len(counts) - 1
  square = ((counts - expected) ** 2).sum() / expected
  assert square < freedom + 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (1, 9, 2)])
def test_every_output_is_a_possible_result_of_its_own_image(shape):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (5, *shape), np.uint8)
  outputs = augment.crop_and_flip(_key(), images)
  assert outputs.shape == images.shape and outputs.dtype == jnp.uint8
  for image, output in zip(images, np.asarray(outputs)):
    assert output.tobytes() in _results(image)


def test_the_162_results_are_equally_likely():
  up, left, flipped = _drawn(_key(), 162 * 100).T
  _assert_uniform(up, left, flipped, sizes=(9, 9, 2))
  _assert_uniform(up, sizes=(9,))
  _assert_uniform(left, sizes=(9,))
  _assert_uniform(flipped, sizes=(2,))


def test_the_images_of_a_batch_draw_independently():
  draws = _drawn(_key(1), 162 * 100)
  for distance in (1, 2, 128):
    one, other = draws[:-distance].T, draws[distance:].T
    for i, size in enumerate((9, 9, 2)):
      _assert_uniform(one[i], other[i], sizes=(size, size))


def test_keys_draw_independently():
  image = jnp.asarray(_image())[None]
  keys = jax.random.split(_key(2), 162 * 50)
  outputs = jax.vmap(augment.crop_and_flip, (0, None))(keys, image)
  results = _results(_image())
  draws = [results[output.tobytes()] for output in np.asarray(outputs)]
  _assert_uniform(*np.array(draws).T, sizes=(9, 9, 2))


def test_the_key_alone_decides():
  images = np.random.default_rng(0).integers(0, 256, (64, 5, 5, 1), np.uint8)
  first, again, other = (
    np.asarray(augment.crop_and_flip(_key(seed), images)) for seed in (3, 3, 4)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any((1, 2, 3)).mean() > 0.9
  # Drawn by place in the batch, whatever the images.
  draws = [_results(images[i])[first[i].tobytes()] for i in range(len(images))]
  np.testing.assert_array_equal(draws, _drawn(_key(3), 64))


def test_equal_bits_under_jit_vmap_scan_and_fori_loop():
  rng = np.random.default_rng(0)
  images = jnp.asarray(rng.integers(0, 256, (3, 16, 8, 8, 3), np.uint8))
  keys = jax.random.split(_key(5), 3)
  change = augment.FUNCTIONS["crop_flip"]
  expected = np.stack([change(keys[i], images[i]) for i in range(3)])

  def scan(keys, images):
    return jax.lax.scan(lambda c, x: (c, change(*x)), 0, (keys, images))[1]

  def loop(keys, images):
    def body(i, out):
      return out.at[i].set(change(keys[i], images[i]))

    return jax.lax.fori_loop(0, 3, body, jnp.zeros_like(images))

  for function in (jax.vmap(change), scan, loop):
    np.testing.assert_array_equal(jax.jit(function)(keys, images), expected)


@pytest.mark.parametrize(
  "images",
  [
    np.zeros([32, 32, 3], np.uint8),
    np.zeros([2, 3, 32, 32, 3], np.uint8),
    np.zeros([2, 32, 32, 3], np.float32),
    np.zeros([2, 32, 32, 3], np.int32),
  ],
)
def test_other_shapes_and_types_are_errors(images):
  with pytest.raises(ValueError, match=r"\[B, H, W, C\] of uint8, not"):
    augment.crop_and_flip(_key(), images)


def test_none_leaves_images_alone():
  images = jnp.asarray(_image())[None]
  assert augment.FUNCTIONS["none"](_key(), images) is images
