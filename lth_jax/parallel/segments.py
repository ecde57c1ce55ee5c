"""Trains groups of trials on workers, one segment after the other.

A segment is one call of a compiled program of fixed shape, on one worker. Where
a trial is cut into segments changes no bit, and neither does how many other
devices and trials there are.
"""

import concurrent.futures
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax.config.plan import Trial
from lth_jax.parallel import processes
from lth_jax.parallel.devices import Worker
from lth_jax.parallel.vmapped import Vmapped
from lth_jax.training import loop, schedules, sharding
from lth_jax.training.loop import Split, Start

# Entries of a plan that one segment can hold; fixes the shape of the program.
SEGMENT_ENTRIES = 32
# A segment is meant to last this long, so that signals are seen soon.
SEGMENT_SECONDS = 1.5


class Entry(NamedTuple):
  """A step to pause at, and what to measure there."""

  step: int
  evaluate: bool
  test: bool


class Row(NamedTuple):
  """What was measured at an entry.

  Losses are means over images, of float32, and None where there is none or it
  is not finite; `train_loss` is over the steps since the last evaluation.
  Counts are of images classified correctly, and -1 where nothing was measured.
  """

  step: int
  evaluate: bool
  test: bool
  train_loss: float | None
  valid_loss: float | None
  valid_correct: int
  test_loss: float | None
  test_correct: int


class ResumePoint(NamedTuple):
  """A trial between two segments; training continues from it.

  Attributes:
    progress: of its training, on the host.
    rows: measurements so far; the last one is of the current step.
    began: when its training began, in seconds since 1970; 0 if unknown.
    seconds: that it took so far, of every start of the run.
  """

  progress: loop.Progress
  rows: tuple[Row, ...]
  began: float = 0.0
  seconds: float = 0.0


class ScheduledTrial(NamedTuple):
  """A trial that is due: everything that its result depends on.

  Attributes:
    trial: replicate, round and arm.
    start: where it begins.
    split: its training and validation images.
    key: of its batch order and noise.
    schedule: its learning rates.
    steps: from the first to the last; the start's step, and the end.
    origin: digests of what the start was derived from.
    resume_point: to continue from; None to begin.
  """

  trial: Trial
  start: Start
  split: Split
  key: jax.Array
  schedule: schedules.Schedule
  steps: range
  origin: Mapping[str, Any]
  resume_point: ResumePoint | None = None

  @property
  def step(self) -> int:
    """The step from which it is trained."""
    point = self.resume_point
    return point.rows[-1].step if point else self.steps.start


class Group(NamedTuple):
  """The trials of one worker between two segments, stacked, on its devices."""

  worker: Worker
  progress: loop.Progress
  inputs: loop.Inputs


# (rows of each trial so far, function that returns the resume points); may
# save, or raise to stop.
Pause = Callable[
  [Sequence[tuple[Row, ...]], Callable[[], list[ResumePoint]]], None
]


def entries(
  start: int, stop: int, eval_every: int, test_every: int
) -> list[Entry]:
  """Lists the steps at which a trial is evaluated.

  Evaluations are at the start, at multiples of `eval_every`, and at the stop;
  tests at the start, at multiples of `test_every`, and at the stop.

  Args:
    start: first step; 0, or k after late rewinding.
    stop: last step.
    eval_every: steps between evaluations on the validation images.
    test_every: steps between evaluations on the test images.
  """
  ends = {start, stop}
  evaluate = ends | set(range(0, stop, eval_every))
  test = ends | set(range(0, stop, test_every))
  return [
    Entry(step, step in evaluate, step in test)
    for step in sorted(evaluate | test)
    if step >= start
  ]


def plan_of(piece: Sequence[Entry]) -> loop.Plan:
  """Returns the plan of a segment: NumPy arrays `[SEGMENT_ENTRIES]`."""
  steps, evaluate, test = zip(*piece)
  return loop.plan(steps, evaluate, test, SEGMENT_ENTRIES)


def train(
  vmapped: Vmapped,
  workers: Sequence[Worker],
  trials: Sequence[ScheduledTrial],
  todo: Sequence[Entry],
  *,
  pause: Pause,
) -> list[tuple[ResumePoint, loop.Summary]]:
  """Trains trials at the same time, the first ones on the first worker.

  Every process of the workers calls this with the same trials, trains those of
  its own workers and receives the results of the others.

  Args:
    vmapped: the compiled functions of a worker.
    workers: that train; each has `vmapped.width` trials at once.
    trials: at least one, and no more than the workers have at once. All are at
      one step, either before their first segment or with a resume point.
    todo: all entries of a trial.
    pause: is called after every segment.

  Returns:
    The end of each trial and its summary, on the host.
  """
  width = vmapped.width
  shares = [
    (slice(first, first + width), worker)
    for first, worker in zip(range(0, len(trials), width), workers)
    if worker.local_devices
  ]
  groups = _on_each(
    lambda share: begin(vmapped, share[1], trials[share[0]]), shares
  )
  rows = [x.resume_point.rows if x.resume_point else () for x in trials]
  step = trials[0].step
  todo = [entry for entry in todo if entry.step > step or not rows[0]]

  took = []
  while todo:
    piece = next_segment(todo, step, took)
    began = time.monotonic()
    train_segment = functools.partial(_train_segment, vmapped, plan_of(piece))
    advanced = _on_each(train_segment, groups)
    groups = [group for group, _ in advanced]
    histories = processes.exchange(
      _by_trial(shares, [history for _, history in advanced], len(trials))
    )
    rows = [_append(*pair, piece) for pair in zip(rows, histories)]
    # The slowest process decides, so that all cut the next segment alike.
    seconds = max(processes.gather(time.monotonic() - began))
    took.append((piece[-1].step - step, seconds))
    step = piece[-1].step
    todo = [entry for entry in todo if entry.step > step]
    pause(
      rows, functools.partial(_resume_points, vmapped, shares, groups, rows)
    )
  summaries = _on_each(functools.partial(_summarize, vmapped), groups)
  summaries = processes.exchange(_by_trial(shares, summaries, len(trials)))
  ends = _resume_points(vmapped, shares, groups, rows)
  return list(zip(ends, summaries))


def next_segment(
  todo: Sequence[Entry], step: int, took: Sequence[tuple[int, float]]
) -> Sequence[Entry]:
  """Returns the entries of one segment, which should last `SEGMENT_SECONDS`.

  A segment ends before the next entry if that is too far away.

  Args:
    todo: entries that are not visited yet.
    step: the current step of the trials.
    took: steps and seconds of each segment before. The first does not count,
      since it may compile. Until there is a second, a segment has one step.
  """
  done = sum(steps for steps, _ in took[1:])
  seconds = sum(taken for _, taken in took[1:])
  num_steps = max(1, int(SEGMENT_SECONDS * done / seconds)) if seconds else 1
  fit = [x for x in todo[:SEGMENT_ENTRIES] if x.step <= step + num_steps]
  gap = todo[0].step - step
  parts = -(-gap // num_steps)
  return fit or [Entry(step + -(-gap // parts), False, False)]


def begin(
  vmapped: Vmapped, worker: Worker, trials: Sequence[ScheduledTrial]
) -> Group:
  """Puts at most `width` trials on a worker; copies of the first fill up."""
  filled = [*trials, *[trials[0]] * (vmapped.width - len(trials))]
  columns = (
    [x.split for x in filled],
    [x.key for x in filled],
    [x.schedule for x in filled],
    [x.resume_point.progress if x.resume_point else x.start for x in filled],
  )
  with jax.default_device(worker.local_devices[0]):
    *others, progress = worker.put([vmapped.stack(x) for x in columns])
  inputs = loop.Inputs(worker.data, *others)
  if isinstance(progress, Start):
    with sharding.use(worker.mesh):
      progress = vmapped.trainer.begin(progress, inputs.split)
  return Group(worker, progress, inputs)


def advance(
  vmapped: Vmapped, group: Group, plan: loop.Plan
) -> tuple[Group, loop.History]:
  """Trains a group over one segment; its arrays from before are released.

  Returns:
    The group at the end of the segment, and what was measured, stacked, on the
    worker.
  """
  with sharding.use(group.worker.mesh):
    progress, history = vmapped.trainer.advance(
      group.progress, plan, group.inputs
    )
  return group._replace(progress=progress), history


def _on_each(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
  """Returns a function's results, each from a thread; raises in all processes.

  Raises:
    InputError: it failed in another process.
  """
  with processes.raise_in_all():
    if len(items) < 2:
      return [function(item) for item in items]
    with concurrent.futures.ThreadPoolExecutor(len(items)) as threads:
      return list(threads.map(function, items))


def _by_trial(shares, results, num_trials: int) -> list[Any]:
  """Lists what this process sends of each trial; None for the others'."""
  found = [None] * num_trials
  for (places, worker), result in zip(shares, results):
    if worker.owner == jax.process_index():
      found[places] = result[: len(found[places])]  # without the copies
  return found


def _resume_points(vmapped, shares, groups, rows) -> list[ResumePoint]:
  found = _on_each(lambda x: vmapped.unstack(x.worker.get(x.progress)), groups)
  # One by one, since those of large networks need much memory.
  progresses = [
    processes.exchange([part])[0]
    for part in _by_trial(shares, found, len(rows))
  ]
  return [ResumePoint(*pair) for pair in zip(progresses, rows)]


def _train_segment(vmapped, plan, group):
  group, history = advance(vmapped, group, plan)
  return group, vmapped.unstack(group.worker.get(history))


def _summarize(vmapped, group):
  worker = group.worker
  with sharding.use(worker.mesh):
    summary = vmapped.trainer.summarize(group.progress, group.inputs)
  return vmapped.unstack(worker.get(summary))


def _append(
  before: Sequence[Row], history: loop.History, piece: Sequence[Entry]
) -> tuple[Row, ...]:
  """Adds the rows of a segment; drops those of pauses that are passed."""
  new = [
    Row(
      *entry,
      train_loss=_finite(history.train_loss[i]),
      valid_loss=_finite(history.valid.loss[i]),
      valid_correct=int(history.valid.num_correct[i]),
      test_loss=_finite(history.test.loss[i]),
      test_correct=int(history.test.num_correct[i]),
    )
    for i, entry in enumerate(piece)
  ]
  measured = [row for row in (*before, *new[:-1]) if row.evaluate or row.test]
  return (*measured, new[-1])


def _finite(value) -> float | None:
  return float(value) if np.isfinite(value) else None
