"""Where rounds start, on every kind of pytree."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import pytrees

from lth_jax import masks as masks_lib
from lth_jax import rewinding


def test_survivors_have_their_saved_bits_and_the_rest_is_zero():
  saved = pytrees.build("linen", "float32")
  masks = jax.tree.map(
    lambda m: jnp.asarray(np.arange(m.size).reshape(m.shape) % 3 > 0),
    masks_lib.full(saved),
  )
  start = rewinding.rewind(saved, masks)
  pytrees.assert_same(start, masks_lib.apply(saved, masks))
  pytrees.assert_same(rewinding.rewind(start, masks), start)


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
  draws = jax.jit(
    jax.vmap(lambda key: rewinding.reinitialize(key, init, masks))
  )(keys)
  for i, key in enumerate(keys):
    one = rewinding.reinitialize(key, init, masks)
    pytrees.assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], draws), one)
