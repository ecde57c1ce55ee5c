"""`metrics.jsonl`: what is measured, line by line while trials train.

    pandas.read_json("runs/first/metrics.jsonl", lines=True, precise_float=True)

A line is one step of one trial: replicate, round, density, arm, draw, step, and
train_loss, valid_loss, valid_accuracy, test_loss, test_accuracy, null where not
measured. Losses are nats an image, accuracies fractions; train_loss is the mean
over the steps since the last evaluation.

The file follows from the records. It is written from them when a run starts,
resumes or ends, so that a kill leaves nothing twice. Reports do not read it.
"""

import itertools
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from lth_jax.config.plan import Trial
from lth_jax.parallel.segments import Row, ScheduledTrial
from lth_jax.report import measurements
from lth_jax.runner import loggers as loggers_lib
from lth_jax.runner import records
from lth_jax.storage import buckets, files
from lth_jax.training import evaluation

NAME = "metrics.jsonl"


class Stream:
  """The file of a run; may be used from several threads.

  Nothing changes before the first measurement: a run that is refused leaves the
  file as it was.
  """

  def __init__(
    self,
    folder: epath.Path,
    finished: Callable[[], Iterable[Mapping[str, Any]]],
    num_images: evaluation.NumImages,
    loggers: Sequence[loggers_lib.Logger] = (),
  ):
    """Takes a workdir.

    Args:
      folder: the workdir.
      finished: returns the records of finished trials, in their order.
      num_images: of the run.
      loggers: get the rows too.
    """
    self._loggers = loggers
    self._path, self._num_images = folder / NAME, num_images
    self._lock, self._last = threading.Lock(), dict[Trial, int]()
    self._finished = finished

  def write(self) -> None:
    """Writes the whole file from the records of finished trials.

    Raises:
      OSError: the file cannot be written.
    """
    found = (_text(measurements.by_step(record)) for record in self._finished())
    files.write(self._path, b"".join(found))

  def add(self, scheduled: ScheduledTrial, rows: Sequence[Row]) -> None:
    """Writes the rows of a trial that are not written yet.

    On an object store, which cannot append, they are not written.
    """
    trial = scheduled.trial
    with self._lock:
      if not self._last:
        self.write()
      new = [row for row in rows if row.step > self._last.get(trial, -1)]
      self._last[trial] = rows[-1].step
      if buckets.is_remote(self._path):
        return
      about = trial._asdict() | records.density(scheduled.start)
      curves = records.curves(new, self._num_images)
      lines = measurements.by_step(about | curves)
      with open(self._path, "ab") as file:
        file.write(_text(lines))
      for line, log in itertools.product(lines, self._loggers):
        found = {name: line[name] for name in measurements.METRICS}
        values = {name: x for name, x in found.items() if x is not None}
        last = line["step"] == scheduled.steps.stop
        log(trial.name, line["step"], values, last)


def _text(lines: Iterable[Mapping[str, Any]]) -> bytes:
  return "".join(
    json.dumps(line, allow_nan=False) + "\n" for line in lines
  ).encode()
