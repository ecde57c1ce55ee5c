"""`metrics.jsonl`: what is measured, line by line while trials train.

    pandas.read_json("runs/first/metrics.jsonl", lines=True)

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
from lth_jax.runner import records
from lth_jax.storage import buckets, files
from lth_jax.training import evaluation

NAME = "metrics.jsonl"
_NO_TEST = {"test_loss": None, "test_accuracy": None}
_NO_EVALUATION = {
  **{"train_loss": None, "valid_loss": None},
  "valid_accuracy": None,
}


def write(folder: epath.Path, found: Iterable[Mapping[str, Any]]) -> None:
  """Writes the lines of the records of finished trials.

  Raises:
    OSError: the file cannot be written.
  """
  text = (_text(lines(record)) for record in found)
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
    text = _text(lines(about | records.curves(new, self._num_images)))
    with self._lock, open(self._path, "ab") as file:
      file.write(text)


def lines(record: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns the lines of a record, one a step."""
  about = {
    name: record[name]
    for name in ("replicate", "round", "density", "arm", "draw")
  }
  evaluations, tests = record["evaluations"], record["tests"]
  steps: dict[int, dict[str, Any]] = {}
  for step, *values in zip(*evaluations.values()):
    found = dict(zip(list(evaluations)[1:], values))
    steps[step] = about | {"step": step} | found | _NO_TEST
  for step, *values in zip(*tests.values()):
    found = dict(zip(("test_loss", "test_accuracy"), values))
    before = steps.get(step, about | {"step": step} | _NO_EVALUATION)
    steps[step] = before | found
  return [steps[step] for step in sorted(steps)]


def _text(lines: Iterable[Mapping[str, Any]]) -> bytes:
  return "".join(
    json.dumps(line, allow_nan=False) + "\n" for line in lines
  ).encode()
