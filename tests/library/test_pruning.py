"""Pruning against an independent reference: sort all, drop the first few."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import pytrees, tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from lth_jax import _ranking, pruning, scores
from lth_jax import masks as masks_lib

on_table = pytest.mark.parametrize("name", pytrees.TABLE)
in_turn = pytest.mark.parametrize(("name", "dtype"), pytrees.IN_TURN)
on_scopes = pytest.mark.parametrize("scope", ["layer", "global"])

LENET = {"fc1": (784, 300), "fc2": (300, 100), "out": (100, 10)}
SHAPES = ((3, 4), (7,), (2, 2, 2))


def sort_and_drop(values, masks, rate):
  """Masks of leaves ranked together, by a stable sort in float64."""
  score = np.concatenate([np.ravel(v).astype(np.float64) for v in values])
  keep = np.concatenate([np.ravel(m) for m in masks])
  alive = np.flatnonzero(keep)
  order = alive[np.argsort(score[alive], kind="stable")]
  keep[order[: round(rate * len(alive))]] = False
  pieces = np.split(keep, np.cumsum([np.size(m) for m in masks])[:-1])
  return [piece.reshape(np.shape(m)) for piece, m in zip(pieces, masks)]


def reference(values, masks, rate, scope):
  if scope == "global":
    return sort_and_drop(values, masks, rate)
  return [sort_and_drop([v], [m], rate)[0] for v, m in zip(values, masks)]


def cut(flat):
  ends = np.cumsum([np.prod(shape) for shape in SHAPES])[:-1]
  return [p.reshape(s) for p, s in zip(np.split(flat, ends), SHAPES)]


def assert_masks(result, expected):
  for got, want in zip(jax.tree.leaves(result), expected):
    np.testing.assert_array_equal(got, want)


@in_turn
@on_scopes
def test_three_rounds_equal_the_reference_on_every_tree(name, dtype, scope):
  params = pytrees.build(name, dtype)
  masks = masks_lib.full(params)
  values = scores.magnitude(params)
  ranked = [
    np.abs(np.asarray(leaf))
    for leaf in jax.tree.leaves(params)
    if pytrees.is_float(leaf) and leaf.ndim > 1
  ]
  expected = [np.asarray(leaf) for leaf in jax.tree.leaves(masks)]
  for _ in range(3):
    masks = pruning.prune(values, masks, 0.3, scope=scope)
    expected = reference(ranked, expected, 0.3, scope)
    assert_masks(masks, expected)
    assert type(masks) is type(params)


@in_turn
@on_scopes
def test_jit_and_vmap_agree_with_eager(name, dtype, scope):
  params = pytrees.build(name, dtype)
  masks = jax.tree.map(lambda m: m.at[1].set(False), masks_lib.full(params))

  def prune(params, masks):
    return pruning.prune(scores.magnitude(params), masks, 0.3, scope=scope)

  pytrees.assert_transforms(prune, params, masks)


SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, 1e-45, -1e-45, 3e38, 0.5]


@settings(max_examples=50)
@given(
  st.lists(
    st.sampled_from(SPECIAL)
    | st.floats(width=32, allow_nan=False)
    | st.integers(-3, 3).map(float),
    min_size=27,
    max_size=27,
  ),
  st.lists(st.booleans(), min_size=27, max_size=27),
  st.floats(0, 1, exclude_max=True),
  st.sampled_from(["layer", "global"]),
)
def test_any_scores_any_masks_any_rate(values, kept, rate, scope):
  values = cut(np.array(values, np.float32))
  masks = cut(np.array(kept))
  expected = reference(values, masks, rate, scope)
  before, after = [
    np.array([np.sum(mask) for mask in tree]) for tree in (masks, expected)
  ]
  if scope == "global":
    before, after = before.sum(keepdims=True), after.sum(keepdims=True)
  if np.any((before > 0) & (after == 0)):
    with pytest.raises(ValueError, match="removes all"):
      pruning.prune(values, masks, rate, scope=scope, signed=True)
    return
  found = pruning.prune(values, masks, rate, scope=scope, signed=True)
  assert_masks(found, expected)


@pytest.mark.parametrize("dtype", pytrees.DTYPES)
def test_every_pattern_of_bits_is_ranked(dtype):
  bits = np.random.default_rng(0).integers(0, 2**32, 4096, np.uint32)
  dtype = jnp.dtype(dtype)
  bits = bits.astype(f"uint{8 * dtype.itemsize}")
  values = bits.view(dtype)
  values = values[np.asarray(~jnp.isnan(values))][None]
  masks = [np.ones(values.shape, bool)]
  for rate in (0.1, 0.5, 0.9):
    expected = reference([values], masks, rate, "layer")
    assert_masks(pruning.prune([values], masks, rate, signed=True), expected)


def test_dtypes_may_differ_between_leaves_in_global_scope():
  key = jax.random.key(0)
  dtypes = ("float32", "bfloat16", "float16")
  values = [jax.random.uniform(key, (5, 5)).astype(dtype) for dtype in dtypes]
  masks = [jnp.ones((5, 5), bool)] * 3
  result = pruning.prune(values, masks, 0.5, scope="global")
  expected = reference(map(np.asarray, values), masks, 0.5, "global")
  assert_masks(result, expected)


def test_leaves_of_rate_zero_keep_what_they_have():
  masks = {"a": jnp.ones((4, 4), bool), "b": jnp.ones((4, 4), bool)}
  values = {"a": jnp.zeros((4, 4)), "b": jnp.ones((4, 4))}
  rates = {"a": 0.0, "b": 0.5}
  for scope in ("layer", "global"):
    result = pruning.prune(values, masks, rates, scope=scope)
    assert (int(result["a"].sum()), int(result["b"].sum())) == (16, 8)


def test_later_rounds_compile_nothing():
  values = [jax.random.uniform(jax.random.key(0), (17, 19))]
  masks = pruning.prune(values, [jnp.ones((17, 19), bool)], 0.2)
  masks = pruning.prune(values, masks, 0.2)
  counts = [{"0": count} for count in (np.int32(9), np.int32(5))]
  pruning.keep(values, masks, counts[0])
  with tiny.compilations() as compiled:
    for rate in (0.2, 0.3, 0.4):
      masks = pruning.prune(values, masks, rate)
    pruning.keep(values, masks, counts[1])
    assert not compiled
    pruning.prune([jnp.ones((19, 17))], [jnp.ones((19, 17), bool)], 0.2)
    assert compiled


@in_turn
def test_keep_reaches_the_counts_of_the_ladder(name, dtype):
  params = pytrees.build(name, dtype)
  values, masks = scores.magnitude(params), masks_lib.full(params)
  ladder = pruning.count_schedule(masks, 0.3, 2)
  expected = pruning.prune(values, masks, 0.3)
  for counts in ladder[1:]:
    found = pruning.keep(values, masks, counts)
    assert list(map(int, counts.values())) == [
      int(mask.sum()) for mask in jax.tree.leaves(found)
    ]
    assert_masks(found, jax.tree.leaves(expected))
    assert type(found) is type(params)
    expected = pruning.prune(values, expected, 0.3)


def test_keep_takes_traced_counts():
  values = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.arange(4.0)[None]}
  masks = {"a": jnp.ones((2, 3), bool), "b": jnp.ones((1, 4), bool)}

  def keep(counts):
    return pruning.keep(values, masks, counts)

  counts = {"a": np.array([0, 2, 6]), "b": np.array([4, 1, 0])}
  both = jax.jit(jax.vmap(keep))(counts)
  for i in range(3):
    one = keep({name: int(count[i]) for name, count in counts.items()})
    for name, mask in one.items():
      assert int(mask.sum()) == counts[name][i]
      np.testing.assert_array_equal(both[name][i], mask)


@pytest.mark.parametrize(
  ("counts", "message"),
  [
    ({"w": 5, "v": 0}, r"count 5 of 'w' is outside \[0, 4\]"),
    ({"w": 1, "v": -1}, "count -1 of 'v'"),
    ({"w": 1}, "'v', counts have none"),
    ({"w": 1, "v": 0.5}, "count 0.5 of 'v' is not an integer"),
    ({"w": 1, "v": True}, "count True of 'v' is not an integer"),
  ],
)
def test_counts_that_do_not_fit_are_errors(counts, message):
  values, masks = (dict.fromkeys("wv", np.ones((2, 2), t)) for t in ("f", bool))
  with pytest.raises((ValueError, TypeError), match=message):
    pruning.keep(values, masks, counts)


@settings(max_examples=40)
@given(
  st.lists(st.integers(0, 2**31 - 1), min_size=8, max_size=8),
  st.sampled_from([0.1, 0.2, 0.15, 0.5, 1 - 0.8**7, 2.0**-40, 1 - 2.0**-53])
  | st.floats(0, 1, exclude_max=True),
)
def test_counts_are_exact_whichever_way_they_are_computed(kept, rate):
  expected = [round(rate * n) for n in kept]
  assert [pruning.num_removed(n, rate) for n in kept] == expected
  array = jnp.asarray(kept, jnp.int32)
  assert pruning.num_removed(array, rate).tolist() == expected


def test_counts_under_jit_vmap_and_scan_at_ties_and_beyond_float32():
  kept = [5, 15, 25, 35, 10**9 + 5, 50_000_003, 2**31 - 1, 1, 0]
  array = jnp.asarray(kept, jnp.int32)
  for rate in (0.1, 0.2, 0.5, 0.7902847999999999):
    expected = [round(rate * n) for n in kept]

    @jax.jit
    def removed(array, rate=rate):
      def count(before):
        return pruning.num_removed(before, rate)

      scanned = jax.lax.map(count, array)
      return count(array), jax.vmap(count)(array), scanned

    for result in removed(array):
      assert result.dtype == jnp.int32
      assert result.tolist() == expected


def test_schedules_equal_pruning_itself():
  masks = {"a": jnp.ones((9, 11), bool), "b": jnp.ones((9, 11), bool)}
  rates = {"a": 0.2, "b": 0.1}
  values = scores.random(
    jax.random.key(0), jax.tree.map(lambda m: jnp.zeros(m.shape), masks)
  )
  counts = pruning.count_schedule(masks, rates, 8)
  layer = pruning.density_schedule(masks, rates, 8)
  whole = pruning.density_schedule(masks, {"a": 0.2, "b": 0}, 8, scope="global")
  pair, single = masks, masks
  for k in range(9):
    assert {n: int(m.sum()) for n, m in pair.items()} == counts[k]
    assert int(masks_lib.num_kept(pair)) / 198 == layer[k]
    assert int(masks_lib.num_kept(single)) / 198 == whole[k]
    pair = pruning.prune(values, pair, rates)
    single = pruning.prune(values, single, {"a": 0.2, "b": 0}, scope="global")


def test_one_shot_reaches_the_density_of_the_iterative_ladder():
  masks = {name: np.ones(shape, bool) for name, shape in LENET.items()}
  rates = pruning.fractions(masks, [("out", 0.1), ("", 0.2)])
  ladder = pruning.density_schedule(masks, rates, 15)
  for k in (0, 1, 7, 15):
    at_once = pruning.one_shot(rates, k)
    density = pruning.density_schedule(masks, at_once, 1)[1]
    assert density == pytest.approx(ladder[k], abs=2e-5)
  assert pruning.one_shot(0.2, 2) == 1 - (1 - 0.2) ** 2


@on_table
def test_fractions_follow_the_first_rule_that_matches(name):
  masks = masks_lib.full(pytrees.build(name, "float32"))
  first, *rest = masks_lib.density_by_name(masks)
  rates = pruning.fractions(masks, [(f"^{first}$", 0.1), (".", 0.2)])
  assert jax.tree.leaves(rates) == [0.1] + [0.2] * len(rest)
  assert jax.tree.structure(rates) == jax.tree.structure(masks)


def test_nan_of_a_pruned_weight_is_no_error():
  values = [jnp.array([[jnp.nan, 1.0, 2.0]])]
  masks = [jnp.array([[False, True, True]])]
  result = pruning.prune(values, masks, 0.5)
  np.testing.assert_array_equal(result[0], [[False, False, True]])


def test_under_tracing_nan_of_either_sign_leaves_first():
  values = jnp.array([[-jnp.inf, jnp.nan, 0.0, -jnp.nan, 1.0]])
  masks = jnp.ones((1, 5), bool)
  prune = jax.jit(lambda v, m: pruning.prune(v, m, 0.4))
  result = prune(values, masks)
  np.testing.assert_array_equal(result, [[True, False, True, False, True]])


@on_scopes
def test_leaves_of_rate_0_count_with_what_they_have(scope):
  sparse = np.arange(20).reshape(4, 5) % 2 == 0
  masks = {"a": np.ones((10, 10), bool), "b": sparse}
  rates = {"a": 0.5, "b": 0.0}
  found = pruning.density_schedule(masks, rates, 2, scope=scope)
  assert found == (110 / 120, 60 / 120, 35 / 120)


def test_vmap_may_share_masks_or_scores():
  values = jax.random.uniform(jax.random.key(0), (3, 4, 5))
  mask = jnp.ones((4, 5), bool)
  masks = jnp.stack([mask, mask.at[0].set(False), mask.at[:, 1].set(False)])

  def prune(value, mask=mask):
    return pruning.prune([value], [mask], 0.2)[0]

  def of_one(mask):
    return prune(values[0], mask)

  @jax.jit
  def mapped(values, masks):
    inside = jax.vmap(lambda v: prune(v, masks_lib.full(v)))(values)
    return jax.vmap(prune)(values), inside, jax.vmap(of_one)(masks)

  shared, inside, found = mapped(values, masks)
  for i in range(3):
    np.testing.assert_array_equal(shared[i], prune(values[i]))
    np.testing.assert_array_equal(inside[i], prune(values[i]))
    np.testing.assert_array_equal(found[i], of_one(masks[i]))


def test_float64_scores_are_not_rounded_silently():
  values = 1 + np.arange(10.0)[::-1].reshape(2, 5) * 1e-12
  masks = [np.ones((2, 5), bool)]
  with pytest.raises(TypeError, match="float64"):
    pruning.prune([values], masks, 0.3)
  with jax.enable_x64(True):
    kept = pruning.prune([values], masks, 0.3)[0]
  assert np.flatnonzero(~np.asarray(kept)).tolist() == [7, 8, 9]


def test_ranking_copies_no_scores():
  shape = jax.ShapeDtypeStruct((1000, 1000), jnp.float32)
  mask = jax.ShapeDtypeStruct((1000, 1000), bool)
  compiled = _ranking.remove_lowest.lower([shape], [mask], 5).compile()
  assert compiled.memory_analysis().temp_size_in_bytes < 100_000


@pytest.mark.parametrize("axis_type", ["Auto", "Explicit"])
def test_ranking_gathers_no_sharded_leaf(axis_type):
  devices = jax.devices()
  assert len(devices) > 1
  mesh = jax.make_mesh(
    (len(devices),), ("x",), axis_types=(jax.sharding.AxisType[axis_type],)
  )
  sharding = jax.NamedSharding(mesh, jax.P("x"))
  rng = np.random.default_rng(0)
  values = [rng.integers(0, 50, (8 * n, 12)).astype(np.float32) for n in (1, 3)]
  masks = [rng.random(v.shape) < 0.8 for v in values]
  sharded = jax.device_put((values, masks), sharding)
  for count in (0, 1, 30, 200):
    found = _ranking.remove_lowest(*sharded, count)
    expected = _ranking.remove_lowest(values, masks, count)
    for one, other in zip(found, expected):
      np.testing.assert_array_equal(one, other)
  text = _ranking.remove_lowest.lower(*sharded, 30).compile().as_text()
  # What the devices exchange are counts, one of each device.
  assert set(re.findall(r"= (\S+) all-\w+", text)) == {
    f"s32[{len(devices)},1]{{1,0}}"
  }
