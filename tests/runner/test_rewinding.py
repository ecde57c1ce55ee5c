"""Rounds that begin at a later step, or with trained weights.

Records hold digests of masks and weights, so equal records are equal bits.
"""

import json
import pathlib

import pytest
from helpers import runs

from lth_jax import errors
from lth_jax.config import configs

# An epoch of `tiny` has 16 steps: 23 is in the middle of the second.
STEP = 23
SMALL = {"arms": ["ticket"], "replicates": 1, "momentum": 0.9}
DROP = {"drops": [30], "warmup": 5}


def run(folder, **changed):
  runs.run(folder, **{**SMALL, **changed})
  return pathlib.Path(folder)


def record(folder, index, arm="ticket"):
  name = f"replicate_0/round_{index:03d}/{arm}/record.json"
  return json.loads((folder / name).read_text())


@pytest.mark.parametrize(
  "changed",
  [
    {"optimizer": "sgd"},
    {"optimizer": "momentum", "optimizer_state": "rewound"},
    {"optimizer": "adam", "optimizer_state": "rewound", **DROP},
  ],
  ids=lambda changed: changed["optimizer"],
)
def test_a_dense_network_that_is_rewound_equals_one_trained_straight(
  tmp_path, changed
):
  late = run(tmp_path / "late", rewind_step=STEP, rounds=1, **changed)
  straight = {k: v for k, v in changed.items() if k != "optimizer_state"}
  straight = run(tmp_path / "straight", rounds=0, **straight)
  found, expected = record(late, 0), record(straight, 0)
  assert found["digests"] == expected["digests"]
  assert found["end"] == expected["end"]
  later = [x for x in expected["evaluations"]["step"] if x > STEP]
  assert found["evaluations"]["step"] == [STEP, *later]
  curve = expected["evaluations"]["valid_loss"]
  assert found["evaluations"]["valid_loss"][1:] == curve[-len(later) :]


def test_a_ticket_that_loses_nothing_equals_the_dense_network(tmp_path):
  folder = run(
    tmp_path,
    rates=["kernel=1e-9"],
    rewind_step=STEP,
    optimizer_state="rewound",
    optimizer="momentum",
    order="shared",
    **DROP,
  )
  dense, *tickets = (record(folder, index) for index in range(3))
  for ticket in tickets:
    assert ticket["digests"] == dense["digests"]
    assert ticket["evaluations"] == dense["evaluations"]


def test_trials_side_by_side_keep_their_own_optimizer_states(tmp_path):
  """A trial's bits do not depend on the trials beside it."""
  first, second = (
    run(
      tmp_path / str(replicate),
      first_replicate=replicate,
      replicates=2,
      trials_per_device=2,
      devices=1,
      rounds=1,
      rewind_step=STEP,
      optimizer_state="rewound",
      optimizer="momentum",
    )
    for replicate in (0, 1)
  )
  name = "replicate_1/round_001/ticket/record.json"
  found = [json.loads((x / name).read_text()) for x in (first, second)]
  assert found[0]["digests"] == found[1]["digests"]


def test_survivors_begin_with_the_weights_of_the_step_or_trained_ones(tmp_path):
  """The validation loss at the start tells them apart."""
  for retrain in ("rewind", "lr_rewind"):
    folder = run(tmp_path / retrain, retrain=retrain, optimizer="sgd")
    first = record(folder, 1)["evaluations"]["valid_loss"][0]
    at_start, *_, at_end = record(folder, 0)["evaluations"]["valid_loss"]
    nearest = min((at_start, at_end), key=lambda loss: abs(loss - first))
    assert nearest == (at_start if retrain == "rewind" else at_end)


@pytest.mark.parametrize("pruning", ["iterative", "oneshot"])
def test_fine_tuning_differs_from_rates_rewound_by_the_schedule_alone(
  tmp_path, pruning
):
  def params(name, **changed):
    folder = run(
      tmp_path / f"{name}", pruning=pruning, rewind_step=STEP, **changed
    )
    return record(folder, 2)["digests"]["params"]

  assert params("a", retrain="finetune") == params("b", retrain="lr_rewind")
  tuned = params("c", retrain="finetune", drops=[30])
  assert tuned != params("d", retrain="lr_rewind", drops=[30])


def test_a_run_that_stops_and_one_whose_rewind_point_is_lost_end_alike(
  tmp_path,
):
  asked = {
    **{"rewind_step": STEP, "optimizer_state": "rewound", "replicates": 2},
    **{"optimizer": "momentum", "checkpoint_minutes": 0},
    "arms": ["ticket", "reinit", "random"],
  }
  undisturbed = run(tmp_path / "undisturbed", **asked)
  expected = runs.contents(undisturbed)
  assert "replicate_1/round_000/rewind_point" in expected
  stopped = tmp_path / "stopped"
  for looks in (2, 7, 15, 30):
    with pytest.raises(errors.StoppedError):
      run(stopped, stop=runs.StopAfter(looks), **asked)
  run(stopped, **asked)
  assert runs.contents(stopped) == expected
  point = undisturbed / "replicate_1/round_000/rewind_point"
  (point / "commit.json").unlink()
  run(undisturbed, **asked)
  assert runs.contents(undisturbed) == expected


@pytest.mark.parametrize(
  "changed, words",
  [
    ({"rewind_step": 50_000}, "--rewind_step=50000.*--steps"),
    ({"rewind_step": -1}, "--rewind_step"),
    ({"retrain": "finetune", "reset": "continued"}, "--reset=every_round"),
    ({"optimizer_state": "rewound"}, "--rewind_step"),
    (
      {"optimizer_state": "rewound", "rewind_step": 1, "retrain": "finetune"},
      "--retrain=rewind",
    ),
  ],
)
def test_what_does_not_go_together_is_named(changed, words):
  with pytest.raises(errors.InputError, match=words):
    configs.from_flat(changed)
