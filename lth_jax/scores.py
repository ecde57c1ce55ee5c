"""Scores: the importance of each weight. Higher scores are kept.

A score tree is shaped like the params: a float array at each float array, and
`None` at leaves that are not arrays. Scores at leaves without a mask are not
used.
"""

from typing import Any

import jax
import jax.numpy as jnp

from lth_jax import _trees

PyTree = Any


def magnitude(params: PyTree) -> PyTree:
  """Returns |w|, the score of the paper (section 1), in the dtypes of params.

  >>> magnitude({"w": jnp.array([[-2.0, 1.0]]), "activation": jax.nn.relu})
  {'activation': None, 'w': Array([[2., 1.]], dtype=float32)}
  """
  magnitudes = [
    jnp.abs(leaf.value) if _trees.is_float(leaf) else None
    for leaf in _trees.named(params)
  ]
  return _trees.replace_leaves(params, magnitudes)


def random(key: jax.Array, params: PyTree) -> PyTree:
  """Returns uniform scores in [0, 1), to prune a random subset.

  They are float32 whatever the params' dtype, so that ties are rare. The key is
  consumed.

  >>> random(jax.random.key(0), {"w": jnp.ones((2, 3))})["w"].shape
  (2, 3)
  """

  def draw(key, leaf):
    if not _trees.is_float(leaf):
      return None
    drawn = jax.random.uniform(key, leaf.value.shape, jnp.float32)
    # Where the leaf lies.
    return jnp.where(_trees.true_like(leaf.value), drawn, jnp.float32(0))

  leaves = _trees.named(params)
  keys = jax.random.split(key, len(leaves))
  return _trees.replace_leaves(params, list(map(draw, keys, leaves)))
