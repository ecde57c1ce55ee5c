"""Scores: the importance of each weight. Higher scores are kept.

A score tree is shaped like the params: a float array at each float array, and
`None` at leaves that are not arrays. Scores at leaves without a mask are not
used. A score function takes a selection of

    key, params, grads -> scores

in this order: `magnitude(params)`, `random(key, params)`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from lth_jax import _trees

PyTree = Any


def magnitude(params: PyTree) -> PyTree:
  """Returns |w|, the score of the paper (section 1).

  Args:
    params: any pytree.

  Returns:
    Scores of the params' shapes and (real) dtypes.

  >>> magnitude({"w": jnp.array([[-2.0, 1.0]]), "activation": jax.nn.relu})
  {'activation': None, 'w': Array([[2., 1.]], dtype=float32)}
  """
  return _trees.replace_leaves(
    params,
    [
      jnp.abs(leaf.value) if _trees.is_float(leaf) else None
      for leaf in _trees.named(params)
    ],
  )


def random(key: jax.Array, params: PyTree) -> PyTree:
  """Returns uniform scores in [0, 1), to prune a random subset.

  Args:
    key: PRNG key, consumed.
    params: any pytree.

  Returns:
    Scores of the params' shapes, float32 whatever the params' dtype, so that
    ties are rare.

  >>> random(jax.random.key(0), {"w": jnp.ones((2, 3))})["w"].shape
  (2, 3)
  """
  leaves = _trees.named(params)
  keys = jax.random.split(key, len(leaves))
  draws = [
    jnp.where(
      _trees.true_like(leaf.value),
      jax.random.uniform(k, leaf.value.shape, jnp.float32),
      jnp.float32(0),
    )
    if _trees.is_float(leaf)
    else None
    for k, leaf in zip(keys, leaves)
  ]
  return _trees.replace_leaves(params, draws)
