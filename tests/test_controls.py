"""What each control keeps of the ticket, and what it draws anew."""

import itertools

import jax
import numpy as np
import pytest
import tiny

from lth_jax import controls, keys
from lth_jax import masks as masks_lib

KERNELS = ("Dense_0", "Dense_1")


@pytest.fixture(scope="module")
def ticket():
  """Sparse in the first layer, almost dense in the second."""
  start = tiny.start(density=0.2, step=5)
  mask = np.ones_like(start.masks["Dense_1"]["kernel"])
  mask[0] = False
  start.masks["Dense_1"]["kernel"] = mask
  params = masks_lib.apply(tiny.start().params, start.masks)
  return start._replace(params=jax.device_get(params))


def counts(start):
  return [int(start.masks[name]["kernel"].sum()) for name in KERNELS]


def test_reinit_keeps_masks_and_draws_weights(ticket):
  start = controls.reinit(tiny.key(3), tiny.model().init, ticket)
  fresh, stats = tiny.model().init(tiny.key(3))
  tiny.assert_equal_bits(start.masks, ticket.masks)
  assert start.stats == stats and int(start.step) == 5
  for name in KERNELS:
    mask, kernel = start.masks[name]["kernel"], start.params[name]["kernel"]
    expected = np.where(mask, fresh[name]["kernel"], 0)
    np.testing.assert_array_equal(kernel, expected)
    theta_0 = ticket.params[name]["kernel"]
    assert (np.asarray(kernel)[mask] != theta_0[mask]).all()


def test_fresh_draws_differ_by_replicate_round_and_draw(ticket):
  drawn = [
    controls.reinit(keys.reinit(0, *path), tiny.model().init, ticket)
    for path in itertools.product(range(2), repeat=3)
  ]
  kernels = [np.asarray(s.params["Dense_0"]["kernel"]) for s in drawn]
  kept = ticket.masks["Dense_0"]["kernel"]
  for one, other in itertools.combinations(kernels, 2):
    assert (one[kept] != other[kept]).all()


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_random_masks_keep_theta_0_and_the_count(ticket, scope):
  saved = tiny.start(step=5)
  start = controls.random_masks(tiny.key(1), saved, ticket, scope=scope)
  assert sum(counts(start)) == sum(counts(ticket))
  assert int(start.step) == 5
  for name in KERNELS:
    mask = np.asarray(start.masks[name]["kernel"])
    theta_0 = saved.params[name]["kernel"]
    expected = np.where(mask, theta_0, 0)
    np.testing.assert_array_equal(start.params[name]["kernel"], expected)
    np.testing.assert_array_equal(
      start.params[name]["bias"], saved.params[name]["bias"]
    )
    assert (mask != ticket.masks[name]["kernel"]).any()


def test_layer_scope_keeps_the_count_of_each_layer(ticket):
  for seed in range(5):
    start = controls.random_masks(tiny.key(seed), tiny.start(), ticket)
    assert counts(start) == counts(ticket)


def test_global_scope_spreads_the_count_over_layers(ticket):
  sizes = [mask.size for mask in jax.tree.leaves(ticket.masks)]
  density = sum(counts(ticket)) / sum(sizes)
  found = np.array(
    [
      counts(
        controls.random_masks(
          tiny.key(seed), tiny.start(), ticket, scope="global"
        )
      )
      for seed in range(20)
    ]
  )
  assert len(set(found[:, 1])) > 1
  # The 24 weights of the last layer no longer are the 21 that the ticket has.
  expected = density * sizes[1]
  error = np.sqrt(expected * (1 - density) / 20)
  assert abs(found[:, 1].mean() - expected) < 4 * error < counts(ticket)[1]


def test_random_masks_differ_by_replicate_and_round(ticket):
  drawn = [
    controls.random_masks(
      keys.random_masks(0, *path), tiny.start(), ticket
    ).masks
    for path in itertools.product(range(2), repeat=2)
  ]
  for one, other in itertools.combinations(drawn, 2):
    assert float(masks_lib.overlap(one, other)) < 0.5


def test_statistics_come_with_the_weights(ticket):
  ticket = ticket._replace(stats={"mean": np.ones(3)})
  saved = tiny.start()._replace(stats={"mean": np.zeros(3)})
  start = controls.random_masks(tiny.key(1), saved, ticket)
  assert not start.stats["mean"].any()
  fresh = {"mean": np.full(3, 2.0)}
  params = tiny.start().params
  start = controls.reinit(tiny.key(1), lambda key: (params, fresh), ticket)
  assert (start.stats["mean"] == 2).all()
