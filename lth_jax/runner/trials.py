"""Lanes as stages: what is stored is the result, else it is trained and stored.

A lane that is stopped, or killed, goes on from its last save.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax import errors
from lth_jax.config import plan
from lth_jax.config.plan import Lane
from lth_jax.lottery import rounds
from lth_jax.parallel import processes, progress, segments
from lth_jax.parallel import vmapped as vmapped_lib
from lth_jax.parallel.workers import Worker
from lth_jax.runner import build, partials, records
from lth_jax.runner import checkpoints as checkpoints_lib
from lth_jax.runner.checkpoints import Stores
from lth_jax.storage import store
from lth_jax.training import loop
from lth_jax.training.loop import Sample, Start

PyTree = Any


class Session(NamedTuple):
  """One process at work on a run.

  Attributes:
    stores: where results lie.
    study: the parts of the run.
    lockstep: how many lanes are trained together, and how.
    entries: the steps at which every lane is measured.
    display: what the user sees.
    stop: set when the session must end soon.
    failures: what went wrong in lanes, the first first.
    planned: the lanes whose steps the display knows of.
    diverged: those trained so far whose loss was not finite.
  """

  stores: Stores
  study: build.Study
  lockstep: vmapped_lib.Lockstep
  entries: Sequence[segments.Entry]
  display: progress.Display
  stop: threading.Event
  failures: list[Exception]
  planned: Collection[Lane]
  diverged: list[Lane]


class Job(NamedTuple):
  """A lane to train.

  Attributes:
    lane: which lane.
    make_start: called when the lane's turn comes.
    origin: digests of what the lane is derived from.
    sample: the replicate's images.
    keep: whether anyone asks for its weights; what is not kept is only stored.
  """

  lane: Lane
  make_start: Callable[[], Start]
  origin: Mapping[str, Any]
  sample: Sample
  keep: bool


class Standing(NamedTuple):
  """A lane whose turn has come: where it stands.

  Attributes:
    lane: which lane.
    label: its name for people.
    run: where it begins or goes on.
    slot: which of its two saves is the newer.
    origin: digests of what it is derived from, and of what it began with.
  """

  lane: Lane
  label: str
  run: segments.Run
  slot: int
  origin: Mapping[str, Any]

  @property
  def step(self) -> int:
    """The step that it is trained from."""
    run = self.run
    return run.resume.rows[-1].step if run.resume else int(run.start.step)

  @property
  def group(self) -> tuple[int, bool]:
    """Lanes of one group can be trained together."""
    return self.step, self.run.resume is not None


def train_wave(
  session: Session, team: Sequence[Worker], jobs: Sequence[Job]
) -> list[rounds.Trained | None]:
  """Trains and stores lanes at the same time; a failure stops the session.

  Lanes that an earlier process left at different steps, or did not begin, are
  trained one group after the other.

  Args:
    session: this process.
    team: who trains; where there are several processes, all their workers.
    jobs: at most as many as they have at once.

  Returns:
    The outcome of each that is to be kept, None for the others.

  Raises:
    StoppedError: the session must end; what was done is stored.
  """
  try:
    _check_stop(session)
    with processes.together():
      starts = [job.make_start() for job in jobs]
    standings = [
      _find_standing(session, job, start) for job, start in zip(jobs, starts)
    ]
    processes.agree(lambda: _describe(standings))
    trained = {}
    for group in sorted({standing.group for standing in standings}):
      together = [x for x in standings if x.group == group]
      trained |= _train_together(session, team, together)
    return [trained[job.lane] if job.keep else None for job in jobs]
  except errors.StoppedError:
    raise
  except Exception as error:
    session.failures.append(error)
    session.stop.set()
    raise


def _find_standing(session: Session, job: Job, start: Start) -> Standing:
  like = jax.eval_shape(session.study.trainer.begin, start, job.sample)
  origin = {**job.origin, "start": store.digest(start)}
  resume, slot = partials.load(session.stores, job.lane, like, origin)
  key = build.order_key(session.study.config, job.lane)
  run = segments.Run(start, job.sample, key, session.study.schedule, resume)
  return Standing(job.lane, _label(job.lane, start), run, slot, origin)


def _train_together(
  session: Session, team: Sequence[Worker], standings: Sequence[Standing]
) -> dict[Lane, rounds.Trained]:
  """Trains lanes that stand at one step, and stores them."""
  begin = time.monotonic()
  for standing in standings:
    begun = int(standing.run.start.step)
    if standing.lane not in session.planned:  # found damaged meanwhile
      session.display.add(session.entries[-1].step - begun)
    session.display.skip(standing.step - begun)
  finished = segments.train(
    session.lockstep,
    team,
    [standing.run for standing in standings],
    session.entries,
    pause=_make_pause(session, standings),
  )
  timing = {
    "seconds": time.monotonic() - begin,
    "from_step": standings[0].step,
    "lanes": len(standings),
    "finished": round(time.time()),
  }
  trained = {}
  for index, (standing, outcome) in enumerate(zip(standings, finished)):
    worker = team[index // session.lockstep.width]
    where = {"device": ", ".join(map(str, worker.devices))}
    with processes.together():
      trained[standing.lane] = _store(
        session, standing, *outcome, timing | where
      )
  return trained


def _describe(standings: Sequence[Standing]) -> dict[str, Any]:
  """What several processes must have in common to train lanes together."""
  saved = [x.run.resume and x.run.resume.progress for x in standings]
  return {
    "the list of lanes": [x.lane for x in standings],
    "the step that a lane was saved at": [x.group for x in standings],
    "what a lane begins with": [
      (x.origin, store.digest(x.run.sample)) for x in standings
    ],
    "what a lane saved": [store.digest(x) for x in saved],
  }


def _store(session, standing, checkpoint, summary, timing) -> rounds.Trained:
  """Stores what a lane has become and returns its weights."""
  lane, parts, state = standing.lane, session.study, checkpoint.progress.state
  _check_pruned(lane, state)
  record = records.of_lane(
    lane,
    standing.run.start,
    checkpoint,
    summary,
    parts.num_images,
    parts.config.training.eval_every,
    standing.origin,
  )
  arrays = checkpoints_lib.arrays_of(state)
  checkpoints_lib.save(session.stores, lane.name, arrays, record, timing)
  partials.discard(session.stores, lane)
  if record["diverged"]:
    _note_divergence(session, lane)
  session.display.finish(f"{standing.label}: {_outcome(record)}")
  return rounds.Trained(state.params, state.stats, record["diverged"])


def _note_divergence(session: Session, lane: Lane) -> None:
  """Takes what would be pruned from a lane off what is still to do."""
  session.diverged.append(lane)
  if plan.supplies_masks(session.study.config, lane):
    lost = [
      each
      for each in session.planned
      if each.replicate == lane.replicate and each.round > lane.round
    ]
    session.display.add(-len(lost) * session.study.config.training.steps)


def _make_pause(session, standings):
  """Returns what happens between two segments of lanes."""
  saved_at, before = time.monotonic(), standings[0].step
  slots = [standing.slot for standing in standings]
  minutes = session.study.config.execution.checkpoint_minutes

  def pause(
    step: int, checkpoints: Callable[[], list[segments.Checkpoint]]
  ) -> None:
    nonlocal saved_at, before, slots
    for standing in standings:
      session.display.advance(step - before, standing.label)
    before = step
    due, stopping = processes.any_of(
      time.monotonic() - saved_at >= 60 * minutes,
      session.stop.is_set(),  # once: what stops is saved
    )
    if due or stopping:
      slots = [1 - slot for slot in slots]
      for standing, slot, checkpoint in zip(standings, slots, checkpoints()):
        with processes.together():
          partials.save(
            session.stores, standing.lane, slot, checkpoint, standing.origin
          )
      saved_at = time.monotonic()
    if stopping:
      raise errors.StoppedError

  return pause


def _check_stop(session: Session) -> None:
  (stopping,) = processes.any_of(session.stop.is_set())
  if stopping:
    raise errors.StoppedError


def _check_pruned(lane: Lane, state: loop.TrainState) -> None:
  moved = jax.tree.map(
    lambda p, m: m is not None and bool(np.any(p[~m])),
    state.params,
    state.masks,
  )
  if any(jax.tree.leaves(moved)):
    raise RuntimeError(f"{lane.name}: pruned weights are not zero.")


def _label(lane: Lane, start: Start) -> str:
  masks = jax.tree.leaves(start.masks)
  density = sum(m.sum() for m in masks) / sum(m.size for m in masks)
  draw = "" if lane.draw is None else f" {lane.draw}"
  return (
    f"round {lane.round} ({100 * density:.1f}%) replicate {lane.replicate} "
    f"{lane.arm}{draw}"
  )


def _outcome(record: dict[str, Any]) -> str:
  if record["diverged"]:
    return "diverged"
  end = f"test {100 * record['end']['test_accuracy']:.2f}% at the end"
  stop = record["early_stop"]
  if stop is None:
    return end
  return (
    f"early stop {stop['step']:,} with test "
    f"{100 * stop['test_accuracy']:.2f}%, {end}"
  )
