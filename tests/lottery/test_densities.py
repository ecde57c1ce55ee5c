"""Fractions that reach a density, against counts of what `prune` keeps."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lth_jax import masks as masks_lib
from lth_jax import pruning
from lth_jax.lottery import densities

SIZES = {"a": 4000, "b": 300, "out": 100}
RATES = {"a": 0.2, "b": 0.3, "out": 0.1}
FULL = {name: np.ones((1, size), bool) for name, size in SIZES.items()}
SCORES = {
  name: np.random.default_rng(size).random((1, size), np.float32)
  for name, size in SIZES.items()
}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.1, 0.99), min_size=1, max_size=4, unique=True))
def test_each_density_is_reached_and_layers_keep_their_proportions(asked):
  masks = FULL
  for density in sorted(asked, reverse=True):
    found = densities.fractions(masks, RATES, density)
    masks = jax.device_get(pruning.prune(SCORES, masks, found))
    kept = {name: int(mask.sum()) for name, mask in masks.items()}
    assert abs(sum(kept.values()) / 4400 - density) < 1.6 / 4400
    # One exponent for all leaves, up to the rounding of counts.
    exponents = [
      np.log(np.array([kept[x] - 2, kept[x] + 2]).clip(0.5) / SIZES[x])
      / np.log(1 - RATES[x])
      for x in SIZES
    ]
    assert max(low for _, low in exponents) <= min(x for x, _ in exponents)


def test_a_round_of_the_ladder_is_its_own_density():
  for k in (1, 5, 12):
    rates = pruning.one_shot(RATES, k)
    density = sum(SIZES[x] * (1 - rates[x]) for x in SIZES) / 4400
    found = densities.fractions(FULL, RATES, density)
    for name, rate in rates.items():
      assert found[name] == pytest.approx(rate, rel=1e-9)


def test_leaves_with_rate_0_stay_whole_and_global_scope_takes_one_rate():
  rates = {"a": 0.2, "b": 0.2, "out": 0.0}
  found = densities.fractions(FULL, rates, 0.1)
  assert found["out"] == 0 and found["a"] == found["b"]
  masks = pruning.prune(SCORES, FULL, found, scope="global")
  assert int(masks_lib.num_kept(masks)) == 440 and masks["out"].all()


def test_a_density_out_of_reach_is_named():
  sparse = jax.tree.map(lambda mask: mask & (SCORES["a"].ravel()[0] < 2), FULL)
  sparse = sparse | {"a": np.zeros_like(FULL["a"])}
  with pytest.raises(ValueError, match=r"0\.5 is above 0\.0909"):
    densities.fractions(sparse, RATES, 0.5)
  whole = {"a": 0.0, "b": 0.2, "out": 0.2}
  with pytest.raises(ValueError, match=r"0\.5 cannot be .*0\.9091"):
    densities.fractions(FULL, whole, 0.5)
