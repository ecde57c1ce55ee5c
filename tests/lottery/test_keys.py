"""The table of `lottery.keys`: who shares what, and that nobody else does."""

import functools
import inspect
import itertools

import jax
import pytest

from lth_jax.lottery import keys

# How many indices, besides the seed, a key is made from.
TABLE = {
  keys.initial: 1,
  keys.split: 1,
  keys.order: 2,
  functools.partial(keys.control, "reinit"): 3,
  functools.partial(keys.control, "random"): 3,
  functools.partial(keys.control, "redraw"): 2,
  functools.partial(keys.control, "noise"): 3,
  functools.partial(keys.control, "mine"): 2,
  functools.partial(keys.control, "yours"): 2,
  keys.score: 2,
}


def bits(key):
  assert str(jax.random.key_impl(key)) == "threefry2x32"
  return tuple(jax.random.key_data(key).tolist())


def test_the_table_is_whole():
  public = inspect.getmembers(keys, inspect.isfunction)
  used = {getattr(make, "func", make) for make in TABLE}
  assert {f for name, f in public if name[0] != "_"} == used


def test_every_use_has_a_key_of_its_own():
  found = []
  for make, num in TABLE.items():
    for path in itertools.product(range(3), repeat=1 + num):
      found.append(bits(make(*path)))
  for path in itertools.product(range(3), repeat=2):
    found.append(bits(keys.order(*path)))
  assert len(found) == 9 + 9 + 27 + 81 + 81 + 27 + 81 + 27 + 27 + 27 + 9
  assert len(set(found)) == len(found)


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**31, 2**32 - 1])
def test_every_seed_of_the_flag_is_a_seed(seed):
  others = {bits(keys.initial(s, 0)) for s in (1, 2**31 + 1, 2**32 - 2)}
  assert bits(keys.initial(seed, 0)) not in others
  keys.order(seed, 0, 3)


def test_the_stream_is_pinned():
  """Published numbers hang on it: a change of JAX's default changes none."""
  default = jax.config.jax_default_prng_impl
  expected = bits(keys.control("reinit", 7, 1, 2, 3))
  try:
    jax.config.update("jax_default_prng_impl", "rbg")
    assert bits(keys.control("reinit", 7, 1, 2, 3)) == expected
  finally:
    jax.config.update("jax_default_prng_impl", default)


def test_both_kinds_of_random_masks_have_one_key():
  for draw in range(3):
    both = (keys.control(x, 0, 1, 2, draw) for x in ("random", "random_global"))
    assert len(set(map(bits, both))) == 1
