"""Lanes on devices: who trains where, in which pieces, how fast.

A lane is one training run of one replicate and arm. It is trained by one
compiled single-device program, a segment at a time; that is what makes its
bits independent of how many devices and lanes there are. A worker thread a
device takes lanes in the order in which they were handed in.
"""

import concurrent.futures
import contextlib
import os
import queue
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from lth_jax import errors, training
from lth_jax.training import Data, Sample, Start

PyTree = Any
T = TypeVar("T")

# Entries of a plan that one segment can hold; fixes the shape of the program.
SEGMENT_ENTRIES = 32
# A segment is meant to last this long, so that signals are seen soon.
SEGMENT_SECONDS = 1.5


class Entry(NamedTuple):
  """A step to pause at, and what to measure there."""

  step: int
  evaluate: bool
  test: bool


class Speed(NamedTuple):
  """Measured seconds, with all devices busy.

  Attributes:
    step: one training step.
    image: the evaluation of one image.
    store: storing what a lane leaves.
  """

  step: float
  image: float
  store: float = 0.0


class Row(NamedTuple):
  """What was measured at an entry; None for what was not, or is not finite.

  Losses are means over images, of float32; `train_loss` is over the steps
  since the last evaluation. Counts are of images classified rightly.
  """

  step: int
  evaluate: bool
  test: bool
  train_loss: float | None
  valid_loss: float | None
  valid_correct: int
  test_loss: float | None
  test_correct: int


class Checkpoint(NamedTuple):
  """A lane between two segments: its progress, and a row for each entry."""

  progress: training.Progress
  rows: tuple[Row, ...]


class Worker(NamedTuple):
  """A device and the images on it."""

  device: jax.Device
  data: Data


class Pool(NamedTuple):
  """Workers, and the threads that hand lanes to whichever is free."""

  free: queue.SimpleQueue
  workers: tuple[Worker, ...]
  threads: concurrent.futures.ThreadPoolExecutor


def usable_cpus() -> int:
  """Returns the number of CPUs that this process may use.

  >>> usable_cpus() >= 1
  True
  """
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def find_devices(wanted: int, num_lanes: int) -> list[jax.Device]:
  """Returns the devices to train on; on CPU one host device a core.

  Must come before anything that makes JAX start its backend, since the number
  of host devices is fixed then.

  Args:
    wanted: how many, 0 for all.
    num_lanes: lanes that could run at once, 1 or more; more devices would stay
      idle, so that there are no more of them.

  Raises:
    InputError: there are fewer than wanted, and lanes for more.

  >>> len(find_devices(0, num_lanes=1))
  1
  """
  num_cpus = min(wanted or usable_cpus(), usable_cpus(), num_lanes)
  # A RuntimeError means that the backend is up: its devices are what there is.
  with contextlib.suppress(RuntimeError):
    jax.config.update("jax_num_cpu_devices", num_cpus)
  devices = jax.local_devices()
  if min(wanted, num_lanes) > len(devices):
    raise errors.InputError(
      f"--devices={wanted}: there are {len(devices)} of kind "
      f"'{devices[0].device_kind}'; ask for no more than that, or for 0."
    )
  return devices[: min(wanted or len(devices), num_lanes)]


def make_pool(devices: Sequence[jax.Device], data: Data) -> Pool:
  """Puts the images on every device and starts a thread for each.

  Args:
    devices: one or more.
    data: images and labels, anywhere.

  Returns:
    A pool whose `threads` are to be shut down when it is no longer needed.

  >>> images, labels = np.zeros((4, 2, 2, 1), np.uint8), np.zeros(4, np.int32)
  >>> data = Data(images, labels, images, labels)
  >>> pool = make_pool(find_devices(0, num_lanes=1), data)
  >>> pool.workers[0].data.images.devices() == {pool.workers[0].device}
  True
  >>> pool.threads.shutdown()
  """
  workers = tuple(
    Worker(device, jax.device_put(data, device)) for device in devices
  )
  free = queue.SimpleQueue()
  for worker in workers:
    free.put(worker)
  threads = concurrent.futures.ThreadPoolExecutor(len(workers), "device")
  return Pool(free, workers, threads)


def submit(
  pool: Pool, function: Callable[[Worker], T]
) -> concurrent.futures.Future[T]:
  """Calls a function with the next free worker.

  Calls begin in the order in which they were handed in.

  Args:
    pool: made by `make_pool`.
    function: called in a thread of the pool.

  Returns:
    The future of what it returns or raises.

  >>> pool = make_pool(find_devices(0, num_lanes=1), Data([], [], [], []))
  >>> submit(pool, lambda worker: worker.device.id).result()
  0
  >>> pool.threads.shutdown()
  """

  def call():
    worker = pool.free.get()
    try:
      return function(worker)
    finally:
      pool.free.put(worker)

  return pool.threads.submit(call)


def entries(
  start: int, stop: int, eval_every: int, test_every: int, pause_every: int
) -> list[Entry]:
  """Lists the steps at which a run is evaluated or may pause.

  Evaluations are at the start, at multiples of `eval_every`, and at the stop;
  tests at the start, at multiples of `test_every`, and at the stop.

  Args:
    start: first step; 0, or k after late rewinding.
    stop: last step.
    eval_every: steps between evaluations on the validation images.
    test_every: steps between evaluations on the test images.
    pause_every: steps between pauses.

  >>> entries(0, 250, 100, 200, 1000)
  [Entry(step=0, evaluate=True, test=True), Entry(step=100, evaluate=True, \
test=False), Entry(step=200, evaluate=True, test=True), Entry(step=250, \
evaluate=True, test=True)]
  """
  ends = {start, stop}
  evaluate = ends | set(range(0, stop, eval_every))
  test = ends | set(range(0, stop, test_every))
  pauses = set(range(0, stop, pause_every))
  return [
    Entry(step, step in evaluate, step in test)
    for step in sorted(evaluate | test | pauses)
    if step >= start
  ]


def plan_of(piece: Sequence[Entry]) -> training.Plan:
  """Returns the plan of a segment that visits some entries.

  Args:
    piece: 1 to `SEGMENT_ENTRIES` of them, in the order of their steps.

  Returns:
    A plan of NumPy arrays `[SEGMENT_ENTRIES]`.

  >>> plan_of([Entry(100, True, False)]).steps[0]
  np.int32(100)
  """
  steps, evaluate, test = zip(*piece)
  return training.plan(steps, evaluate, test, SEGMENT_ENTRIES)


def train(
  trainer: training.Trainer,
  worker: Worker,
  start: Start,
  sample: Sample,
  key: jax.Array,
  todo: Sequence[Entry],
  *,
  resume: Checkpoint | None,
  speed: Speed,
  pause: Callable[[Checkpoint], None],
) -> tuple[Checkpoint, training.Summary]:
  """Trains one lane on one device.

  Args:
    trainer: the compiled functions.
    worker: where.
    start: where the run begins.
    sample: the lane's training and validation images.
    key: the lane's order and noise.
    todo: all entries of the run.
    resume: a checkpoint to go on from.
    speed: decides how much goes into a segment, and nothing else.
    pause: called after every segment; may save, report, or raise to stop.

  Returns:
    The last checkpoint and the summary, on the host.
  """
  sample, key = jax.device_put((sample, key), worker.device)
  if resume is None:
    start = jax.device_put(start, worker.device)
    checkpoint = Checkpoint(trainer.begin(start, sample), ())
  else:
    todo = [e for e in todo if e.step > resume.rows[-1].step]
    progress = jax.device_put(resume.progress, worker.device)
    checkpoint = Checkpoint(progress, resume.rows)
  while todo:
    num = _how_many(todo, checkpoint, speed, sample, worker.data)
    piece, todo = todo[:num], todo[num:]
    progress, history = trainer.advance(
      checkpoint.progress, plan_of(piece), worker.data, sample, key
    )
    rows = checkpoint.rows + _rows(piece, history)
    checkpoint = Checkpoint(progress, rows)
    pause(checkpoint)
  summary = trainer.summarize(checkpoint.progress, worker.data, sample)
  progress, summary = jax.device_get((checkpoint.progress, summary))
  return Checkpoint(progress, checkpoint.rows), summary


def _how_many(todo, checkpoint, speed, sample, data) -> int:
  """Entries that fit into one segment; at least one."""
  rows = checkpoint.rows
  step = rows[-1].step if rows else todo[0].step
  budget = SEGMENT_SECONDS
  for index, entry in enumerate(todo[:SEGMENT_ENTRIES]):
    images = len(sample.valid) * entry.evaluate
    images += len(data.test_labels) * entry.test
    budget -= (entry.step - step) * speed.step + images * speed.image
    if budget < 0:
      return max(index, 1)
    step = entry.step
  return min(len(todo), SEGMENT_ENTRIES)


def _rows(piece, history) -> tuple[Row, ...]:
  history = jax.device_get(history)
  return tuple(
    Row(
      *entry,
      train_loss=_finite(history.train_loss[i]),
      valid_loss=_finite(history.valid.loss[i]),
      valid_correct=int(history.valid.num_correct[i]),
      test_loss=_finite(history.test.loss[i]),
      test_correct=int(history.test.num_correct[i]),
    )
    for i, entry in enumerate(piece)
  )


def _finite(value) -> float | None:
  return float(value) if np.isfinite(value) else None
