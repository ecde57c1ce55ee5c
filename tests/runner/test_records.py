"""The record of a trial, and that the report reads it."""

import json
import math

import numpy as np
import pytest
from helpers import synthetic_runs, tiny

from lth_jax.config.plan import Trial
from lth_jax.parallel import segments
from lth_jax.runner import records
from lth_jax.storage import files
from lth_jax.training import evaluation, loop

NUM = evaluation.NumImages(train=160, valid=40, test=50)
TICKET = Trial(1, 2, "ticket")
ORIGIN = synthetic_runs.ORIGIN
STEPS = (0, 5, 10, 20)
NAN = float("nan")


def start(kept=((True, False), (True, True))):
  masks = {
    "a": {"bias": None, "kernel": np.array(kept)},
    "b": {"kernel": np.ones((2, 3), bool)},
  }
  params = {
    "a": {"bias": np.zeros(2, np.float32), "kernel": np.float32(kept)},
    "b": {"kernel": np.ones((2, 3), np.float32)},
  }
  return loop.Start(params, {}, np.int32(0), masks)


def checkpoint(*, valid=(3.0, None, 1.0, 2.0), finite=True, best=10):
  """Evaluated at 0, 10 and 20, tested at 0 and 20, paused at 5."""
  rows = tuple(
    segments.Row(
      step=step,
      evaluate=step != 5,
      test=step in (0, 20),
      train_loss=None if step < 10 else 0.5,
      valid_loss=loss,
      valid_correct=-1 if step == 5 else 30,
      test_loss=0.25 if step in (0, 20) else None,
      test_correct=45 if step in (0, 20) else -1,
    )
    for step, loss in zip(STEPS, valid)
  )
  at = start()
  state = loop.TrainState(np.int32(20), at.params, {}, (), at.masks)
  progress = loop.Progress(
    state=state,
    best=loop.Best(np.float32(1), np.int32(best), at.params, {}),
    batches=np.zeros((16, 10), np.int32),
    epoch=np.int32(1),
    loss_sum=np.float32(0),
    loss_steps=np.int32(0),
    finite=np.bool_(finite),
  )
  return segments.ResumePoint(progress, rows)


def of_trial(end, ends, trial=TICKET, at=None, num=NUM):
  due = tiny.scheduled(at or start(), trial=trial, origin=ORIGIN)
  return records.of_trial(due, end, ends, num, 10)


def summary(loss=0.5, train_loss=0.5):
  def metrics(correct):
    losses = train_loss, loss, loss
    scores = map(evaluation.Metric, np.float32(losses), np.int32(correct))
    return evaluation.Metrics(*scores)

  return loop.Summary(
    end=metrics((144, 36, 40)), early_stop=metrics((80, 20, 25))
  )


def record(trial=TICKET, at=None, num=NUM, **changes):
  made = of_trial(checkpoint(**changes), summary(), trial, at, num)
  json.dumps(made, allow_nan=False)
  return made


def test_a_record_is_plain_data():
  made = record()
  assert json.loads(json.dumps(made, allow_nan=False)) == made
  assert made["format"] == files.FORMAT
  assert {k: made[k] for k in ("replicate", "round", "arm", "draw")} == {
    "replicate": 1,
    "round": 2,
    "arm": "ticket",
    "draw": None,
  }
  assert (made["kept"], made["counted"], made["density"]) == (9, 10, 0.9)
  assert made["density_by_name"] == {"a/kernel": 0.75, "b/kernel": 1.0}
  assert (made["num_steps"], made["eval_every"]) == (20, 10)
  assert made["warnings"] == [] and made["diverged"] is False


def test_curves_hold_the_measurements_only():
  made = record()
  assert made["evaluations"] == {
    "step": [0, 10, 20],
    "train_loss": [None, 0.5, 0.5],
    "valid_loss": [3.0, 1.0, 2.0],
    "valid_accuracy": [0.75] * 3,
  }
  assert made["tests"] == {
    "step": [0, 20],
    "loss": [0.25, 0.25],
    "accuracy": [0.9, 0.9],
  }


def test_accuracies_are_fractions_at_both_points():
  made = record()
  assert made["end"] == {
    "step": 20,
    "train_loss": 0.5,
    "train_accuracy": 0.9,
    "valid_loss": 0.5,
    "valid_accuracy": 0.9,
    "test_loss": 0.5,
    "test_accuracy": 0.8,
  }
  early = made["early_stop"]
  assert early["step"] == 10 and early["reached"] is True
  assert early["train_accuracy"] == early["valid_accuracy"] == 0.5
  assert early["test_accuracy"] == 0.5


def test_a_minimum_at_the_last_evaluation_is_not_reached():
  made = record(valid=(3.0, None, 2.0, 1.0), best=20)
  assert made["early_stop"]["step"] == 20
  assert made["early_stop"]["reached"] is False


@pytest.mark.parametrize("lost", [NAN, math.inf])
def test_a_training_loss_that_is_not_finite_is_divergence(lost):
  for finite, train_loss in ((False, 0.5), (True, lost)):
    at, ends = checkpoint(finite=finite), summary(train_loss=train_loss)
    made = of_trial(at, ends)
    assert made["diverged"] is True and made["early_stop"] is None


@pytest.mark.parametrize(
  ("valid", "best", "stop"),
  [
    ((None, None, 1.0, 2.0), 10, (10, True)),
    ((1.0, None, None, 2.0), 0, (0, True)),
    # Nothing finite came after the minimum.
    ((3.0, None, 1.0, None), 10, (10, False)),
    ((1.0, None, None, None), 0, (0, False)),
    ((None, None, None, 1.0), 20, (20, False)),
    ((None, None, None, None), 0, None),
  ],
)
def test_a_validation_loss_that_is_not_finite_is_ignored(valid, best, stop):
  made = record(valid=valid, best=best)
  early = made["early_stop"]
  assert made["diverged"] is False
  assert (early and (early["step"], early["reached"])) == stop
  assert made["evaluations"]["valid_loss"] == [valid[0], *valid[2:]]


def test_a_test_loss_that_is_not_finite_is_ignored():
  progress, rows = checkpoint()[:2]
  rows = (*rows[:-1], rows[-1]._replace(test_loss=None))
  made = of_trial(segments.ResumePoint(progress, rows), summary(NAN))
  assert made["diverged"] is False and made["early_stop"]["step"] == 10


def test_losses_that_are_not_finite_are_none():
  for loss in (NAN, math.inf):
    made = of_trial(checkpoint(), summary(loss))
    json.dumps(made, allow_nan=False)
    assert made["end"]["test_loss"] is None
    assert made["end"]["test_accuracy"] == 0.8


def test_without_validation_images_there_is_no_early_stop():
  num = NUM._replace(valid=0)
  made = record(num=num, valid=(None,) * 4)
  assert made["early_stop"] is None and made["diverged"] is False
  assert made["evaluations"]["valid_accuracy"] == [None] * 3
  assert made["end"]["valid_accuracy"] is None


def test_a_layer_without_a_weight_is_a_warning():
  made = record(at=start(kept=((False, False), (False, False))))
  assert made["warnings"] == ["a/kernel has no weight left"]
  assert made["density"] == 0.6


def test_digests_tell_masks_and_weights_apart():
  first, again = record()["digests"], record()["digests"]
  other = record(at=start(kept=((True, True), (True, False))))["digests"]
  assert first == again
  assert first["masks"] != other["masks"]
  assert first["params"] == other["params"]  # of the same end
  assert first["masks"] != first["params"]
