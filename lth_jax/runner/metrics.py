"""`metrics.jsonl`: what is measured, line by line while trials train.

    pandas.read_json("runs/first/metrics.jsonl", lines=True, precise_float=True)

A line is one step of one trial: replicate, round, density, arm, draw, step, and
train_loss, valid_loss, valid_accuracy, test_loss, test_accuracy, null where not
measured. Losses are nats a image, accuracies fractions; train_loss is the mean
over the steps since the last evaluation.

The file follows from the records. It is written from them when a run starts,
resumes or ends, so that a kill leaves nothing twice. Reports do not read it.
"""

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from lth_jax.config.plan import Trial
from lth_jax.parallel.segments import Row, ScheduledTrial
from lth_jax.report import measurements
from lth_jax.runner import records
from lth_jax.storage import buckets, files
from lth_jax.training import evaluation

NAME = "metrics.jsonl"


def write(folder: epath.Path, found: Iterable[Mapping[str, Any]]) -> None:
  """Writes the lines of the records of finished trials.

  Raises:
    OSError: the file cannot be written.
  """
  text = (_text(measurements.by_step(record)) for record in found)
  files.write(folder / NAME, b"".join(text))


class Stream:
  """Adds lines to the file of a run; may be used from several threads."""

  def __init__(self, folder: epath.Path, num_images: evaluation.NumImages):
    """Takes a workdir, in which the file exists."""
    self._path, self._num_images = folder / NAME, num_images
    self._lock, self._last = threading.Lock(), dict[Trial, int]()

  def add(self, scheduled: ScheduledTrial, rows: Sequence[Row]) -> None:
    """Writes the rows of a trial that are not written yet.

    Nothing on an object store, which cannot append.
    """
    if buckets.is_remote(self._path):
      return
    trial = scheduled.trial
    new = [row for row in rows if row.step > self._last.get(trial, -1)]
    self._last[trial] = rows[-1].step
    about = trial._asdict() | records.density(scheduled.start)
    curves = records.curves(new, self._num_images)
    text = _text(measurements.by_step(about | curves))
    with self._lock, open(self._path, "ab") as file:
      file.write(text)


def _text(lines: Iterable[Mapping[str, Any]]) -> bytes:
  return "".join(
    json.dumps(line, allow_nan=False) + "\n" for line in lines
  ).encode()
