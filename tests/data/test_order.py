import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax import errors
from lth_jax.data import order


def _key(seed=0):
  return jax.random.key(seed, impl="threefry2x32")


@pytest.mark.parametrize("num_valid", [0, 83])
def test_split_is_a_partition(num_valid):
  train, valid = order.split_indices(_key(), 1000, num_valid)
  assert train.shape == (1000 - num_valid,) and valid.shape == (num_valid,)
  assert train.dtype == valid.dtype == jnp.int32
  both = np.concatenate([train, valid])
  np.testing.assert_array_equal(np.sort(both), np.arange(1000))


def test_split_depends_on_the_key_alone():
  first = order.split_indices(_key(1), 100, 10)
  again = order.split_indices(_key(1), 100, 10)
  other = order.split_indices(_key(2), 100, 10)
  np.testing.assert_array_equal(first[1], again[1])
  assert set(first[1].tolist()) != set(other[1].tolist())


def test_split_is_uniform():
  splits = jax.vmap(lambda key: order.split_indices(key, 20, 5)[1])
  valid = np.asarray(splits(jax.random.split(_key(), 4000)))
  chosen = np.bincount(valid.ravel(), minlength=20)
  # Each is chosen by 1000 of 4000 splits, sd sqrt(4000 / 4 * 3 / 4) = 27.4.
  assert np.abs(chosen - 1000).max() < 5 * 27.4


@pytest.mark.parametrize("num_valid", [-1, 10, 11])
def test_split_that_leaves_nothing_is_an_error(num_valid):
  with pytest.raises(errors.InputError, match="validation"):
    order.split_indices(_key(), 10, num_valid)


def test_num_batches_drops_the_remainder():
  assert order.num_batches(55_000, 60) == 916
  assert order.num_batches(60, 60) == 1
  assert order.num_batches(119, 60) == 1


@pytest.mark.parametrize("batch_size", [0, -1, 61])
def test_batch_that_does_not_fit_is_an_error(batch_size):
  with pytest.raises(errors.InputError, match="batch"):
    order.num_batches(60, batch_size)
  with pytest.raises(errors.InputError, match="batch"):
    order.epoch_order(_key(), 0, jnp.arange(60), batch_size)


@pytest.mark.parametrize("batch_size", [1, 7, 60, 100])
def test_each_index_at_most_once_an_epoch(batch_size):
  indices = 3 * jnp.arange(100, dtype=jnp.int32) + 5
  batches = np.asarray(order.epoch_order(_key(), 4, indices, batch_size))
  assert batches.shape == (100 // batch_size, batch_size)
  assert batches.dtype == np.int32
  seen = batches.ravel().tolist()
  assert len(set(seen)) == len(seen)
  assert set(seen) <= set(indices.tolist())


def test_epochs_and_keys_differ():
  indices = jnp.arange(500)
  orders = [
    np.asarray(order.epoch_order(_key(seed), epoch, indices, 10))
    for seed in (0, 1)
    for epoch in (0, 1, 2)
  ]
  for i, one in enumerate(orders):
    for other in orders[:i]:
      assert (one != other).any()


def test_traced_epoch_equals_eager():
  indices = order.split_indices(_key(), 300, 20)[0]

  def body(epoch, orders):
    batches = order.epoch_order(_key(7), epoch, indices, 32)
    return orders.at[epoch].set(batches)

  start = jnp.zeros([3, 8, 32], jnp.int32)
  looped = jax.jit(lambda: jax.lax.fori_loop(0, 3, body, start))()
  for epoch in range(3):
    eager = order.epoch_order(_key(7), epoch, indices, 32)
    np.testing.assert_array_equal(looped[epoch], eager)
