"""The components of a run, its plan and keys, and what cannot be run."""

import jax
import numpy as np
import pytest
from helpers import tiny

from lth_jax import errors
from lth_jax import masks as masks_lib
from lth_jax.config import configs
from lth_jax.config.plan import Trial
from lth_jax.data import order
from lth_jax.lottery import keys
from lth_jax.runner import build

# Percent of LeNet's weights left after each round, rounded from the formula of
# paper-facts 1.4: sum of n (1 - rate)^k over layers. In bold there: printed in
# the paper.
PAPER_LADDER = {3: 51.3, 4: 41.1, 7: 21.1, 9: 13.5, 12: 7.0, 15: 3.6, 16: 2.9}
NAMES = ("Dense_0/kernel", "Dense_1/kernel", "Dense_2/kernel")
SIZES = np.array([235_200, 30_000, 1_000])
RATES = np.array([0.2, 0.2, 0.1])


def config(**changes):
  """A run that fits the tiny data set, with some fields changed."""
  return configs.from_flat(
    {
      "num_valid": tiny.NUM.valid,
      "hidden": [tiny.HIDDEN],
      "batch_size": tiny.BATCH,
      "rates": ["Dense_1=0.1", "kernel=0.2"],
      "rounds": 3,
    }
    | changes
  )


def lenet(**changes):
  """The paper's network, on tiny images of MNIST's size."""
  changes = {
    "hidden": [300, 100],
    "rates": ["Dense_2=0.1", "kernel=0.2"],
  } | changes
  data = tiny.dataset((28, 28, 1))._replace(num_classes=10)
  return build.make(config(**changes), data)


def kept(masks):
  return [int(mask.sum()) for mask in jax.tree.leaves(masks)]


@pytest.fixture(scope="module")
def trained():
  """Weights of the paper's network, as if trained."""
  parts = lenet()
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda mask: None if mask is None else rng.normal(size=mask.shape),
    parts.like.masks,
    is_leaf=lambda mask: mask is None,
  )


def test_the_components_of_a_run():
  parts = build.make(config(), tiny.dataset())
  assert parts.num_images == tiny.NUM
  assert parts.run_id == configs.run_id(config())
  assert kept(parts.like.masks) == [64 * 8, 8 * 3]
  assert jax.tree.leaves(parts.rates) == [0.2, 0.1]
  leaves = jax.tree.leaves(parts.like.masks)
  assert all(isinstance(leaf, np.ndarray) for leaf in leaves)


def test_the_ladder_of_lenet(trained):
  """Iterated pruning of random weights, all 20 rounds."""
  parts = lenet(rounds=20)
  masks, trained = parts.like.masks, jax.tree.map(np.float32, trained)
  for k in range(21):
    counts = kept(masks)
    assert counts[0] + counts[1] + counts[2] == int(masks_lib.num_kept(masks))
    percent = 100 * sum(counts) / 266_200
    formula = 100 * (SIZES * (1 - RATES) ** k).sum() / 266_200
    assert abs(percent - formula) < 0.005
    if k in PAPER_LADDER:
      assert abs(percent - PAPER_LADDER[k]) < 0.051
    before, masks = masks, parts.prune(0, None, trained, masks, k + 1)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(masks)):
      assert not (new & ~old).any()
  assert isinstance(jax.tree.leaves(masks)[0], np.ndarray)


def test_one_shot_reaches_the_same_densities(trained):
  parts = lenet(rounds=20, pruning="oneshot")
  trained = jax.tree.map(np.float32, trained)
  for k in (1, 9, 20):
    masks = parts.prune(0, None, trained, parts.like.masks, k)
    removed = np.rint(SIZES * (1 - (1 - RATES) ** k))
    assert kept(masks) == (SIZES - removed).astype(int).tolist()


def test_global_scope_removes_from_all_layers_together(trained):
  parts = lenet(scope="global", rates=["Dense_2=0", "kernel=0.2"])
  scaled = jax.tree.map(np.float32, trained)
  scaled["Dense_1"]["kernel"] *= 10
  masks = parts.prune(0, None, scaled, parts.like.masks, 1)
  counts = kept(masks)
  assert counts[2] == 1_000 and sum(counts[:2]) == 265_200 - 53_040
  assert counts[1] / SIZES[1] > 0.97 > counts[0] / SIZES[0]


@pytest.mark.parametrize(
  "rates", [["output=0.1", "kernel=0.2"], ["kernel=0.2", "output=0.1"]]
)
@pytest.mark.parametrize("num_hidden", [1, 2, 3, 12])
def test_the_output_layer_has_its_rate_at_any_depth(num_hidden, rates):
  parts = lenet(hidden=[20] * num_hidden, rates=rates)
  by_layer = {name: x["kernel"] for name, x in parts.rates.items()}
  assert by_layer.pop(f"Dense_{num_hidden}") == 0.1
  assert set(by_layer.values()) == {0.2}


@pytest.mark.parametrize(
  ("rates", "words"),
  [
    # Once the default, for two hidden layers.
    (["Dense_2/kernel=0.1", "kernel=0.2"], ["Dense_12/kernel", "output=0.1"]),
    (["Dense_2=0.1", "kernel=0.2"], ["Dense_12/kernel", "output=0.1"]),
    # Some of Dense_10 to Dense_12 beside the one that is meant.
    (["output=0.1", "Dense_1=0.3", "kernel=0.2"], ["Dense_10", "slash"]),
    (["output=0.1", "0/kernel=0.3", "kernel=0.2"], ["Dense_10", "slash"]),
    (["output=0.1", r"Dense_\d=0.3", "kernel=0.2"], ["Dense_10", "slash"]),
    (["output=0.1", "output=0.3", "kernel=0.2"], ["two rates", "output"]),
  ],
)
def test_a_rule_that_could_mean_another_layer_is_an_error(rates, words):
  with pytest.raises(errors.InputError) as error:
    lenet(hidden=[20] * 12, rates=rates)
  assert all(word in str(error.value) for word in words)


def test_a_rule_may_name_any_hidden_layer_by_its_number():
  rates = ["output=0.1", "Dense_2/=0.3", r"Dense_1\d*/=0.4", "kernel=0.2"]
  found = lenet(hidden=[20] * 12, rates=rates).rates
  found = {name: leaf["kernel"] for name, leaf in found.items()}
  numbered = {f"Dense_{i}": 0.4 for i in (1, 10, 11)}
  assert found == dict.fromkeys(found, 0.2) | numbered | {
    "Dense_2": 0.3,
    "Dense_12": 0.1,
  }


def test_splits_and_initial_weights_depend_on_seed_and_replicate():
  many = build.make(config(seed=9, replicates=5), tiny.dataset())
  found = many.split(2)
  train, valid = order.split_indices(keys.split(9, 2), 200, tiny.NUM.valid)
  np.testing.assert_array_equal(found.train, train)
  np.testing.assert_array_equal(found.valid, valid)
  start = build.initial_start(many, 2)
  params, _ = tiny.model().init(keys.initial(9, 2))
  tiny.assert_equal_bits(start.params, params)
  assert start.step == 0 and start.masks is many.like.masks


@pytest.mark.parametrize(
  ("changes", "round_index", "expected"),
  [
    ({}, 0, (0, 2, 0)),
    ({}, 3, (0, 2, 3)),
    ({"order": "shared"}, 3, (0, 2)),
    ({"seed": 5}, 0, (5, 2, 0)),
    ({"seed": 5, "order_seed": 8}, 0, (8, 2, 0)),
    ({"seed": 5, "order_seed": 0}, 0, (0, 2, 0)),
  ],
)
def test_the_order_is_that_of_the_config(changes, round_index, expected):
  for arm in ("ticket", "reinit"):
    trial = Trial(2, round_index, arm)
    assert build.order_key(config(**changes), trial) == keys.order(*expected)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"num_train": 500}, "--num_train=500: tiny has 200 training images"),
    ({"num_test": 51}, "--num_test=51: tiny has 50 test images"),
    ({"model": "vgg19"}, "--model=vgg19: images of 8 x 8 pixels"),
    ({"num_valid": 200}, r"--num_valid=200: tiny has 200 training images"),
    ({"batch_size": 164}, r"batch of 164 does not fit 163"),
    ({"rates": ["kernal=0.2"]}, r"--rates: no rule matches"),
    (
      {"rates": ["kernel=0.2", "Dense_1=0.1"]},
      r"--rates: rule 'Dense_1' decides no",
    ),
    ({"scope": "global"}, r"--rates: scope 'global' takes one nonzero rate"),
    (
      {"rates": ["Dense_1=0.9", "kernel=0.2"]},
      r"round 2 leaves Dense_1/kernel without a weight; choose --rounds=1",
    ),
    (
      {"rates": ["kernel=0.9"], "pruning": "oneshot", "rounds": 20},
      r"--rounds=20: round 2 leaves Dense_1/kernel without a weight",
    ),
    (
      {"rates": ["kernel=0.99"], "scope": "global", "rounds": 20},
      r"round 2 leaves the network without a weight; choose --rounds=1",
    ),
    (
      {
        "rates": ["kernel=0.99"],
        "scope": "global",
        "rounds": 20,
        "pruning": "oneshot",
      },
      r"round 2 leaves the network without a weight; choose --rounds=1",
    ),
  ],
)
def test_what_cannot_be_run_is_an_error_in_one_line(changes, message):
  with pytest.raises(errors.InputError, match=message) as error:
    build.make(config(**changes), tiny.dataset())
  assert "\n" not in str(error.value)


def test_a_subset_is_the_first_images():
  parts = build.make(config(num_train=60, num_test=20), tiny.dataset())
  images = parts.data
  known = 60 + parts.num_images.valid
  tiny.assert_equal_bits(images.labels, tiny.dataset().train.labels[:known])
  tiny.assert_equal_bits(images.test_images, tiny.dataset().test.images[:20])
  split = parts.split(0)
  assert sorted(np.concatenate(split).tolist()) == [*range(known)]


@pytest.mark.parametrize("pruning", ["iterative", "oneshot"])
def test_densities_of_ones_own(trained, pruning):
  wanted = [0.5, 0.2, 0.05]
  parts = lenet(rounds=3, densities=wanted, pruning=pruning)
  masks, trained = parts.like.masks, jax.tree.map(np.float32, trained)
  for k, density in enumerate(wanted, start=1):
    before = parts.like.masks if pruning == "oneshot" else masks
    masks = parts.prune(0, None, trained, before, k)
    assert abs(sum(kept(masks)) - density * 266_200) < 2


@pytest.mark.parametrize(
  ("changed", "words"),
  [
    ({"densities": [0.5], "rounds": 2}, "--rounds=1"),
    ({"densities": [0.2, 0.5], "rounds": 2}, "smaller than"),
    ({"densities": [1.0], "rounds": 1}, "in \\(0, 1\\)"),
    (
      {"densities": [0.001], "rounds": 1, "rates": ["output=0", "kernel=0.2"]},
      "--densities.*0.003757",
    ),
    ({"densities": [1e-9], "rounds": 1}, "without a weight"),
  ],
)
def test_densities_that_no_network_has_are_named(changed, words):
  with pytest.raises(errors.InputError, match=words):
    lenet(**changed)
