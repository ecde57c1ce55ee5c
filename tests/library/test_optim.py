"""Pruned weights do not move by a bit, whatever the optimizer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import pytrees

from lth_jax import masks as masks_lib
from lth_jax import optim

# `test_optax` has all of optax; these train for long, and compiled.
OPTIMIZERS = {
  "adamw": optax.adamw(0.01, weight_decay=0.1),
  "all at once": optax.chain(
    optax.clip_by_global_norm(0.5),
    optax.add_noise(0.1, 0.5, jax.random.key(0)),
    optax.add_decayed_weights(0.1),
    optax.sgd(0.1, 0.9, nesterov=True),
  ),
}


def loss(params, step):
  x = jnp.sin(jnp.arange(24.0) * (1 + step)).reshape(6, 4)
  hidden = jnp.tanh(x @ params["w"] + params["b"][None])
  return jnp.mean((hidden @ params["v"] - 1) ** 2)


@functools.partial(jax.jit, static_argnums=(0, 4))
def train(update, params, state, masks, num_steps):
  def body(carry, step):
    params, state = carry
    grads = jax.grad(loss)(params, step)
    updates, state = update(grads, state, params, masks=masks)
    return (optax.apply_updates(params, updates), state), None

  return jax.lax.scan(body, (params, state), jnp.arange(num_steps))[0]


def start():
  rng = np.random.default_rng(0)
  w = rng.normal(size=(4, 8)).astype(np.float32)
  v = rng.normal(size=(8, 2)).astype(np.float32)
  masks = {"w": rng.random((4, 8)) < 0.5, "v": rng.random((8, 2)) < 0.5}
  masks["w"][0, :4] = False
  params = {"w": w, "v": v, "b": np.zeros(8, np.float32)}
  tree = {"w": masks["w"], "v": masks["v"], "b": None}
  return jax.tree.map(jnp.asarray, (params, tree))


def assert_frozen(before, after, masks):
  for name in ("w", "v"):
    pruned = ~np.asarray(masks[name])
    old, new = np.asarray(before[name]), np.asarray(after[name])
    assert old[pruned].tobytes() == new[pruned].tobytes()
    assert np.all(old[~pruned] != new[~pruned])
  assert np.any(before["b"] != after["b"])


@pytest.mark.parametrize("inner", OPTIMIZERS)
def test_pruned_weights_keep_their_bits_also_with_momentum_of_a_dense_run(
  inner,
):
  params, masks = start()
  optimizer = optim.masked(OPTIMIZERS[inner])
  dense = masks_lib.full(params)
  state = optimizer.init(params)
  params, state = train(optimizer.update, params, state, dense, 50)
  special = jnp.array([0.0, -0.0, 7.0, -3.5])
  params["w"] = params["w"].at[0, :4].set(special)
  trained, _ = train(optimizer.update, params, state, masks, 50)
  assert_frozen(params, trained, masks)


def test_pruned_weights_do_not_enter_the_global_norm():
  params = {"w": jnp.zeros((1, 2))}
  grads = {"w": jnp.array([[3.0, 1e6]])}
  optimizer = optim.masked(optax.clip_by_global_norm(1.0))
  updates, _ = optimizer.update(
    grads,
    optimizer.init(params),
    params,
    masks={"w": jnp.array([[True, False]])},
  )
  np.testing.assert_allclose(updates["w"], [[1, 0]])


def test_other_extra_arguments_reach_the_inner_optimizer():
  def update(updates, state, params=None, *, scale):
    return jax.tree.map(lambda u: u * scale, updates), state

  inner = optax.GradientTransformationExtraArgs(lambda p: (), update)
  optimizer = optax.chain(optim.masked(inner), optax.scale(2.0))
  params = {"w": jnp.ones((1, 2))}
  updates, _ = optimizer.update(
    params,
    optimizer.init(params),
    params,
    masks={"w": jnp.array([[True, False]])},
    scale=3.0,
  )
  np.testing.assert_allclose(updates["w"], [[6, 0]])


@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_kept_weights_train_as_in_a_physically_smaller_network(name):
  params, _ = start()
  keep = np.array([1, 0, 1, 1, 0, 0, 1, 0], bool)
  params["b"] = jnp.zeros(8)
  masks = {
    "w": jnp.tile(keep[None], (4, 1)),
    "v": jnp.tile(keep[:, None], (1, 2)),
    "b": None,
  }
  params = masks_lib.apply(params, masks)
  small = {
    "w": params["w"][:, keep],
    "v": params["v"][keep],
    "b": params["b"][keep],
  }
  optimizer = optim.create(name)
  update = functools.partial(optimizer.update, learning_rate=0.01)
  big, _ = train(update, params, optimizer.init(params), masks, 50)
  thin, _ = train(
    update,
    small,
    optimizer.init(small),
    masks_lib.full(small),
    50,
  )
  np.testing.assert_allclose(big["w"][:, keep], thin["w"], rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(big["v"][keep], thin["v"], rtol=1e-4, atol=1e-6)


def test_project_removes_pruned_weights_and_keeps_them_away():
  params, masks = start()
  optimizer = optim.project(optax.adam(0.01), masks)

  def update(grads, state, params, *, masks):
    del masks
    return optimizer.update(grads, state, params)

  state = optimizer.init(params)
  trained, _ = train(update, params, state, masks, 20)
  for leaf in ("w", "v"):
    assert not np.any(np.asarray(trained[leaf])[~np.asarray(masks[leaf])])
    kept = np.asarray(masks[leaf])
    assert np.all(np.asarray(trained[leaf] != params[leaf])[kept])


def test_project_without_params_is_an_error():
  params, masks = start()
  optimizer = optim.project(optax.sgd(0.1), masks)
  with pytest.raises(ValueError, match="needs params"):
    optimizer.update(params, optimizer.init(params))


@pytest.mark.parametrize(("name", "dtype"), pytrees.IN_TURN)
def test_masked_works_on_every_tree_of_gradients(name, dtype):
  params = jax.tree.map(
    lambda leaf: leaf if pytrees.is_float(leaf) else None,
    pytrees.build(name, dtype),
  )
  masks = jax.tree.map(
    lambda m: np.arange(m.size).reshape(m.shape) % 3 > 0,
    masks_lib.full(params),
  )
  optimizer = optim.masked(optax.sgd(0.1, 0.9))
  state = optimizer.init(params)
  updates, _ = jax.jit(optimizer.update)(params, state, params, masks=masks)
  kept = jax.tree.leaves(masks)
  moved = jax.tree.leaves(
    jax.tree.map(
      lambda u, mask: None if mask is None else u != 0, updates, masks
    )
  )
  for got, want in zip(moved, kept, strict=True):
    np.testing.assert_array_equal(got, want)
  assert type(updates) is type(params)


@pytest.mark.parametrize("name", ["adam", "sgd", "momentum", "nesterov"])
def test_named_optimizers_equal_optax(name):
  params, _ = start()
  plain = {
    "adam": optax.adam(0.01),
    "sgd": optax.sgd(0.01),
    "momentum": optax.sgd(0.01, 0.8),
    "nesterov": optax.sgd(0.01, 0.8, nesterov=True),
  }[name]
  ours = optim.create(name, momentum=0.8)
  full = masks_lib.full(params)
  mine, theirs = ours.init(params), plain.init(params)
  for _ in range(3):
    got, mine = ours.update(
      params, mine, params, masks=full, learning_rate=0.01
    )
    want, theirs = plain.update(params, theirs, params)
    pytrees.assert_same(got, want)


def test_masks_that_do_not_fit_are_an_error_naming_the_leaf():
  params, _ = start()
  optimizer = optim.create("sgd")
  masks = {"w": jnp.ones((4, 1), bool)}
  with pytest.raises(ValueError, match="'w'"):
    optimizer.update(params, optimizer.init(params), params, masks=masks)


def test_project_hides_updates_that_are_not_finite():
  params, masks = start()
  updates = jax.tree.map(lambda p: jnp.full_like(p, jnp.nan), params)
  optimizer = optim.project(optax.identity(), masks)
  updates, _ = optimizer.update(updates, optimizer.init(params), params)
  after = optax.apply_updates(params, updates)
  for leaf in ("w", "v"):
    assert not np.any(np.asarray(after[leaf])[~np.asarray(masks[leaf])])


@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_weight_decay_is_the_gradient_of_a_penalty(name):
  params, masks = start()
  params = masks_lib.apply(params, masks)
  grads = jax.tree.map(lambda p: 0.3 - p, params)

  def updates(optimizer, grads):
    return optimizer.update(
      *(grads, optimizer.init(params), params),
      masks=masks,
      learning_rate=0.5,
    )[0]

  found = updates(optim.create(name, weight_decay=0.1), grads)
  with_penalty = jax.tree.map(lambda g, p: g + 0.1 * p, grads, params)
  expected = updates(optim.create(name), with_penalty)
  for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
    np.testing.assert_allclose(one, other, rtol=1e-6)
