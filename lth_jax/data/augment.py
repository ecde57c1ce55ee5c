"""Random changes to training images, inside the compiled step.

They act on uint8 pixels, before `lth_jax.data.scaling`, and fill with black.
That is 0 after "unit" and "l2" scaling, but not after "standard".
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

# (key, `[B, H, W, C]` uint8) -> `[B, H, W, C]` uint8
Augment = Callable[[jax.Array, jax.Array], jax.Array]

# Pixels on each side, for ResNet and VGG in the paper (appendix I.3).
PAD = 4

_SHIFTS = 2 * PAD + 1


@jax.jit
def crop_and_flip(key: jax.Array, images: jax.Array) -> jax.Array:
  """Shifts each image by up to 4 pixels and mirrors half of them.

  Each image is padded with 4 black pixels on each side, cropped at random to
  its old size, and flipped left to right at random: the paper's augmentation
  for ResNet and VGG on CIFAR-10 (appendix I.3). All 9 * 9 * 2 results are
  equally likely, and each image draws its own.

  >>> key = jax.random.key(0, impl='threefry2x32')
  >>> image = jnp.arange(1, 6, dtype=jnp.uint8).reshape(1, 1, 5, 1)
  >>> crop_and_flip(key, jnp.tile(image, (4, 9, 1, 1)))[:, 4, :, 0]
  Array([[0, 0, 5, 4, 3],
         [3, 4, 5, 0, 0],
         [0, 0, 0, 1, 2],
         [1, 0, 0, 0, 0]], dtype=uint8)

  Args:
    key: consumed.
    images: `[B, H, W, C]` uint8.

  Returns:
    `[B, H, W, C]` uint8.

  Raises:
    ValueError: `images` is of another rank or dtype.
  """
  if images.ndim != 4 or images.dtype != jnp.uint8:
    raise ValueError(
      f"images must be [B, H, W, C] of uint8, not {images.dtype} of shape "
      f"{images.shape}"
    )
  shape = images.shape[1:]

  # Under vmap, a slice copies whole rows. A gather of pixels by computed
  # indices takes ten times as long on CPU.
  def change(padded, draw):
    start = draw // 2 // _SHIFTS, draw // 2 % _SHIFTS, 0
    cropped = jax.lax.dynamic_slice(padded, start, shape)
    return jnp.where(draw % 2 == 0, cropped, cropped[:, ::-1])

  draws = jax.random.randint(key, images.shape[:1], 0, 2 * _SHIFTS**2)
  sides = (PAD, PAD)
  padded = jnp.pad(images, ((0, 0), sides, sides, (0, 0)))
  return jax.vmap(change)(padded, draws)


def _keep(key, images):
  del key
  return images


FUNCTIONS: Mapping[str, Augment] = {"none": _keep, "crop_flip": crop_and_flip}
