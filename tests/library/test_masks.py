"""Masks on every kind of pytree, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import pytrees

from lth_jax import masks as masks_lib
from lth_jax import pruning

on_table = pytest.mark.parametrize("name", pytrees.TABLE)
on_dtypes = pytest.mark.parametrize("dtype", pytrees.DTYPES)
in_turn = pytest.mark.parametrize(("name", "dtype"), pytrees.IN_TURN)


def random_masks(params, seed=0):
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda mask: jnp.asarray(rng.random(mask.shape) < 0.5),
    masks_lib.full(params),
  )


def flat(masks):
  return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(masks)])


@on_table
@on_dtypes
def test_full_masks_float_kernels_only(name, dtype):
  params = pytrees.build(name, dtype)
  masks = masks_lib.full(params)
  kernels = [
    leaf.shape
    for leaf in jax.tree.leaves(params)
    if pytrees.is_float(leaf) and leaf.ndim > 1
  ]
  assert [leaf.shape for leaf in jax.tree.leaves(masks)] == kernels
  assert flat(masks).all()
  assert type(masks) is type(params)
  masks_lib.check(masks, params)


@on_table
@on_dtypes
def test_apply_zeroes_pruned_entries_and_touches_nothing_else(name, dtype):
  params = pytrees.build(name, dtype)
  masks = random_masks(params)
  result = masks_lib.apply(params, masks)
  pytrees.assert_same(
    result,
    jax.tree.map(
      lambda p, m: p if m is None else np.where(m, p, np.zeros_like(p)),
      params,
      masks,
    ),
  )
  assert type(result) is type(params)


@in_turn
def test_jit_and_vmap_agree_with_eager(name, dtype):
  params = pytrees.build(name, dtype)
  masks, other = random_masks(params, 1), random_masks(params, 2)

  def everything(params, masks, other):
    return (
      masks_lib.full(params),
      masks_lib.apply(params, masks),
      masks_lib.num_kept(masks),
      masks_lib.intersection(masks, other),
      masks_lib.union(masks, other),
      masks_lib.difference(masks, other),
      masks_lib.overlap(masks, other),
      masks_lib.hamming(masks, other),
      masks_lib.unpack(masks_lib.pack(masks), params),
    )

  pytrees.assert_transforms(everything, params, masks, other)


@on_table
def test_map_and_by_name_pair_leaves_by_name(name):
  params = pytrees.build(name, "float32")
  masks = random_masks(params)
  rows = masks_lib.by_name(masks, params)
  assert list(rows) == list(masks_lib.density_by_name(masks))
  for (mask, leaf), other in zip(rows.values(), jax.tree.leaves(masks)):
    assert mask is other and leaf.shape == mask.shape
  signs = {key: 1.0 - 2 * i for i, key in enumerate(rows)}
  found = masks_lib.map(
    lambda leaf, mask, sign: sign * jnp.where(mask, leaf, 0),
    params,
    masks,
    signs,
  )
  assert jax.tree.structure(found) == jax.tree.structure(params)
  again = masks_lib.by_name(masks, found)
  for key, (mask, leaf) in rows.items():
    expected = signs[key] * np.where(mask, leaf, 0)
    np.testing.assert_array_equal(again[key][1], expected)


@on_table
def test_counts_and_comparisons_equal_numpy(name):
  params = pytrees.build(name, "float32")
  a, b = random_masks(params, 1), random_masks(params, 2)
  x, y = flat(a), flat(b)
  assert int(masks_lib.num_kept(a)) == x.sum()
  assert float(masks_lib.density(a)) == pytest.approx(x.mean())
  assert masks_lib.num_kept(a).dtype == jnp.int32
  by_name = masks_lib.density_by_name(a)
  means = [np.mean(leaf) for leaf in jax.tree.leaves(a)]
  np.testing.assert_allclose(list(by_name.values()), means, rtol=1e-6)
  np.testing.assert_array_equal(flat(masks_lib.intersection(a, b)), x & y)
  np.testing.assert_array_equal(flat(masks_lib.union(a, b)), x | y)
  np.testing.assert_array_equal(flat(masks_lib.difference(a, b)), x & ~y)
  jaccard = (x & y).sum() / (x | y).sum()
  assert float(masks_lib.overlap(a, b)) == pytest.approx(jaccard)
  assert int(masks_lib.hamming(a, b)) == (x != y).sum()
  assert type(masks_lib.union(a, b)) is type(a)


def test_density_under_jit_and_vmap():
  masks = jnp.arange(56).reshape(2, 4, 7) % 5 == 0
  density = jax.jit(jax.vmap(lambda mask: masks_lib.density([mask])))(masks)
  np.testing.assert_allclose(density, masks.mean((1, 2)), rtol=1e-6)


def test_apply_hides_nan_and_infinity():
  params = {"w": jnp.array([[jnp.nan, jnp.inf, -jnp.inf, 1.0]])}
  masks = {"w": jnp.array([[False, False, False, True]])}
  np.testing.assert_array_equal(
    masks_lib.apply(params, masks)["w"], [[0, 0, 0, 1]]
  )


def test_overlap_of_two_empty_masks_is_one():
  empty = [jnp.zeros((2, 2), bool)]
  assert float(masks_lib.overlap(empty, empty)) == 1
  assert float(masks_lib.overlap(empty, [jnp.ones((2, 2), bool)])) == 0


@on_table
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_permute_keeps_counts_and_depends_on_the_key(name, scope):
  masks = random_masks(pytrees.build(name, "float32"))
  draws = [
    masks_lib.permute(jax.random.key(seed), masks, scope=scope)
    for seed in range(3)
  ]
  for draw in draws:
    assert flat(draw).sum() == flat(masks).sum()
    if scope == "layer":
      for x, y in zip(jax.tree.leaves(draw), jax.tree.leaves(masks)):
        assert (x.shape, x.sum()) == (y.shape, y.sum())
  assert len({flat(draw).tobytes() for draw in draws}) > 1


def test_global_permute_moves_weights_between_leaves():
  masks = [jnp.ones((4, 8), bool), jnp.zeros((4, 8), bool)]
  mixed = masks_lib.permute(jax.random.key(0), masks, scope="global")
  assert 0 < int(masks_lib.num_kept(mixed[:1])) < 32


def test_permute_is_uniform():
  mask = [jnp.array([[True, True, False, False, False]])]
  keys = jax.random.split(jax.random.key(0), 4000)
  draws = jax.vmap(lambda key: masks_lib.permute(key, mask)[0])(keys)
  np.testing.assert_allclose(draws.mean(0), np.full((1, 5), 0.4), atol=0.03)


@on_table
def test_pack_is_eight_to_a_byte_and_unpack_inverts_it(name):
  params = pytrees.build(name, "float32")
  masks = random_masks(params)
  packed = masks_lib.pack(masks)
  for bits, mask in zip(jax.tree.leaves(packed), jax.tree.leaves(masks)):
    np.testing.assert_array_equal(bits, np.packbits(np.asarray(mask)))
  pytrees.assert_same(masks_lib.unpack(packed, params), masks)
  structure = jax.tree.structure(jax.eval_shape(masks_lib.pack, masks))
  from_disk = [np.asarray(bits) for bits in jax.tree.leaves(packed)]
  restored = jax.tree.unflatten(structure, from_disk)
  pytrees.assert_same(masks_lib.unpack(restored, masks), masks)


def test_a_selector_sees_names_of_float_arrays_only():
  seen = []

  def prunable(name, leaf):
    seen.append(name)
    return name == "z"

  masks = masks_lib.full(pytrees.mixed_leaves(), prunable=prunable)
  assert seen == ["kernel", "z"]
  assert len(jax.tree.leaves(masks)) == 1


@pytest.mark.parametrize(
  ("masks", "message"),
  [
    ({"a": {"w": jnp.ones((2, 3), bool), "v": jnp.ones(2, bool)}}, "a/v"),
    ({"a": {"w": jnp.ones((3, 2), bool)}}, r"a/w.*\(3, 2\).*\(2, 3\)"),
    ({"a": {"w": jnp.ones((1, 3), bool)}}, "a/w"),
    ({"a": {"w": jnp.ones((2, 3))}}, "a/w.*float32.*bool"),
    ({"a": {"w": True}}, "a/w.*bool"),
    ({"a": jnp.ones((2, 3), bool)}, "'a'"),
    ({"a": {"f": jnp.ones((2, 3), bool)}}, "a/f"),
  ],
)
def test_masks_that_do_not_fit_are_an_error_naming_the_leaf(masks, message):
  params = {"a": {"w": jnp.ones((2, 3)), "f": jax.nn.relu}}
  for function in (masks_lib.check, lambda m, p: masks_lib.apply(p, m)):
    with pytest.raises(ValueError, match=message):
      function(masks, params)


def test_masks_of_different_params_cannot_be_combined():
  w = jnp.ones((2, 3), bool)
  for other in ({"w": w, "v": w}, {"v": w}, {"w": w.T}):
    for a, b in (({"w": w}, other), (other, {"w": w})):
      with pytest.raises(ValueError, match=r"'[wv]'"):
        masks_lib.union(a, b)


@pytest.mark.parametrize(
  "function",
  [
    masks_lib.density,
    lambda masks: pruning.density_schedule(masks, 0.2, 2),
  ],
)
def test_masks_without_an_entry_have_no_density(function):
  with pytest.raises(ValueError, match="without an entry"):
    function([np.ones((0, 3), bool)])
