"""What each control keeps of the ticket, and what it draws anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import pytrees, tiny

from lth_jax import masks as masks_lib
from lth_jax.lottery import controls
from lth_jax.training import Start

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


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_random_masks_keep_theta_0_and_the_count(ticket, scope):
  saved = tiny.start(step=5)
  start = controls.random_masks(tiny.key(1), saved, ticket, scope=scope)
  assert sum(counts(start)) == sum(counts(ticket))
  assert (counts(start) == counts(ticket)) == (scope == "layer")
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


def test_statistics_come_with_the_weights(ticket):
  ticket = ticket._replace(stats={"mean": np.ones(3)})
  saved = tiny.start()._replace(stats={"mean": np.zeros(3)})
  start = controls.random_masks(tiny.key(1), saved, ticket)
  assert not start.stats["mean"].any()
  fresh = {"mean": np.full(3, 2.0)}
  params = tiny.start().params
  start = controls.reinit(tiny.key(1), lambda key: (params, fresh), ticket)
  assert (start.stats["mean"] == 2).all()


# What the tests below share: each as (key, saved, ticket) -> Start.
CONTROLS = {
  "redraw": lambda key, saved, ticket: controls.redraw(key, ticket),
  "magnitude_at_start": lambda key, saved, ticket: controls.magnitude_at_start(
    saved, ticket
  ),
  "noise": lambda key, saved, ticket: controls.noise(key, saved, ticket, 0.5),
}
on_controls = pytest.mark.parametrize("control", CONTROLS)


def starts(params, density=0.5):
  """The dense network, and a ticket of random masks in it."""
  rng = np.random.default_rng(0)
  full = masks_lib.full(params)
  masks = jax.tree.map(
    lambda mask: jnp.asarray(rng.random(mask.shape) < density), full
  )
  saved = Start(params, {}, np.int32(5), full)
  return saved, saved._replace(
    params=masks_lib.apply(params, masks), masks=masks
  )


def lists(*shapes):
  """A list of kernels, of an initialization that is not Glorot's."""
  rng = np.random.default_rng(1)
  return [jnp.asarray(rng.normal(1, 3, s), jnp.float32) for s in shapes]


@on_controls
@pytest.mark.parametrize(("name", "dtype"), pytrees.IN_TURN)
def test_pruned_weights_are_zero_and_unmasked_leaves_the_tickets(
  control, name, dtype
):
  saved, ticket = starts(pytrees.build(name, dtype))
  start = CONTROLS[control](tiny.key(1), saved, ticket)
  assert (start.stats, int(start.step)) == ({}, 5)
  assert jax.tree.structure(start) == jax.tree.structure(ticket)
  masks = dict(jax.tree.leaves_with_path(start.masks))
  before = dict(jax.tree.leaves_with_path(ticket.params))
  for path, leaf in jax.tree.leaves_with_path(start.params):
    if path in masks:
      mask, leaf = np.asarray(masks[path]), np.asarray(leaf)
      assert leaf.dtype == before[path].dtype
      assert not leaf[~mask].tobytes().strip(b"\0")
      assert leaf[mask].astype(bool).all()
    else:
      pytrees.assert_same(leaf, before[path])
  for mask, other in zip(
    jax.tree.leaves(start.masks), jax.tree.leaves(ticket.masks)
  ):
    assert mask.sum() == other.sum()


@on_controls
def test_controls_under_jit_and_vmap_equal_eager(control):
  saved, ticket = starts(lists((3, 4), (2, 2, 2)))
  draws = jax.random.split(tiny.key(1), 2)
  function = CONTROLS[control]
  both = jax.jit(jax.vmap(function, (0, None, None)))(draws, saved, ticket)
  for i, key in enumerate(draws):
    one = function(key, saved, ticket)
    for x, y in zip(jax.tree.leaves(both), jax.tree.leaves(one)):
      np.testing.assert_allclose(x[i], y, rtol=1e-5, atol=1e-6)
      assert ((x[i] == 0) == (y == 0)).all()


@on_controls
def test_a_leaf_that_keeps_nothing_or_has_nothing(control):
  saved, ticket = starts(lists((3, 4), (0, 4)), density=0)
  start = CONTROLS[control](tiny.key(1), saved, ticket)
  for leaf, mask in zip(start.params, start.masks):
    assert not leaf.any() and not mask.any()


@pytest.mark.parametrize("control", ["redraw", "noise"])
def test_draws_differ_by_key_and_leaf(control):
  saved, ticket = starts([lists((8, 9))[0]] * 2)
  ticket = ticket._replace(masks=[ticket.masks[0]] * 2)
  one, other = (
    CONTROLS[control](tiny.key(seed), saved, ticket).params for seed in (1, 2)
  )
  kept = np.asarray(ticket.masks[0])
  for x, y in ((one[0], other[0]), (one[0], one[1])):
    assert (np.asarray(x)[kept] != np.asarray(y)[kept]).mean() > 0.8


def test_redraw_takes_only_the_tickets_own_values_of_the_leaf():
  _, ticket = starts(lists((30, 40), (3, 3, 8, 8)))
  start = controls.redraw(tiny.key(1), ticket)
  tiny.assert_equal_bits(start.masks, ticket.masks)
  for x, y, mask in zip(start.params, ticket.params, ticket.masks):
    mask = np.asarray(mask)
    drawn, own = np.asarray(x)[mask], np.asarray(y)[mask]
    assert set(drawn.tolist()) <= set(own.tolist())
    # With replacement, 1 - 1/e of n values are drawn at least once.
    assert len(set(drawn.tolist())) / len(own) == pytest.approx(0.632, abs=0.06)


def test_redraw_is_uniform_and_independent():
  mask = np.array([[True, False, True, True, False]])
  params = [jnp.array([[10.0, 0, 20, 30, 0]])]
  ticket = Start(params, {}, 0, [mask])
  redraw = jax.jit(jax.vmap(lambda key: controls.redraw(key, ticket).params[0]))
  draws = redraw(jax.random.split(tiny.key(1), 3000))
  kept = np.asarray(draws)[:, mask]
  for value in (10, 20, 30):
    np.testing.assert_allclose((kept == value).mean(0), 1 / 3, atol=0.04)
  pairs = np.corrcoef(kept.T)[np.triu_indices(3, 1)]
  assert (abs(pairs) < 0.08).all()


def test_magnitude_at_start_keeps_the_largest_of_each_leaf():
  saved, ticket = starts(lists((30, 40), (3, 3, 8, 8)))
  start = controls.magnitude_at_start(saved, ticket)
  rows = zip(saved.params, ticket.masks, start.masks, start.params)
  for theta_0, old, new, params in rows:
    size = np.abs(np.asarray(theta_0)).ravel()
    largest = np.sort(np.argsort(size)[size.size - int(old.sum()) :])
    np.testing.assert_array_equal(np.flatnonzero(new), largest)
    np.testing.assert_array_equal(params, np.where(new, theta_0, 0))


def test_magnitude_at_start_keeps_exact_counts_among_ties():
  saved, ticket = starts([jnp.ones((6, 7))])
  start = controls.magnitude_at_start(saved, ticket)
  count = int(ticket.masks[0].sum())
  expected = np.arange(42) >= 42 - count
  np.testing.assert_array_equal(np.ravel(start.masks[0]), expected)


def test_magnitude_at_start_compiles_once_for_all_densities():
  saved, _ = starts(lists((5, 7)))
  tickets = [starts(lists((5, 7)), density)[1] for density in (0.2, 0.5, 0.8)]
  controls.magnitude_at_start(saved, tickets[0])
  with tiny.compilations() as compiled:
    for ticket in tickets[1:]:
      controls.magnitude_at_start(saved, ticket)
  assert not compiled


def test_no_noise_is_the_ticket():
  saved, ticket = starts(lists((3, 4), (2, 2, 2)))
  start = controls.noise(tiny.key(1), saved, ticket, 0)
  tiny.assert_equal_bits(start, ticket)


@pytest.mark.parametrize("factor", [0.5, 3])
def test_noise_is_gaussian_in_units_of_the_dense_leaf(factor):
  dense = lists((90, 80), (90, 80))
  saved, ticket = starts([dense[0], 2 * dense[1]])
  start = controls.noise(tiny.key(1), saved, ticket, factor)
  tiny.assert_equal_bits(start.masks, ticket.masks)
  for x, y, dense, mask in zip(
    start.params, ticket.params, saved.params, ticket.masks
  ):
    mask = np.asarray(mask)
    added = np.asarray(x)[mask] - np.asarray(y)[mask]
    unit = added / (factor * np.std(np.asarray(dense)))
    assert unit.mean() == pytest.approx(0, abs=4 / np.sqrt(unit.size))
    assert unit.std() == pytest.approx(1, abs=4 / np.sqrt(2 * unit.size))
    assert (abs(unit) < 1).mean() == pytest.approx(0.683, abs=0.03)
    own = np.corrcoef(added, np.asarray(y)[mask])[0, 1]
    assert abs(own) < 4 / np.sqrt(unit.size)


def test_factors_of_noise_share_the_draw_and_one_program():
  saved, ticket = starts(lists((9, 8)))
  noise = jax.jit(controls.noise)
  one, two = (
    noise(tiny.key(1), saved, ticket, f).params[0] for f in (1.0, 2.0)
  )
  base = ticket.params[0]
  np.testing.assert_allclose(two - base, 2 * (one - base), atol=1e-5)
  assert noise._cache_size() == 1


def test_masks_without_a_leaf_are_an_error():
  start = Start({"b": jnp.ones(3)}, {}, 0, {"b": None})
  for control in CONTROLS.values():
    with pytest.raises(ValueError, match="no mask"):
      control(tiny.key(1), start, start)
