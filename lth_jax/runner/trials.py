"""Trains the trials that have no stored result, and stores their results.

A trial that is stopped, or killed, goes on from its last save.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax import errors
from lth_jax.config import plan
from lth_jax.config.plan import Trial
from lth_jax.lottery import rounds
from lth_jax.parallel import processes, progress, segments
from lth_jax.parallel import vmapped as vmapped_lib
from lth_jax.parallel.workers import Worker
from lth_jax.runner import build, partials, records
from lth_jax.runner import checkpoints as checkpoints_lib
from lth_jax.runner.checkpoints import Stores
from lth_jax.storage import store
from lth_jax.training import loop
from lth_jax.training.loop import Split, Start

PyTree = Any


class Session(NamedTuple):
  """One process at work on a run.

  Attributes:
    stores: where results lie.
    study: the parts of the run.
    lockstep: how many trials are trained together, and how.
    entries: the steps at which every trial is measured.
    display: what the user sees.
    stop: set when the session must end soon.
    failures: what went wrong in trials, the first first.
    planned: the trials whose steps the display knows of.
    diverged: those trained so far whose loss was not finite.
  """

  stores: Stores
  study: build.Study
  lockstep: vmapped_lib.Lockstep
  entries: Sequence[segments.Entry]
  display: progress.Display
  stop: threading.Event
  failures: list[Exception]
  planned: Collection[Trial]
  diverged: list[Trial]


class Job(NamedTuple):
  """A trial to train.

  Attributes:
    trial: which trial.
    make_start: called when the trial's turn comes.
    origin: digests of what the trial is derived from.
    sample: the replicate's images.
    keep: whether anyone asks for its weights; what is not kept is only stored.
  """

  trial: Trial
  make_start: Callable[[], Start]
  origin: Mapping[str, Any]
  sample: Split
  keep: bool


class Standing(NamedTuple):
  """A trial whose turn has come: where it stands.

  Attributes:
    trial: which trial.
    label: its name for people.
    run: where it begins or goes on.
    slot: which of its two saves is the newer.
    origin: digests of what it is derived from, and of what it began with.
  """

  trial: Trial
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
    """Trials of one group can be trained together."""
    return self.step, self.run.resume is not None


def train_wave(
  session: Session, team: Sequence[Worker], jobs: Sequence[Job]
) -> list[rounds.Trained | None]:
  """Trains and stores trials at the same time; a failure stops the session.

  Trials that an earlier process left at different steps, or did not begin, are
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
    return [trained[job.trial] if job.keep else None for job in jobs]
  except errors.StoppedError:
    raise
  except Exception as error:
    session.failures.append(error)
    session.stop.set()
    raise


def _find_standing(session: Session, job: Job, start: Start) -> Standing:
  like = jax.eval_shape(session.study.trainer.begin, start, job.sample)
  origin = {**job.origin, "start": store.digest(start)}
  resume, slot = partials.load(session.stores, job.trial, like, origin)
  key = build.order_key(session.study.config, job.trial)
  run = segments.Run(start, job.sample, key, session.study.schedule, resume)
  return Standing(job.trial, _label(job.trial, start), run, slot, origin)


def _train_together(
  session: Session, team: Sequence[Worker], standings: Sequence[Standing]
) -> dict[Trial, rounds.Trained]:
  """Trains trials that stand at one step, and stores them."""
  begin = time.monotonic()
  for standing in standings:
    begun = int(standing.run.start.step)
    if standing.trial not in session.planned:  # found damaged meanwhile
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
    "trials": len(standings),
    "finished": round(time.time()),
  }
  trained = {}
  for index, (standing, outcome) in enumerate(zip(standings, finished)):
    worker = team[index // session.lockstep.width]
    where = {"device": ", ".join(map(str, worker.devices))}
    with processes.together():
      trained[standing.trial] = _store(
        session, standing, *outcome, timing | where
      )
  return trained


def _describe(standings: Sequence[Standing]) -> dict[str, Any]:
  """What several processes must have in common to train trials together."""
  saved = [x.run.resume and x.run.resume.progress for x in standings]
  return {
    "the list of trials": [x.trial for x in standings],
    "the step that a trial was saved at": [x.group for x in standings],
    "what a trial begins with": [
      (x.origin, store.digest(x.run.sample)) for x in standings
    ],
    "what a trial saved": [store.digest(x) for x in saved],
  }


def _store(session, standing, checkpoint, summary, timing) -> rounds.Trained:
  """Stores what a trial has become and returns its weights."""
  trial, parts, state = standing.trial, session.study, checkpoint.progress.state
  _check_pruned(trial, state)
  record = records.of_trial(
    trial,
    standing.run.start,
    checkpoint,
    summary,
    parts.num_images,
    parts.config.training.eval_every,
    standing.origin,
  )
  arrays = checkpoints_lib.arrays_of(state)
  checkpoints_lib.save(session.stores, trial.name, arrays, record, timing)
  partials.discard(session.stores, trial)
  if record["diverged"]:
    _note_divergence(session, trial)
  session.display.finish(f"{standing.label}: {_outcome(record)}")
  return rounds.Trained(state.params, state.stats, record["diverged"])


def _note_divergence(session: Session, trial: Trial) -> None:
  """Takes what would be pruned from a trial off what is still to do."""
  session.diverged.append(trial)
  if plan.supplies_masks(session.study.config, trial):
    lost = [
      each
      for each in session.planned
      if each.replicate == trial.replicate and each.round > trial.round
    ]
    session.display.add(-len(lost) * session.study.config.training.steps)


def _make_pause(session, standings):
  """Returns what happens between two segments of trials."""
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
            session.stores, standing.trial, slot, checkpoint, standing.origin
          )
      saved_at = time.monotonic()
    if stopping:
      raise errors.StoppedError

  return pause


def _check_stop(session: Session) -> None:
  (stopping,) = processes.any_of(session.stop.is_set())
  if stopping:
    raise errors.StoppedError


def _check_pruned(trial: Trial, state: loop.TrainState) -> None:
  moved = jax.tree.map(
    lambda p, m: m is not None and bool(np.any(p[~m])),
    state.params,
    state.masks,
  )
  if any(jax.tree.leaves(moved)):
    raise RuntimeError(f"{trial.name}: pruned weights are not zero.")


def _label(trial: Trial, start: Start) -> str:
  masks = jax.tree.leaves(start.masks)
  density = sum(m.sum() for m in masks) / sum(m.size for m in masks)
  draw = "" if trial.draw is None else f" {trial.draw}"
  return (
    f"round {trial.round} ({100 * density:.1f}%) replicate {trial.replicate} "
    f"{trial.arm}{draw}"
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
