"""Scores on every kind of pytree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import pytrees

from lth_jax import scores

on_table = pytest.mark.parametrize("name", pytrees.TABLE)
on_dtypes = pytest.mark.parametrize("dtype", pytrees.DTYPES)
in_turn = pytest.mark.parametrize(("name", "dtype"), pytrees.IN_TURN)


def floats(tree):
  return [leaf for leaf in jax.tree.leaves(tree) if pytrees.is_float(leaf)]


@on_table
@on_dtypes
def test_magnitude_is_the_absolute_value_of_each_float_leaf(name, dtype):
  params = pytrees.build(name, dtype)
  result = scores.magnitude(params)
  assert type(result) is type(params)
  pytrees.assert_same(
    jax.tree.leaves(result), [np.abs(leaf) for leaf in floats(params)]
  )


@on_table
@on_dtypes
def test_random_is_float32_of_the_same_shapes(name, dtype):
  params = pytrees.build(name, dtype)
  result = scores.random(jax.random.key(0), params)
  leaves = jax.tree.leaves(result)
  assert [x.shape for x in leaves] == [x.shape for x in floats(params)]
  assert {x.dtype.name for x in leaves} == {"float32"}
  assert type(result) is type(params)


@in_turn
def test_jit_and_vmap_agree_with_eager(name, dtype):
  key = jax.random.key(0)
  pytrees.assert_transforms(
    lambda p: (scores.magnitude(p), scores.random(key, p)),
    pytrees.build(name, dtype),
  )


def test_random_scores_differ_between_leaves_and_keys():
  params = [jnp.zeros((50, 50)), jnp.zeros((50, 50))]
  a = scores.random(jax.random.key(0), params)
  b = scores.random(jax.random.key(1), params)
  draws = np.stack([np.ravel(leaf) for leaf in a + b])
  assert np.abs(np.corrcoef(draws) - np.eye(4)).max() < 0.1
  assert 0.45 < draws.mean() < 0.55
