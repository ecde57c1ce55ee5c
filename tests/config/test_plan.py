"""The trials of a run, and which one gives another its masks."""

import numpy as np
import pytest

from lth_jax.config import configs, plan
from lth_jax.config.plan import Trial
from lth_jax.lottery import rounds
from lth_jax.training import loop


def test_a_rewind_point_comes_first_and_has_the_steps_before_the_others():
  config = _config(rewind_step=9, steps=20, arms=["ticket", "random"])
  point, ticket = plan.of_round(config, 7, 0)
  assert point.name == "replicate_7/round_000/rewind_point"
  assert not point.is_control and not plan.supplies_masks(config, point)
  assert plan.steps(config, point) == range(9)
  others = [ticket, *plan.of_round(config, 7, 1)]
  assert {plan.steps(config, trial) for trial in others} == {range(9, 20)}
  assert plan.of_round(_config(), 7, 0) == [ticket]


def _config(**changed):
  return configs.from_flat(changed)


def test_a_run_counts_its_trials():
  config = _config(first_replicate=3, replicates=2, arms=["ticket", "reinit"])
  assert plan.replicates(config) == range(3, 5)
  assert plan.num_at_once(config) == 2 * (1 + 3)
  assert plan.num_at_once(_config(rounds=0, replicates=2)) == 2
  assert plan.owner("0123", "4567", Trial(0, 1, "ticket").name) == (
    "run 0123, data 4567, replicate_0/round_001/ticket"
  )


def test_controls_are_trained_in_the_rounds_that_were_asked_for():
  asked = {"arms": ["ticket", "random", "noise"], "noise": [0.5, 1.0]}
  config = _config(**asked, control_rounds=[2])
  assert [len(plan.controls(config, 0, index)) for index in range(4)] == [
    *(0, 0, 3, 0)
  ]
  assert [len(plan.controls(_config(**asked), 0, x)) for x in (0, 1)] == [0, 3]
  other_order = _config(**asked | {"arms": ["noise", "random", "ticket"]})
  assert plan.of_round(other_order, 0, 1) == plan.of_round(
    _config(**asked), 0, 1
  )


@pytest.mark.parametrize(
  ("asked", "parents"),
  [
    ({}, [None, "round_000/ticket", "round_001/ticket"]),
    ({"pruning": "oneshot"}, [None, "round_000/ticket", "round_000/ticket"]),
    ({"reset": "continued"}, [None, "round_000/ticket", "round_001/search"]),
    ({"rewind_step": 9}, [None, "round_000/ticket", "round_001/ticket"]),
  ],
)
def test_masks_come_from_the_trial_before(asked, parents):
  config = _config(**asked)
  found = [
    plan.parent(config, Trial(7, index, "reinit", 1)) for index in (0, 1, 2)
  ]
  assert [x and x.name.removeprefix("replicate_7/") for x in found] == parents
  for parent in found[1:]:
    assert plan.supplies_masks(config, parent)
  assert not plan.supplies_masks(config, Trial(7, 1, "random"))


@pytest.mark.parametrize(
  "changes",
  [{}, {"pruning": "oneshot"}, {"reset": "continued"}],
)
def test_the_plan_lists_the_trials_of_the_algorithm(changes):
  """Compares with `lottery`; its training notes which trials supply masks."""
  some = _config(arms=["ticket"], rounds=3, **changes)
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
  expected = [trial for i in range(4) for trial in plan.of_round(some, 0, i)]
  assert run == expected
  # The last round would supply a round that the run does not have.
  supplying = [
    trial
    for trial in run
    if plan.supplies_masks(some, trial) and trial != run[-1]
  ]
  assert supplying == list(dict.fromkeys(pruned))
