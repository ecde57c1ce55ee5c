"""Statistics of tickets, against NumPy written another way."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import pytrees

from lth_jax import masks as masks_lib
from lth_jax.analysis import histograms, summary

on_table = pytest.mark.parametrize("name", pytrees.TABLE)


def random_masks(params, seed=0, density=0.5):
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda mask: jnp.asarray(rng.random(mask.shape) < density),
    masks_lib.full(params),
  )


def moved_from(params, seed=3):
  """The same tree after a training that was a random walk."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: (
      x + jnp.asarray(rng.normal(size=x.shape), x.dtype)
      if pytrees.is_float(x)
      else x
    ),
    params,
  )


def test_normalized_histograms_have_area_one():
  edges = np.array([0.0, 1.0, 3.0, 3.5])
  density = histograms.normalize([3, 4, 1], edges)
  assert (density * np.diff(edges)).sum() == pytest.approx(1)
  np.testing.assert_allclose(density, [3 / 8, 4 / 16, 2 / 8])
  assert histograms.normalize([0, 0, 0], edges).tolist() == [0, 0, 0]


def test_edges_are_multiples_of_the_deviation_that_glorot_draws():
  shape = 3, 3, 64, 128
  draw = jax.nn.initializers.glorot_normal()(jax.random.key(0), shape)
  edges = histograms.edges(shape, -3, 3, 6)
  assert edges[4] == pytest.approx(float(jnp.std(draw)), rel=0.02)
  np.testing.assert_allclose(np.diff(edges), edges[4])


@pytest.mark.parametrize("num_bins", [2, 60, 254])
def test_edges_are_symmetric_and_the_middle_one_is_zero(num_bins):
  edges = histograms.edges((28, 300), -3, 3, num_bins)
  assert len(edges) == num_bins + 1
  np.testing.assert_array_equal(edges, -edges[::-1])
  assert edges[num_bins // 2] == 0


def replicate(seed, density=0.3):
  """(theta_0, theta_j, masks) of a small convolutional network."""
  rng = np.random.default_rng(seed)
  initial = {
    "Conv_0": {"kernel": rng.normal(0, 0.4, (3, 3, 2, 4)), "bias": np.zeros(4)},
    "Dense_0": {"kernel": rng.normal(0, 0.4, (16, 5)), "bias": np.zeros(5)},
  }
  initial = jax.tree.map(np.float32, initial)
  trained = jax.tree.map(
    lambda x: x + rng.normal(size=x.shape).astype(x.dtype), initial
  )
  return initial, trained, random_masks(initial, seed, density)


@pytest.mark.parametrize("density", [0, 0.3, 1])
def test_describe_counts_every_weight_once(density):
  initial, trained, masks = replicate(0, density)
  found = summary.describe(initial, trained, masks, num_bins=30)
  assert list(found) == ["Conv_0/kernel", "Dense_0/kernel"]
  for name, leaf in found.items():
    layer = name.split("/")[0]
    x, y = (np.float64(p[layer]["kernel"]) for p in (initial, trained))
    mask = np.asarray(masks[layer]["kernel"])
    assert density == 0.3 or mask.mean() == density
    assert leaf["shape"] == list(x.shape)
    assert leaf["num_kept"] == mask.sum()
    assert leaf["num_incoming"] == mask.reshape(-1, x.shape[-1]).sum(0).tolist()
    assert sum(leaf["num_outgoing"]) == leaf["num_kept"]
    assert len(leaf["num_outgoing"]) == x.shape[-2]
    for key, values, low, high in (
      ("initial", x, -3, 3),
      ("moved", abs(y - x), 0, 15),
      ("grown", abs(y) - abs(x), -3, 15),
    ):
      edges = leaf[key]["edges"]
      assert edges == histograms.edges(x.shape, low, high, 30).tolist()
      for part, select in (("kept", mask), ("pruned", ~mask)):
        clipped = np.clip(values[select], edges[0], edges[-1])
        expected = np.histogram(clipped, edges)[0]
        assert leaf[key][part] == expected.tolist()
        assert sum(leaf[key][part]) == select.sum()


@on_table
def test_describe_takes_any_tree_and_gives_plain_json(name):
  initial = pytrees.build(name, "float32")
  masks = random_masks(initial)
  found = summary.describe(initial, moved_from(initial), masks)
  assert list(found) == list(masks_lib.density_by_name(masks))
  assert json.loads(json.dumps(found, allow_nan=False)) == found
  on_host = jax.tree.map(np.asarray, masks)
  assert summary.describe(initial, moved_from(initial), on_host) == found


def test_descriptions_of_replicates_are_pooled_by_adding():
  replicates = [replicate(seed) for seed in range(3)]
  found = [summary.describe(*each)["Conv_0/kernel"] for each in replicates]
  drawn = [
    np.asarray(initial["Conv_0"]["kernel"])[masks["Conv_0"]["kernel"]]
    for initial, _, masks in replicates
  ]
  assert len({str(each["initial"]["edges"]) for each in found}) == 1
  pooled = np.sum([each["initial"]["kept"] for each in found], axis=0)
  edges = found[0]["initial"]["edges"]
  drawn = np.clip(np.concatenate(drawn), edges[0], edges[-1])
  together = np.histogram(drawn, edges)[0]
  np.testing.assert_array_equal(pooled, together)


@pytest.mark.parametrize("shape", [(3, 5), (3, 3, 4, 2), (6,), (0, 2)])
def test_connections_are_counted_one_by_one(shape):
  mask = np.random.default_rng(0).random(shape) < 0.6
  padded = np.atleast_2d(mask)
  into, out_of = (np.zeros(n, int) for n in padded.shape[:-3:-1])
  for *_, source, target in np.argwhere(padded):
    out_of[source] += 1
    into[target] += 1
  weights = np.zeros(shape)
  found = summary.describe([weights], [weights], [mask])["0"]
  assert found["num_incoming"] == into.tolist()
  assert found["num_outgoing"] == out_of.tolist()


def test_outermost_bins_hold_what_lies_beyond():
  initial = np.array([[-np.inf, np.inf, -1e9, 1e9, -0.1, 0.1]])
  trained, masks = np.zeros((1, 6)), np.ones((1, 6), bool)
  found = summary.describe([initial], [trained], [masks], num_bins=4)["0"]
  assert found["initial"]["kept"] == [2, 1, 1, 2]


def test_default_bins_tell_signs_apart():
  initial, trained, masks = replicate(0)
  leaf = summary.describe(initial, trained, masks)["Dense_0/kernel"]
  mask = np.asarray(masks["Dense_0"]["kernel"])
  x, y = (np.float64(p["Dense_0"]["kernel"])[mask] for p in (initial, trained))
  for key, values in (("initial", x), ("grown", abs(y) - abs(x))):
    zero = leaf[key]["edges"].index(0.0)
    assert sum(leaf[key]["kept"][:zero]) == (values < 0).sum()


@pytest.mark.parametrize("which", [0, 1])
def test_weights_that_are_nan_are_an_error_naming_the_leaf(which):
  trees = list(replicate(0))
  trees[which]["Dense_0"]["kernel"][0, 0] = np.nan
  what = ("initial", "trained")[which]
  with pytest.raises(ValueError, match=f"{what}.*'Dense_0/kernel'.*NaN"):
    summary.describe(*trees)


def test_trees_that_do_not_fit_are_an_error_naming_the_leaf():
  weights = np.ones((2, 3), np.float32)
  masks = {"w": np.ones((2, 3), bool)}
  with pytest.raises(ValueError, match="'w'"):
    summary.describe({"w": weights}, {"w": weights.T}, masks)
