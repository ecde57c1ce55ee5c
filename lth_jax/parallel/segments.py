"""Trials on devices: who trains where, in which pieces.

A trial is one training run of one replicate and arm. It is trained by one
compiled program, alone or in lockstep with others, on one device or on those
that split its batches, a segment at a time; that is what makes its bits
independent of how many other devices and trials there are.
"""

import concurrent.futures
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax.parallel import processes
from lth_jax.parallel import vmapped as vmapped_lib
from lth_jax.parallel.workers import Worker
from lth_jax.training import evaluation, loop, schedules, sharding
from lth_jax.training.loop import Split, Start

# Entries of a plan that one segment can hold; fixes the shape of the program.
SEGMENT_ENTRIES = 32
# A segment is meant to last this long, so that signals are seen soon.
SEGMENT_SECONDS = 1.5
# What processes tell each other of a trial: the shapes of it.
_NUMBER: Any = np.float32(0)
_COUNT: Any = np.int32(0)
_METRIC = evaluation.Metric(_NUMBER, _COUNT)
_SUMMARY = loop.Summary(*2 * [evaluation.Metrics(*3 * [_METRIC])])
_HISTORY = jax.tree.map(
  lambda number: np.zeros(SEGMENT_ENTRIES, number.dtype),
  loop.History(_NUMBER, _METRIC, _METRIC),
)


class Entry(NamedTuple):
  """A step to pause at, and what to measure there."""

  step: int
  evaluate: bool
  test: bool


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
  """A trial between two segments.

  Attributes:
    progress: of its training.
    rows: what was measured; the last one is of the step where it stands.
  """

  progress: loop.Progress
  rows: tuple[Row, ...]


class Run(NamedTuple):
  """What training one trial takes.

  Attributes:
    start: where it begins.
    sample: its training and validation images.
    key: of its order and noise.
    schedule: its learning rates.
    resume: a checkpoint to go on from, if there is one.
  """

  start: Start
  sample: Split
  key: jax.Array
  schedule: schedules.Schedule
  resume: Checkpoint | None = None


class Stack(NamedTuple):
  """What a worker has of its trials between two segments.

  Attributes:
    worker: whose.
    progress: where they stand, all at one step.
    sample: their images.
    key: of their order and noise.
    schedule: their learning rates.
  """

  worker: Worker
  progress: loop.Progress
  sample: Split
  key: jax.Array
  schedule: schedules.Schedule


def entries(
  start: int, stop: int, eval_every: int, test_every: int
) -> list[Entry]:
  """Lists the steps at which a run is evaluated.

  Evaluations are at the start, at multiples of `eval_every`, and at the stop;
  tests at the start, at multiples of `test_every`, and at the stop.

  Args:
    start: first step; 0, or k after late rewinding.
    stop: last step.
    eval_every: steps between evaluations on the validation images.
    test_every: steps between evaluations on the test images.

  >>> entries(0, 250, 100, 200)
  [Entry(step=0, evaluate=True, test=True), Entry(step=100, evaluate=True, \
test=False), Entry(step=200, evaluate=True, test=True), Entry(step=250, \
evaluate=True, test=True)]
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
  """Returns the plan of a segment that visits some entries.

  Args:
    piece: 1 to `SEGMENT_ENTRIES` of them, in the order of their steps.

  Returns:
    A plan of NumPy arrays `[SEGMENT_ENTRIES]`.

  >>> plan_of([Entry(100, True, False)]).steps[0]
  np.int32(100)
  """
  steps, evaluate, test = zip(*piece)
  return loop.plan(steps, evaluate, test, SEGMENT_ENTRIES)


def train(
  lockstep: vmapped_lib.Lockstep,
  workers: Sequence[Worker],
  runs: Sequence[Run],
  todo: Sequence[Entry],
  *,
  pause: Callable[[int, Callable[[], list[Checkpoint]]], None],
) -> list[tuple[Checkpoint, loop.Summary]]:
  """Trains trials at the same time, the first ones on the first worker.

  Every process of the workers calls this with the same trials, trains those of
  its own workers and learns of the others.

  Args:
    lockstep: the compiled functions; how many trials a worker has at once.
    workers: where.
    runs: at least one trial and at most as many as the workers have at once;
      the last one fills up with copies. All begin at one step, and go on from
      one.
    todo: all entries of the runs.
    pause: called after every segment with the step and a function that returns
      the checkpoints; may save, report, or raise to stop.

  Returns:
    The last checkpoint and the summary of each trial, on the host.
  """
  width = lockstep.width
  shares = [
    (worker, runs[index * width : (index + 1) * width])
    for index, worker in enumerate(workers[: -(-len(runs) // width)])
  ]
  here = {i: share for i, share in enumerate(shares) if share[0].is_here}
  with processes.together():
    stacks = _each(lambda share: begin(lockstep, *share), here)
  rows = [run.resume.rows if run.resume else () for run in runs]
  step = rows[0][-1].step if rows[0] else int(runs[0].start.step)
  todo = [entry for entry in todo if entry.step > step or not rows[0]]

  def checkpoints() -> list[Checkpoint]:
    like = jax.eval_shape(lockstep.single.begin, runs[0].start, runs[0].sample)
    with processes.together():
      found = _each(functools.partial(_progress, lockstep), stacks)
    # One by one, since those of large networks need much memory.
    told = [processes.merge([x], like)[0] for x in _in_order(shares, found)]
    return [Checkpoint(*pair) for pair in zip(told, rows)]

  took = []
  while todo:
    piece = next_segment(todo, step, took)
    begin_time = time.monotonic()
    with processes.together():
      advanced = _each(
        functools.partial(_train_segment, lockstep, plan_of(piece)), stacks
      )
    stacks = {index: stack for index, (stack, _) in advanced.items()}
    found = {index: history for index, (_, history) in advanced.items()}
    histories = processes.merge(_in_order(shares, found), _HISTORY)
    rows = [
      _append(before, _rows(piece, new)) for before, new in zip(rows, histories)
    ]
    # As the slowest process has it, so that all go on alike.
    seconds = processes.gather(np.array(time.monotonic() - begin_time))
    took.append((piece[-1].step - step, float(max(seconds))))
    step = piece[-1].step
    todo = [entry for entry in todo if entry.step > step]
    pause(step, checkpoints)
  with processes.together():
    found = _each(functools.partial(_summarize, lockstep), stacks)
  summaries = processes.merge(_in_order(shares, found), _SUMMARY)
  return list(zip(checkpoints(), summaries))


def next_segment(
  todo: Sequence[Entry], step: int, took: Sequence[tuple[int, float]]
) -> Sequence[Entry]:
  """Returns what one segment visits; it is meant to last `SEGMENT_SECONDS`.

  A segment ends before the next entry if that is too far away.

  Args:
    todo: entries that are not visited yet.
    step: where the trials stand.
    took: of each segment before, its steps and its seconds. The first does not
      count: it may compile. Until there is a second, a segment is of one step.

  >>> todo = entries(0, 250, 100, 250)
  >>> [entry.step for entry in next_segment(todo, 0, [])]
  [0]
  >>> [entry.step for entry in next_segment(todo[1:], 0, [(0, 9.0), (1, 0.01)])]
  [100]
  >>> next_segment(todo[1:], 0, [(0, 9.0), (1, 0.02)])
  [Entry(step=50, evaluate=False, test=False)]
  """
  done = sum(steps for steps, _ in took[1:])
  seconds = sum(taken for _, taken in took[1:])
  num_steps = max(1, int(SEGMENT_SECONDS * done / seconds)) if seconds else 1
  fit = [x for x in todo[:SEGMENT_ENTRIES] if x.step <= step + num_steps]
  gap = todo[0].step - step
  parts = -(-gap // num_steps)
  return fit or [Entry(step + -(-gap // parts), False, False)]


def begin(
  lockstep: vmapped_lib.Lockstep, worker: Worker, runs: Sequence[Run]
) -> Stack:
  """Puts trials where they are to be trained.

  Args:
    lockstep: the compiled functions.
    worker: where.
    runs: at least one, at most as many as fit; copies of the first fill up.
  """
  filled = [*runs, *[runs[0]] * (lockstep.width - len(runs))]
  with jax.default_device(worker.local_devices[0]):
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
    with sharding.use(worker.mesh):
      progress = lockstep.trainer.begin(progress, sample)
  return Stack(worker, progress, sample, key, schedule)


def advance(
  lockstep: vmapped_lib.Lockstep, stack: Stack, plan: loop.Plan
) -> tuple[Stack, loop.History]:
  """Trains trials over one segment; what they were before is given up.

  Args:
    lockstep: the compiled functions.
    stack: the trials.
    plan: of the segment.

  Returns:
    The trials at its end, and what was measured, stacked, on the worker.
  """
  worker, progress, sample, key, schedule = stack
  with sharding.use(worker.mesh):
    progress, history = lockstep.trainer.advance(
      progress, plan, worker.data, sample, key, schedule
    )
  return stack._replace(progress=progress), history


def _each(function: Callable[[Any], Any], items: dict[int, Any]):
  """Maps a dict's values, each in a thread of its own if there are several."""
  if len(items) < 2:
    return {index: function(item) for index, item in items.items()}
  with concurrent.futures.ThreadPoolExecutor(len(items)) as threads:
    return dict(zip(items, threads.map(function, items.values())))


def _in_order(shares, found: dict[int, Sequence[Any]]) -> list[Any]:
  """Lists a value of each trial, None for those that another process tells."""
  return [
    found[index][place] if worker.is_told_from_here else None
    for index, (worker, runs) in enumerate(shares)
    for place in range(len(runs))
  ]


def _train_segment(lockstep, plan, stack):
  stack, history = advance(lockstep, stack, plan)
  return stack, lockstep.unstack(stack.worker.get(history))


def _progress(lockstep, stack):
  return lockstep.unstack(stack.worker.get(stack.progress))


def _summarize(lockstep, stack):
  worker = stack.worker
  with sharding.use(worker.mesh):
    summary = lockstep.trainer.summarize(
      stack.progress, worker.data, stack.sample
    )
  return lockstep.unstack(worker.get(summary))


def _append(before: Sequence[Row], new: Sequence[Row]) -> tuple[Row, ...]:
  """Adds rows, without those of pauses that are passed."""
  measured = [row for row in (*before, *new[:-1]) if row.evaluate or row.test]
  return (*measured, new[-1])


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
