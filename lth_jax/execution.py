"""Lanes on devices: who trains where, in which pieces.

A lane is one training run of one replicate and arm. It is trained by one
compiled single-device program, alone or in lockstep with others, a segment at
a time; that is what makes its bits independent of how many devices and lanes
there are.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax import errors, meshes, schedules, training
from lth_jax import lockstep as lockstep_lib
from lth_jax.training import Data, Sample, Start

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
    step: one training step of the lanes that a device trains together.
    image: the evaluation of one image by each of them.
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
  """Devices that train together, one or more, and the images on each.

  Attributes:
    devices: which.
    mesh: over which a batch is split; None for a single device.
    data: the images.
  """

  devices: tuple[jax.Device, ...]
  mesh: jax.sharding.Mesh | None
  data: Data

  def put(self, tree: Any) -> Any:
    """Puts what all its devices need where they have it."""
    return jax.device_put(tree, meshes.everywhere(self.devices, self.mesh))


class Run(NamedTuple):
  """What training one lane takes.

  Attributes:
    start: where it begins.
    sample: its training and validation images.
    key: of its order and noise.
    schedule: its learning rates.
    resume: a checkpoint to go on from, if there is one.
  """

  start: Start
  sample: Sample
  key: jax.Array
  schedule: schedules.Schedule
  resume: Checkpoint | None = None


def usable_cpus() -> int:
  """Returns the number of CPUs that this process may use.

  >>> usable_cpus() >= 1
  True
  """
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def find_devices(
  wanted: int, num_lanes: int, together: int = 1
) -> list[jax.Device]:
  """Returns the devices to train on; on CPU one host device a core.

  Must come before anything that makes JAX start its backend, since the number
  of host devices is fixed then.

  Args:
    wanted: how many, 0 for all.
    num_lanes: lanes that could run at once, 1 or more; more devices would stay
      idle, so that no more of them are returned.
    together: devices that split each batch; only whole groups are returned.

  Raises:
    InputError: there are fewer than wanted, and lanes for more; or fewer than
      are to work together.

  >>> len(find_devices(0, num_lanes=1))
  1
  """
  # As many as any later run of this process could use: the first call decides.
  # A RuntimeError means that the backend is up: its devices are what there is.
  with contextlib.suppress(RuntimeError):
    jax.config.update("jax_num_cpu_devices", usable_cpus())
  devices = jax.local_devices()
  if together > min(wanted or len(devices), len(devices)):
    raise errors.InputError(
      f"--batch_devices={together}: there are {len(devices)} of kind "
      f"'{devices[0].device_kind}' (--devices={wanted}); ask for fewer."
    )
  if min(wanted, num_lanes * together) > len(devices):
    raise errors.InputError(
      f"--devices={wanted}: there are {len(devices)} of kind "
      f"'{devices[0].device_kind}'; ask for no more than that, or for 0."
    )
  num = min(wanted or len(devices), num_lanes * together)
  return devices[: num - num % together]


def make_workers(
  devices: Sequence[jax.Device], data: Data, together: int = 1
) -> list[Worker]:
  """Puts the images on every device.

  Host devices use NumPy arrays in place if they are aligned, as those of
  `lth_jax.data` are, so that memory holds them once.

  Args:
    devices: one or more.
    data: images and labels, NumPy.
    together: how many devices make a worker, a divisor of their number.

  >>> images, labels = np.zeros((4, 2, 2, 1), np.uint8), np.zeros(4, np.int32)
  >>> data = Data(images, labels, images, labels)
  >>> (worker,) = make_workers(find_devices(0, num_lanes=1), data)
  >>> worker.data.images.devices() == {*worker.devices}
  True
  """
  workers = []
  for index in range(0, len(devices), together):
    group = tuple(devices[index : index + together])
    worker = Worker(group, meshes.make(group), data)
    workers.append(worker._replace(data=worker.put(data)))
  return workers


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
  lockstep: lockstep_lib.Lockstep,
  worker: Worker,
  runs: Sequence[Run],
  todo: Sequence[Entry],
  *,
  speed: Speed,
  pause: Callable[[int, Callable[[], list[Checkpoint]]], None],
) -> list[tuple[Checkpoint, training.Summary]]:
  """Trains lanes together on one device, or on several that act as one.

  Args:
    lockstep: the compiled functions.
    worker: where.
    runs: at least one lane and at most the lockstep's width, which is filled
      up with copies. All begin at one step, and go on from one.
    todo: all entries of the runs.
    speed: decides how much goes into a segment, and nothing else.
    pause: called after every segment with the step and a function that returns
      the checkpoints; may save, report, or raise to stop.

  Returns:
    The last checkpoint and the summary of each lane, on the host.
  """
  with meshes.use(worker.mesh):
    return _train(lockstep, worker, runs, todo, speed, pause)


def _train(lockstep, worker, runs, todo, speed, pause):
  trainer, unstack = lockstep.trainer, lockstep.unstack
  progress, sample, key, schedule = _begin(lockstep, worker, runs)
  rows = [run.resume.rows if run.resume else () for run in runs]
  if rows[0]:
    todo = [entry for entry in todo if entry.step > rows[0][-1].step]

  def checkpoints() -> list[Checkpoint]:
    return [Checkpoint(*pair) for pair in zip(unstack(progress), rows)]

  step = rows[0][-1].step if rows[0] else int(runs[0].start.step)
  num_valid = len(runs[0].sample.valid)
  while todo:
    num = _how_many(todo, step, speed, num_valid, len(worker.data.test_labels))
    piece, todo = todo[:num], todo[num:]
    progress, history = trainer.advance(
      progress, plan_of(piece), worker.data, sample, key, schedule
    )
    rows = [
      before + _rows(piece, new) for before, new in zip(rows, unstack(history))
    ]
    step = piece[-1].step
    pause(step, checkpoints)
  summaries = unstack(trainer.summarize(progress, worker.data, sample))
  return list(zip(checkpoints(), summaries))


def _begin(lockstep, worker, runs):
  """Progress, sample, key and schedule of a stack, on the worker's devices."""
  filled = [*runs, *[runs[0]] * (lockstep.width - len(runs))]
  with jax.default_device(worker.devices[0]):
    sample, key, schedule, progress = worker.put(
      (
        lockstep.stack([run.sample for run in filled]),
        lockstep.stack([run.key for run in filled]),
        lockstep.stack([run.schedule for run in filled]),
        lockstep.stack(
          [run.resume.progress if run.resume else run.start for run in filled]
        ),
      )
    )
  if isinstance(progress, Start):
    progress = lockstep.trainer.begin(progress, sample)
  return progress, sample, key, schedule


def _how_many(todo, step, speed, num_valid, num_test) -> int:
  """Entries that fit into one segment; at least one."""
  budget = SEGMENT_SECONDS
  for index, entry in enumerate(todo[:SEGMENT_ENTRIES]):
    images = num_valid * entry.evaluate + num_test * entry.test
    budget -= (entry.step - step) * speed.step + images * speed.image
    if budget < 0:
      return max(index, 1)
    step = entry.step
  return min(len(todo), SEGMENT_ENTRIES)


def _rows(piece, history) -> tuple[Row, ...]:
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
