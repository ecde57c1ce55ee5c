"""The components of a run, its plan and keys, and what cannot be run."""

import dataclasses

import jax
import numpy as np
import pytest
from helpers import tiny

from lth_jax import errors
from lth_jax import masks as masks_lib
from lth_jax.config import configs
from lth_jax.config import plan as plan_lib
from lth_jax.config.plan import Trial
from lth_jax.data import order
from lth_jax.lottery import keys, rounds
from lth_jax.runner import build
from lth_jax.training import loop

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
    parts.masks,
    is_leaf=lambda mask: mask is None,
  )


def test_the_components_of_a_run():
  parts = build.make(config(), tiny.dataset())
  assert parts.num_images == tiny.NUM
  assert parts.run_id == configs.run_id(config())
  assert kept(parts.masks) == [64 * 8, 8 * 3]
  assert jax.tree.leaves(parts.fractions) == [0.2, 0.1]
  leaves = jax.tree.leaves(parts.masks)
  assert all(isinstance(leaf, np.ndarray) for leaf in leaves)


def test_the_ladder_of_lenet(trained):
  """Iterated pruning of random weights, all 20 rounds."""
  parts = lenet(rounds=20)
  masks, trained = parts.masks, jax.tree.map(np.float32, trained)
  for k in range(21):
    counts = kept(masks)
    assert counts[0] + counts[1] + counts[2] == int(masks_lib.num_kept(masks))
    percent = 100 * sum(counts) / 266_200
    formula = 100 * (SIZES * (1 - RATES) ** k).sum() / 266_200
    assert abs(percent - formula) < 0.005
    if k in PAPER_LADDER:
      assert abs(percent - PAPER_LADDER[k]) < 0.051
    before, masks = masks, parts.prune(trained, masks)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(masks)):
      assert not (new & ~old).any()
  assert isinstance(jax.tree.leaves(masks)[0], np.ndarray)


def test_the_ladder_keeps_the_largest_of_each_layer(trained):
  parts = lenet(rounds=7)
  masks = parts.masks
  for _ in range(7):
    masks = parts.prune(jax.tree.map(np.float32, trained), masks)
  pairs = zip(jax.tree.leaves(masks), jax.tree.leaves(trained))
  for mask, weights in pairs:
    assert np.abs(weights[mask]).min() > np.abs(weights[~mask]).max()


def test_one_shot_reaches_the_same_densities(trained):
  parts = lenet(rounds=20, pruning="oneshot")
  trained = jax.tree.map(np.float32, trained)
  for k in (1, 9, 20):
    masks = parts.prune(trained, parts.masks, k)
    removed = np.rint(SIZES * (1 - (1 - RATES) ** k))
    assert kept(masks) == (SIZES - removed).astype(int).tolist()


def test_global_scope_removes_from_all_layers_together(trained):
  parts = lenet(scope="global", rates=["Dense_2=0", "kernel=0.2"])
  scaled = jax.tree.map(np.float32, trained)
  scaled["Dense_1"]["kernel"] *= 10
  masks = parts.prune(scaled, parts.masks)
  counts = kept(masks)
  assert counts[2] == 1_000 and sum(counts[:2]) == 265_200 - 53_040
  assert counts[1] / SIZES[1] > 0.97 > counts[0] / SIZES[0]


@pytest.mark.parametrize(
  "rates", [["output=0.1", "kernel=0.2"], ["kernel=0.2", "output=0.1"]]
)
@pytest.mark.parametrize("num_hidden", [1, 2, 3, 12])
def test_the_output_layer_has_its_rate_at_any_depth(num_hidden, rates):
  parts = lenet(hidden=[20] * num_hidden, rates=rates)
  by_layer = {name: x["kernel"] for name, x in parts.fractions.items()}
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


def test_the_old_name_of_the_output_layer_is_a_second_rate_for_it():
  with pytest.raises(errors.InputError, match=r"two rates.*output layer"):
    lenet(rates=["Dense_2/kernel=0.1", "output=0.3", "kernel=0.2"])


def test_a_rule_may_name_any_hidden_layer_by_its_number():
  rates = ["output=0.1", "Dense_2/=0.3", r"Dense_1\d*/=0.4", "kernel=0.2"]
  found = lenet(hidden=[20] * 12, rates=rates).fractions
  found = {name: leaf["kernel"] for name, leaf in found.items()}
  numbered = {f"Dense_{i}": 0.4 for i in (1, 10, 11)}
  assert found == dict.fromkeys(found, 0.2) | numbered | {
    "Dense_2": 0.3,
    "Dense_12": 0.1,
  }


ARMS = ["ticket", "reinit", "random", "random_global"]


def names(trials):
  return [trial.name.removeprefix("replicate_4/round_00") for trial in trials]


def test_trials_of_a_round():
  some = config(arms=ARMS, reinits=2)
  assert names(plan_lib.of_round(some, 4, 0)) == ["0/ticket"]
  assert names(plan_lib.of_round(some, 4, 2)) == [
    "2/ticket",
    "2/random",
    "2/random_global",
    "2/reinit_0",
    "2/reinit_1",
  ]


def test_trials_do_not_depend_on_the_order_of_the_arms():
  for index in range(4):
    one = plan_lib.of_round(config(arms=ARMS), 0, index)
    assert one == plan_lib.of_round(config(arms=ARMS[::-1]), 0, index)


def test_controls_may_skip_rounds():
  some = config(arms=["ticket", "random"], control_rounds=[1, 3])
  found = [names(plan_lib.controls(some, 4, index)) for index in range(4)]
  assert found == [[], ["1/random"], [], ["3/random"]]
  assert all(plan_lib.of_round(some, 4, i)[0].arm == "ticket" for i in range(4))


def test_continued_training_adds_its_search_but_not_after_the_last_round():
  some = config(reset="continued", arms=["ticket"])
  found = [names(plan_lib.of_round(some, 4, index)) for index in range(4)]
  assert found == [
    ["0/ticket"],
    ["1/ticket", "1/search"],
    ["2/ticket", "2/search"],
    ["3/ticket"],
  ]


@pytest.mark.parametrize(
  "changes",
  [{}, {"pruning": "oneshot"}, {"reset": "continued"}],
)
def test_the_plan_lists_the_trials_of_the_algorithm(changes):
  """Compares with `lottery`; its training notes which trials supply masks."""
  some = config(arms=["ticket"], **changes)
  function = {
    "oneshot": rounds.one_shot_rounds,
    "continued": rounds.continued_rounds,
  }.get("".join(changes.values()), rounds.rounds)
  one = np.ones((1, 1), np.float32)
  saved = loop.Start({"w": one}, {}, 0, {"w": one > 0})
  run, pruned = [], []

  def train(arm, index, start):
    run.append(Trial(0, index, arm))
    return rounds.Trained({"w": one * (len(run) - 1)}, {}, False)

  def prune(trained, masks, *_):
    pruned.append(run[int(trained["w"].item())])
    return masks

  list(function(saved, train, prune, 3))
  expected = [
    trial for i in range(4) for trial in plan_lib.of_round(some, 0, i)
  ]
  assert run == expected
  # The last round would supply a round that the run does not have.
  supplying = [
    trial
    for trial in run
    if plan_lib.supplies_masks(some, trial) and trial != run[-1]
  ]
  assert supplying == list(dict.fromkeys(pruned))


def test_controls_supply_no_masks():
  for changes in ({}, {"pruning": "oneshot"}, {"reset": "continued"}):
    some = config(arms=ARMS, **changes)
    for trial in plan_lib.controls(some, 0, 2):
      assert not plan_lib.supplies_masks(some, trial)


def test_the_widest_round_decides_the_number_at_once():
  assert plan_lib.num_at_once(config(arms=["ticket"], replicates=3)) == 3
  some = config(arms=ARMS, reinits=3, replicates=2, control_rounds=[2])
  assert plan_lib.num_at_once(some) == 2 * 6
  assert plan_lib.num_at_once(config(rounds=0, replicates=2)) == 2


def test_replicates_are_counted_from_the_first():
  assert list(plan_lib.replicates(config(replicates=2))) == [0, 1]
  alone = config(replicates=1, first_replicate=3)
  assert list(plan_lib.replicates(alone)) == [3]


@pytest.fixture(scope="module")
def many():
  return build.make(config(seed=9, replicates=5), tiny.dataset())


def test_a_replicate_is_the_same_alone(many):
  alone = config(seed=9, replicates=1, first_replicate=3)
  alone = build.make(alone, tiny.dataset())
  tiny.assert_equal_bits(many.split(3), alone.split(3))
  tiny.assert_equal_bits(
    build.initial_start(many, 3), build.initial_start(alone, 3)
  )


def test_splits_depend_on_seed_and_replicate(many):
  found = many.split(2)
  train, valid = order.split_indices(keys.split(9, 2), 200, tiny.NUM.valid)
  np.testing.assert_array_equal(found.train, train)
  np.testing.assert_array_equal(found.valid, valid)


def test_initial_weights_depend_on_seed_and_replicate(many):
  start = build.initial_start(many, 2)
  params, _ = tiny.model().init(keys.initial(9, 2))
  tiny.assert_equal_bits(start.params, params)
  assert start.step == 0 and start.masks is many.masks


def order_bits(round_index, arm="ticket", **changes):
  trial = Trial(2, round_index, arm)
  key = build.order_key(config(**changes), trial)
  return jax.random.key_data(key).tolist()


def test_rounds_and_arms_share_one_order():
  first = order_bits(0)
  assert first == order_bits(3) == order_bits(3, "random")
  assert first == jax.random.key_data(keys.order(0, 2)).tolist()


def test_order_per_round_gives_each_round_its_own():
  first = order_bits(0, order="per_round")
  assert first != order_bits(3, order="per_round")
  assert order_bits(3, order="per_round") == order_bits(
    3, "reinit", order="per_round"
  )
  assert first != order_bits(0)


def test_the_order_has_the_seed_of_the_run_by_default():
  assert order_bits(0, seed=5) != order_bits(0, seed=6)
  assert order_bits(0, seed=5, order_seed=8) == order_bits(0, order_seed=8)
  assert order_bits(0, seed=5, order_seed=0) == order_bits(0, seed=0)


@pytest.mark.parametrize(
  "changes, message",
  [
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
      {"rates": ["Dense_1=0.9", "kernel=0.2"], "reset": "continued"},
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


def test_the_last_round_that_the_error_names_can_be_run():
  rates = ["Dense_1=0.9", "kernel=0.2"]
  parts = build.make(config(rates=rates, rounds=1), tiny.dataset())
  assert kept(parts.masks) == [512, 24]


def test_execution_changes_no_identity():
  changed = dataclasses.replace(
    config(), execution=configs.Execution(devices=7, progress="none")
  )
  one, other = (build.make(c, tiny.dataset()) for c in (config(), changed))
  assert one.run_id == other.run_id


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"num_train": 500}, "--num_train=500: tiny has 200 training images"),
    ({"num_test": 51}, "--num_test=51: tiny has 50 test images"),
    ({"model": "vgg19"}, "--model=vgg19: images of 8 x 8 pixels"),
    ({"rates": ["Conv=0.2", "kernel=0.2"]}, "--rates: rule 'Conv' decides no"),
  ],
)
def test_a_config_that_does_not_fit_is_an_error_in_one_line(changes, message):
  with pytest.raises(errors.InputError) as caught:
    build.make(config(**changes), tiny.dataset())
  assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_subset_is_the_first_images():
  parts = build.make(config(num_train=60, num_test=20), tiny.dataset())
  images = parts.data
  known = 60 + parts.num_images.valid
  tiny.assert_equal_bits(images.labels, tiny.dataset().train.labels[:known])
  tiny.assert_equal_bits(images.test_images, tiny.dataset().test.images[:20])
  split = parts.split(0)
  assert sorted(np.concatenate(split).tolist()) == [*range(known)]


def test_normal_kernels_have_the_standard_deviation_that_was_asked_for():
  parts = build.make(config(init_std=0.3, hidden=[300]), tiny.dataset())
  params = build.initial_start(parts, 0).params
  kernels = np.concatenate([params[x]["kernel"].ravel() for x in params])
  assert abs(kernels.std() - 0.3) < 0.01 and abs(kernels.mean()) < 0.01
  assert not any(params[x]["bias"].any() for x in params)
