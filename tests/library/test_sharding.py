"""The library on arrays that are sharded, mapped, traced or strictly typed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import pytrees

from lth_jax import masks as masks_lib
from lth_jax import optim, pruning, rewinding, scores

KEY = jax.random.key(0)


def trees():
  """Params of two leaves of one shape, for speed, and two masks of them."""
  rng = np.random.default_rng(0)
  params = {k: rng.normal(size=(4, 8)).astype(np.float32) for k in "ab"}
  masks, other = ({k: rng.random((4, 8)) < 0.7 for k in "ab"} for _ in "mo")
  return jax.tree.map(jnp.asarray, (params, masks, other))


def draw(key):
  return dict.fromkeys("ab", jax.random.normal(key, (4, 8)))


# What lies where its arguments lie.
LIKE_PARAMS = {
  "full": lambda p, m, o: masks_lib.full(p),
  "apply": lambda p, m, o: masks_lib.apply(p, m),
  "intersection": lambda p, m, o: masks_lib.intersection(m, o),
  "union": lambda p, m, o: masks_lib.union(m, o),
  "difference": lambda p, m, o: masks_lib.difference(m, o),
  "permute": lambda p, m, o: masks_lib.permute(KEY, m),
  "permute all": lambda p, m, o: masks_lib.permute(KEY, m, scope="global"),
  "unpack": lambda p, m, o: masks_lib.unpack(masks_lib.pack(m), p),
  "magnitude": lambda p, m, o: scores.magnitude(p),
  "random": lambda p, m, o: scores.random(KEY, p),
  "prune": lambda p, m, o: pruning.prune(scores.magnitude(p), m, 0.3),
  "prune all": lambda p, m, o: pruning.prune(
    scores.random(KEY, p), m, 0.3, scope="global"
  ),
  "keep": lambda p, m, o: pruning.keep(
    scores.magnitude(p), m, {k: masks_lib.num_kept(m[k]) // 2 for k in m}
  ),
  "rewind": lambda p, m, o: rewinding.rewind(p, m),
  "reinitialize": lambda p, m, o: rewinding.reinitialize(KEY, draw, m),
}
ELSEWHERE = {
  "num_kept": lambda p, m, o: masks_lib.num_kept(m),
  "density": lambda p, m, o: masks_lib.density(m),
  "density_by_name": lambda p, m, o: masks_lib.density_by_name(m),
  "overlap": lambda p, m, o: masks_lib.overlap(m, o),
  "hamming": lambda p, m, o: masks_lib.hamming(m, o),
  "pack": lambda p, m, o: masks_lib.pack(m),
  "num_removed": lambda p, m, o: pruning.num_removed(
    masks_lib.num_kept(m), 0.3
  ),
}
FUNCTIONS = LIKE_PARAMS | ELSEWHERE


def everything(params, masks, other):
  return {name: f(params, masks, other) for name, f in FUNCTIONS.items()}


@pytest.fixture(scope="module")
def expected():
  """What all functions give on one device."""
  return everything(*trees())


def assert_results(found, expected):
  for name in FUNCTIONS:
    for one, other in zip(
      jax.tree.leaves(found[name]), jax.tree.leaves(expected[name]), strict=True
    ):
      np.testing.assert_array_equal(one, other, err_msg=name)


def mesh_of(axis_type):
  kind = jax.sharding.AxisType[axis_type]
  return jax.make_mesh((2, 2), ("x", "y"), axis_types=(kind, kind))


# Not Auto axes under jit: there XLA decides where results lie.
@pytest.mark.parametrize(
  ("axis_type", "transform"),
  [("Auto", lambda f: f), ("Explicit", lambda f: f), ("Explicit", jax.jit)],
)
@pytest.mark.parametrize("spec", [jax.P(None, "y"), jax.P("x", "y")])
def test_results_are_those_of_one_device_and_lie_as_the_arguments(
  axis_type, transform, spec, expected
):
  sharding = jax.NamedSharding(mesh_of(axis_type), spec)
  found = transform(everything)(*jax.device_put(trees(), sharding))
  assert_results(found, expected)
  for name in LIKE_PARAMS:
    for leaf in jax.tree.leaves(found[name]):
      assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim), name


@pytest.mark.parametrize("name", ["full", "random"])
def test_what_is_made_anew_lies_on_the_device_of_the_params(name):
  device = jax.devices()[2]
  params, _, _ = jax.device_put(trees(), device)
  for leaf in jax.tree.leaves(FUNCTIONS[name](params, None, None)):
    assert leaf.devices() == {device}


@pytest.mark.parametrize(
  ("transform", "axis_type"),
  [("vmap", "Explicit"), ("shard_map", "Explicit"), ("shard_map", "Auto")],
)
def test_mapped_over_a_sharded_axis(axis_type, transform, expected):
  mesh = mesh_of(axis_type)
  stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), trees())
  stacked = jax.device_put(stacked, jax.NamedSharding(mesh, jax.P("x")))
  mapped = jax.vmap(everything)
  if transform == "shard_map":
    mapped = jax.shard_map(
      mapped, mesh=mesh, in_specs=jax.P("x"), out_specs=jax.P("x")
    )
  found = jax.tree.map(np.asarray, jax.jit(mapped)(*stacked))
  for i in range(2):
    assert_results(jax.tree.map(lambda leaf, i=i: leaf[i], found), expected)


@pytest.mark.parametrize("replicated", ["scores", "masks"])
def test_one_tree_may_be_the_same_on_all_devices_of_a_shard_map(replicated):
  params, masks, _ = trees()
  values = scores.magnitude(params)
  specs = {"scores": (jax.P(), jax.P("x")), "masks": (jax.P("x"), jax.P())}

  def prune(values, masks):
    return pruning.prune(values, masks, 0.3, scope="global")

  def parts(tree, spec, i):
    rows = {k: len(v) // 2 for k, v in tree.items()}
    if spec == jax.P():
      return {k: v[: rows[k]] for k, v in tree.items()}
    return {k: v[i * rows[k] : (i + 1) * rows[k]] for k, v in tree.items()}

  ins = specs[replicated]
  trees_in = [
    tree if spec != jax.P() else parts(tree, spec, 0)
    for tree, spec in zip((values, masks), ins)
  ]
  mesh = jax.make_mesh((2,), ("x",), devices=jax.devices()[:2])
  mapped = jax.shard_map(prune, mesh=mesh, in_specs=ins, out_specs=jax.P("x"))
  put = [
    jax.device_put(tree, jax.NamedSharding(mesh, spec))
    for tree, spec in zip(trees_in, ins)
  ]
  found = jax.tree.map(np.asarray, jax.jit(mapped)(*put))
  for i in range(2):
    alone = prune(*(parts(t, s, i) for t, s in zip((values, masks), ins)))
    pytrees.assert_same(parts(found, jax.P("x"), i), alone)


def test_strict_promotion_of_dtypes(expected):
  with jax.numpy_dtype_promotion("strict"):
    assert_results(jax.jit(everything)(*trees()), expected)


@pytest.mark.parametrize("dtype", pytrees.DTYPES)
def test_strict_promotion_in_optimizers(dtype):
  params, masks, _ = trees()
  params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
  optimizer = optim.create("momentum", weight_decay=0.1)
  project = optim.project(optax.sgd(0.1), masks)
  with jax.numpy_dtype_promotion("strict"):
    state = optimizer.init(params)
    updates, _ = optimizer.update(
      params, state, params, masks=masks, learning_rate=0.1
    )
    removed, _ = project.update(params, project.init(params), params)
  for leaf in jax.tree.leaves((updates, removed)):
    assert leaf.dtype == dtype


MASK = np.ones((2, 3), bool)
TRACED = {
  "prune": lambda r: pruning.prune([jnp.ones((2, 3))], [MASK], r),
  "prune by leaf": lambda r: pruning.prune([jnp.ones((2, 3))], [MASK], [r]),
  "one_shot": lambda r: pruning.one_shot(r, 2),
  "one_shot by leaf": lambda r: pruning.one_shot([r], 2),
  "one_shot rounds": lambda r: pruning.one_shot(0.1, r),
  "fractions": lambda r: pruning.fractions([MASK], [(".", r)]),
  "num_removed": lambda r: pruning.num_removed(5, r),
  "count_schedule": lambda r: pruning.count_schedule([MASK], r, 2),
  "count_schedule rounds": lambda r: pruning.count_schedule([MASK], 0.1, r),
  "count_schedule masks": lambda r: pruning.count_schedule([r > MASK], 0.1, 2),
  "density_schedule": lambda r: pruning.density_schedule([MASK], r, 2),
  "density_schedule masks": lambda r: pruning.density_schedule(
    [r > MASK], 0.1, 2
  ),
}


@pytest.mark.parametrize("function", TRACED)
@pytest.mark.parametrize(
  "transform",
  [
    jax.jit,
    jax.vmap,
    lambda f: lambda rates: jax.lax.map(f, rates),
  ],
)
def test_traced_numbers_that_decide_counts_are_an_error(function, transform):
  argument = 0.2 if transform is jax.jit else jnp.array([0.1, 0.2])
  with pytest.raises(TypeError, match=r"is traced.*call once for each value"):
    transform(TRACED[function])(argument)


HALF = jax.ShapeDtypeStruct((2**15, 2**15), bool)
VALUES = jax.ShapeDtypeStruct((2**15, 2**15), jnp.float32)
WHOLE = np.broadcast_to(True, (2**16, 2**15))


@pytest.mark.parametrize(
  ("call", "remedy"),
  [
    (lambda: jax.eval_shape(masks_lib.num_kept, [HALF] * 2), "leaf by leaf"),
    (lambda: jax.eval_shape(masks_lib.density, [HALF] * 2), "density_by_name"),
    (
      lambda: jax.eval_shape(masks_lib.overlap, [HALF] * 2, [HALF] * 2),
      "leaf by leaf",
    ),
    (
      lambda: jax.eval_shape(
        lambda v, m: pruning.prune(v, m, 0.2, scope="global"),
        [VALUES] * 2,
        [HALF] * 2,
      ),
      "scope='layer'",
    ),
    (lambda: masks_lib.density_by_name([WHOLE]), "split a leaf"),
    (lambda: pruning.count_schedule([WHOLE], 0.2, 1), "split a leaf"),
    (lambda: pruning.density_schedule([WHOLE], 0.2, 1), "split a leaf"),
  ],
)
def test_more_entries_than_int32_counts_say_what_to_do(call, remedy):
  with pytest.raises(ValueError, match=f"2147483648 entries.*{remedy}"):
    call()
