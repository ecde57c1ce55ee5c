"""The weights at which a round starts: saved or fresh, under new masks."""

from collections.abc import Callable
from typing import Any

import jax

from lth_jax import masks as masks_lib

PyTree = Any


def rewind(saved: PyTree, masks: PyTree) -> PyTree:
  """Returns saved weights where masks keep them, else zero.

  The choice of saved weights gives different methods of the literature:

  * the initial weights theta_0: the paper's resetting (section 1);
  * the weights of an early step k: late rewinding (arXiv 1903.01611);
  * the weights just trained: continued training (appendix B), fine-tuning.

  Raises:
    ValueError: names the leaf at which masks do not fit.

  >>> import jax.numpy as jnp
  >>> masks = {"w": jnp.array([[False, True]])}
  >>> rewind({"w": jnp.array([[1.0, 2.0]])}, masks)
  {'w': Array([[0., 2.]], dtype=float32)}
  """
  return masks_lib.apply(saved, masks)


def reinitialize(
  key: jax.Array, init: Callable[[jax.Array], PyTree], masks: PyTree
) -> PyTree:
  """Returns a fresh draw of all weights under masks (the paper's control).

  Args:
    key: PRNG key, consumed.
    init: `key -> params`, the network's initialization.
    masks: masks of these params; where they are False is 0.0.

  Raises:
    ValueError: names the leaf at which masks do not fit.
    TypeError: `init` is no function.

  >>> import jax.numpy as jnp
  >>> init = lambda key: {"w": jax.random.normal(key, (1, 2))}
  >>> fresh = reinitialize(
  ...   jax.random.key(1), init, {"w": jnp.array([[False, True]])}
  ... )
  >>> bool(fresh["w"][0, 0] == 0), bool(fresh["w"][0, 1] == 0)
  (True, False)
  """
  if not callable(init):
    raise TypeError(f"init is a {type(init).__name__}, not a function of a key")
  return masks_lib.apply(init(key), masks)
