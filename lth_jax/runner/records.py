"""The record of a trial: plain data, the only input of every report."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lth_jax import masks as masks_lib
from lth_jax.parallel import segments
from lth_jax.parallel.segments import ResumePoint, ScheduledTrial
from lth_jax.storage import files, store
from lth_jax.training import evaluation, loop

# {name of a checkpoint: the facts of its record that later steps need}
Results = dict[str, dict[str, Any]]


def of_trial(
  scheduled: ScheduledTrial,
  end: ResumePoint,
  summary: loop.Summary,
  num_images: evaluation.NumImages,
  eval_every: int,
) -> dict[str, Any]:
  """Returns the record of a finished trial, ready for JSON.

  `summary` has metrics at the end and at the early-stopping step.

  Returns:
    Accuracies as fractions, losses as means over images, None where a number
    is not finite or was not measured. `early_stop` is None without a finite
    validation loss and for a trial that diverged.
  """
  progress, rows = end.progress, end.rows
  start = scheduled.start
  # No training step measured the loss of the last weights.
  finite = bool(progress.finite) and bool(np.isfinite(summary.end.train.loss))
  density_by_name = {
    name: float(density)
    for name, density in masks_lib.density_by_name(start.masks).items()
  }
  return {
    "format": files.FORMAT,
    **scheduled.trial._asdict(),
    **density(start),
    "density_by_name": density_by_name,
    "num_steps": rows[-1].step,
    "eval_every": eval_every,
    **curves(rows, num_images),
    "early_stop": _early_stop(end, summary, num_images) if finite else None,
    "end": _metrics(summary.end, num_images, rows[-1].step),
    "diverged": not finite,
    "warnings": [
      f"{name} has no weight left"
      for name, density in density_by_name.items()
      if density == 0
    ],
    "origin": dict(scheduled.origin),
    "digests": {
      "masks": store.digest(start.masks),
      "params": store.digest(progress.state.params),
    },
  }


def density(start: loop.Start) -> dict[str, Any]:
  """Returns the density of a start's masks, and the counts of weights."""
  counted = sum(mask.size for mask in jax.tree.leaves(start.masks))
  kept = int(masks_lib.num_kept(start.masks))
  return {"density": kept / counted, "kept": kept, "counted": counted}


def curves(
  rows: Sequence[segments.Row], num_images: evaluation.NumImages
) -> dict[str, Any]:
  """Returns what a trial's rows measured, as columns by step."""
  return {
    "evaluations": _evaluations(rows, num_images.valid),
    "tests": _tests(rows, num_images.test),
  }


def of_start(start: loop.Start, split: loop.Split) -> dict[str, Any]:
  """Returns the record of a replicate's theta_0, ready for JSON."""
  return {
    "diverged": False,
    "step": int(start.step),
    "origin": {
      "theta_0": store.digest(start),
      "masks": store.digest(start.masks),
      "split": store.digest(split),
    },
    "digests": {"params": store.digest(start.params)},
  }


def facts(record: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the entries of a trial's or start's record that `Results` have."""
  return {name: record[name] for name in ("diverged", "origin", "digests")}


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


def _early_stop(end: ResumePoint, summary: loop.Summary, num_images):
  measured = [row.step for row in end.rows if row.valid_loss is not None]
  if not measured or not num_images.valid:
    return None
  step = int(end.progress.best.step)
  return {
    # A minimum at the last evaluation may not be one: training went on
    # improving until the budget ended.
    "reached": step < measured[-1],
    **_metrics(summary.early_stop, num_images, step),
  }


def _metrics(metrics: evaluation.Metrics, num_images, step: int):
  values: dict[str, Any] = {"step": step}
  for split in evaluation.Metrics._fields:
    metric, num = getattr(metrics, split), getattr(num_images, split)
    finite = bool(np.isfinite(metric.loss))
    values[f"{split}_loss"] = float(metric.loss) if finite else None
    values[f"{split}_accuracy"] = int(metric.num_correct) / num if num else None
  return values
