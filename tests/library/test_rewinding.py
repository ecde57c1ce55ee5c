"""Where rounds start, on every kind of pytree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import pytrees

from lth_jax import masks as masks_lib
from lth_jax import rewinding

on_table = pytest.mark.parametrize("name", pytrees.TABLE)
on_dtypes = pytest.mark.parametrize("dtype", pytrees.DTYPES)
in_turn = pytest.mark.parametrize(("name", "dtype"), pytrees.IN_TURN)


@on_table
@on_dtypes
def test_survivors_have_their_saved_bits_and_the_rest_is_zero(name, dtype):
  saved = pytrees.build(name, dtype)
  masks = jax.tree.map(
    lambda m: jnp.asarray(np.arange(m.size).reshape(m.shape) % 3 > 0),
    masks_lib.full(saved),
  )
  start = rewinding.rewind(saved, masks)
  expected = jax.tree.map(
    lambda p, m: p if m is None else np.where(m, p, np.zeros_like(p)),
    saved,
    masks,
  )
  pytrees.assert_same(start, expected)
  pytrees.assert_same(rewinding.rewind(start, masks), start)


@in_turn
def test_jit_and_vmap_agree_with_eager(name, dtype):
  saved = pytrees.build(name, dtype)
  pytrees.assert_transforms(rewinding.rewind, saved, masks_lib.full(saved))


def init(key):
  return {"w": jax.random.normal(key, (8, 8)), "b": jnp.zeros(8)}


def test_reinitialize_draws_afresh_under_the_same_masks():
  masks = {"w": jnp.arange(64).reshape(8, 8) % 2 == 0, "b": None}
  key = jax.random.key(7)
  fresh = rewinding.reinitialize(key, init, masks)
  pytrees.assert_same(fresh, masks_lib.apply(init(key), masks))
  old = init(jax.random.key(0))
  assert not jnp.any((fresh["w"] == old["w"]) & masks["w"])
  assert not jnp.any(fresh["w"][~masks["w"]])


def test_reinitialize_under_vmap_is_one_draw_per_key():
  masks = {"w": jnp.eye(8, dtype=bool), "b": None}
  keys = jax.random.split(jax.random.key(0), 3)
  draws = jax.vmap(lambda key: rewinding.reinitialize(key, init, masks))(keys)
  for i, key in enumerate(keys):
    one = rewinding.reinitialize(key, init, masks)
    pytrees.assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], draws), one)


def test_masks_that_do_not_fit_are_an_error_naming_the_leaf():
  masks = {"w": jnp.ones((8, 4), bool)}
  with pytest.raises(ValueError, match="'w'"):
    rewinding.rewind(init(jax.random.key(0)), masks)
  with pytest.raises(ValueError, match="'w'"):
    rewinding.reinitialize(jax.random.key(0), init, masks)
