"""What is recorded of a trial: plain data, the only input of every report."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lth_jax import masks as masks_lib
from lth_jax.config import plan
from lth_jax.parallel import segments
from lth_jax.storage import store
from lth_jax.training import evaluation, loop

PyTree = Any
FORMAT = 2


def of_trial(
  trial: plan.Trial,
  start: loop.Start,
  checkpoint: segments.Checkpoint,
  summary: loop.Summary,
  num_images: evaluation.NumImages,
  eval_every: int,
  origin: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns the record of a finished trial, ready for JSON.

  Args:
    trial: which one.
    start: where it began.
    checkpoint: its end, on the host.
    summary: metrics at the end and at the early-stopping step.
    num_images: how many images each split has.
    eval_every: steps between evaluations.
    origin: digests of what the trial was derived from.

  Returns:
    Accuracies as fractions, losses as means over images, None where a number
    is not finite or was not measured. `early_stop` is None without a finite
    validation loss and for a trial that diverged.

  >>> masks, w = {"w": np.array([True, False])}, {"w": np.array([0.5, 0.0])}
  >>> state = loop.TrainState(10, w, {}, (), masks)
  >>> progress = loop.Progress(state, *5 * [None], finite=True)
  >>> row = segments.Row(10, False, True, None, None, -1, 0.3, 40)
  >>> score = evaluation.Metric(0.3, 40)
  >>> metrics = evaluation.Metrics(score, score, score)
  >>> record = of_trial(
  ...   plan.Trial(replicate=0, round=1, arm="ticket"),
  ...   loop.Start(w, {}, 0, masks),
  ...   segments.Checkpoint(progress, (row,)),
  ...   loop.Summary(end=metrics, early_stop=metrics),
  ...   evaluation.NumImages(train=60, valid=0, test=50),
  ...   eval_every=10,
  ...   origin={"theta_0": "0a1b"},
  ... )
  >>> record["density"], record["tests"]["accuracy"], record["early_stop"]
  (0.5, [0.8], None)
  """
  progress, rows = checkpoint
  diverged = has_diverged(checkpoint, summary)
  density_by_name = masks_lib.density_by_name(start.masks)
  density_by_name = {k: float(v) for k, v in density_by_name.items()}
  counted = sum(mask.size for mask in jax.tree.leaves(start.masks))
  kept = int(masks_lib.num_kept(start.masks))
  record: dict[str, Any] = {
    "format": FORMAT,
    "replicate": trial.replicate,
    "round": trial.round,
    "arm": trial.arm,
    "draw": trial.draw,
    "density": kept / counted,
    "kept": kept,
    "counted": counted,
    "density_by_name": density_by_name,
    "num_steps": rows[-1].step,
    "eval_every": eval_every,
    "evaluations": _evaluations(rows, num_images.valid),
    "tests": _tests(rows, num_images.test),
    "early_stop": None,
    "end": _metrics(summary.end, num_images, rows[-1].step),
    "diverged": diverged,
    "warnings": _warnings(density_by_name),
    "origin": dict(origin),
    "digests": {
      "masks": store.digest(start.masks),
      "params": store.digest(progress.state.params),
    },
  }
  measured = [row.step for row in rows if row.valid_loss is not None]
  if measured and num_images.valid and not diverged:
    step = int(progress.best.step)
    record["early_stop"] = {
      # A minimum at the last evaluation may not be one: training went on
      # improving until the budget ended.
      "reached": step < measured[-1],
      **_metrics(summary.early_stop, num_images, step),
    }
  return record


def has_diverged(
  checkpoint: segments.Checkpoint, summary: loop.Summary
) -> bool:
  """Says whether a training loss of a trial was not finite.

  Losses on validation and test images decide nothing.

  Args:
    checkpoint: the trial's end.
    summary: its metrics. The loss at the end is that of the last step's
      weights, which no training step has measured.

  >>> checkpoint = segments.Checkpoint(
  ...   loop.Progress(*6 * [None], finite=True), ()
  ... )
  >>> good, bad = (evaluation.Metric(x, 4) for x in (0.7, float("nan")))
  >>> [
  ...   has_diverged(checkpoint, loop.Summary(end=end, early_stop=None))
  ...   for end in (
  ...     evaluation.Metrics(train=good, valid=bad, test=bad),
  ...     evaluation.Metrics(train=bad, valid=good, test=good),
  ...   )
  ... ]
  [False, True]
  """
  at_end = bool(np.isfinite(summary.end.train.loss))
  return not (at_end and bool(checkpoint.progress.finite))


def _evaluations(rows: Sequence[segments.Row], num_valid: int):
  rows = [row for row in rows if row.evaluate]
  return {
    "step": [row.step for row in rows],
    "train_loss": [row.train_loss for row in rows],
    "valid_loss": [row.valid_loss for row in rows],
    "valid_accuracy": [
      row.valid_correct / num_valid if num_valid else None for row in rows
    ],
  }


def _tests(rows: Sequence[segments.Row], num_test: int):
  rows = [row for row in rows if row.test]
  return {
    "step": [row.step for row in rows],
    "loss": [row.test_loss for row in rows],
    "accuracy": [row.test_correct / num_test for row in rows],
  }


def _metrics(metrics: evaluation.Metrics, num_images, step: int):
  values: dict[str, Any] = {"step": step}
  for split in evaluation.Metrics._fields:
    score, num = getattr(metrics, split), getattr(num_images, split)
    finite = bool(np.isfinite(score.loss))
    values[f"{split}_loss"] = float(score.loss) if finite else None
    values[f"{split}_accuracy"] = int(score.num_correct) / num if num else None
  return values


def _warnings(density_by_name: dict[str, float]) -> list[str]:
  return [
    f"{name} has no weight left"
    for name, density in density_by_name.items()
    if density == 0
  ]
