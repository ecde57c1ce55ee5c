"""The trials of a run, and which one gives another its masks."""

import pytest

from lth_jax.config import configs, plan
from lth_jax.config.plan import Trial


def _config(**changed):
  return configs.from_flat(changed)


def test_a_run_counts_its_trials():
  config = _config(first_replicate=3, replicates=2, arms=["ticket", "reinit"])
  assert plan.replicates(config) == range(3, 5)
  assert plan.num_at_once(config) == 2 * (1 + 3)
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


@pytest.mark.parametrize(
  ("asked", "parents"),
  [
    ({}, [None, "round_000/ticket", "round_001/ticket"]),
    ({"pruning": "oneshot"}, [None, "round_000/ticket", "round_000/ticket"]),
    ({"reset": "continued"}, [None, "round_000/ticket", "round_001/search"]),
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
