"""Trains groups of trials, saves their results, and saves them in between."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax import errors
from lth_jax.config import plan
from lth_jax.config.plan import Trial
from lth_jax.lottery import rounds
from lth_jax.parallel import processes, progress, segments
from lth_jax.parallel.devices import Worker
from lth_jax.parallel.segments import ResumePoint, Row, ScheduledTrial
from lth_jax.parallel.vmapped import Vmapped
from lth_jax.runner import build, metrics, records
from lth_jax.runner import checkpoints as checkpoints_lib
from lth_jax.runner.checkpoints import Checkpoints
from lth_jax.runner.records import Results
from lth_jax.storage import store
from lth_jax.training import loop


class Context(NamedTuple):
  """A run that this process is at work on.

  Attributes:
    components: what all trials share.
    checkpoints: where results are saved.
    results: that exist; each trial that is trained adds one.
    vmapped: the compiled functions of a worker.
    display: what the user sees.
    metrics: what is measured, as it is; None but in process 0.
    renew: renews the report; does nothing but in process 0.
    stop: set when the run must end soon.
    failures: errors of trials, the first one first.
  """

  components: build.Components
  checkpoints: Checkpoints
  results: Results
  vmapped: Vmapped
  display: progress.Display
  metrics: metrics.Stream | None
  renew: Callable[[], None]
  stop: threading.Event
  failures: list[BaseException]


def train_group(
  context: Context,
  team: Sequence[Worker],
  schedules: Sequence[Callable[[], ScheduledTrial]],
) -> list[rounds.Trained | None]:
  """Trains and saves trials at the same time; a failure stops the run.

  Trials that an earlier process left at different steps cannot be vmapped:
  those of one step train together, one step after the other.

  Args:
    context: of the run.
    team: workers that train them; all workers if there are several processes.
    schedules: functions that return the trials; no more of them than the team
      trains at once.

  Returns:
    The result of each trial. None for controls: weights kept in memory would
    grow with their number.

  Raises:
    StoppedError: the run must end; what was done is saved.
  """
  try:
    if any(processes.any_of(context.stop.is_set())):
      raise errors.StoppedError
    with processes.raise_in_all():
      due = [schedule() for schedule in schedules]
    due = [_with_resume_point(context, scheduled) for scheduled in due]
    processes.check_equal(lambda: _describe(due))
    trained = {}
    for place in sorted({_place(scheduled) for scheduled in due}):
      together = [scheduled for scheduled in due if _place(scheduled) == place]
      trained |= _train_together(context, team, together)
    return [None if x.trial.is_control else trained[x.trial] for x in due]
  except errors.StoppedError:
    raise
  except Exception as error:
    context.failures.append(error)
    context.stop.set()
    raise


def save_result(
  context: Context,
  trial: Trial,
  state: loop.TrainState,
  record: dict[str, Any],
  timing: dict[str, Any],
) -> rounds.Trained:
  """Saves the result of a trial; the one place where a result is saved."""
  _check_pruned(trial, state)
  kept = plan.keeps_optimizer_state(context.components.config, trial)
  opt_state = state.opt_state if kept else None
  arrays = checkpoints_lib.arrays_of(state, opt_state)
  checkpoints_lib.save(context.checkpoints, trial.name, arrays, record, timing)
  checkpoints_lib.discard_resume_points(context.checkpoints, trial)
  context.results[trial.name] = records.facts(record)
  if trial.arm == "ticket":
    context.renew()
  return rounds.Trained(
    state.params, state.stats, record["diverged"], opt_state
  )


def _with_resume_point(
  context: Context, scheduled: ScheduledTrial
) -> ScheduledTrial:
  trainer = context.components.trainer
  like = jax.eval_shape(trainer.begin, scheduled.start, scheduled.split)
  point = checkpoints_lib.load_resume_point(
    context.checkpoints, scheduled.trial, like, scheduled.origin
  )
  return scheduled._replace(resume_point=point)


def _place(scheduled: ScheduledTrial) -> tuple[int, int, bool]:
  """Returns a key that is equal for trials that can be trained together."""
  resumes = scheduled.resume_point is not None
  return scheduled.step, scheduled.steps.stop, resumes


def _describe(due: Sequence[ScheduledTrial]) -> dict[str, Any]:
  """Returns what processes must have in common to train trials together."""
  saved = [x.resume_point and x.resume_point.progress for x in due]
  return {
    "the list of trials": [x.trial for x in due],
    "the step that a trial was saved at": [_place(x) for x in due],
    "what a trial begins with": [
      (x.origin, store.digest(x.split)) for x in due
    ],
    "what a trial saved": [store.digest(x) for x in saved],
  }


def _train_together(
  context: Context, team: Sequence[Worker], due: Sequence[ScheduledTrial]
) -> dict[Trial, rounds.Trained]:
  """Trains trials from one step on, and saves their results."""
  since, asked = time.monotonic(), context.components.config.training
  for scheduled in due:
    context.display.skip(scheduled.step - scheduled.steps.start)
  first, stop = due[0].steps.start, due[0].steps.stop
  ends = segments.train(
    context.vmapped,
    team,
    due,
    segments.entries(first, stop, asked.eval_every, asked.test_every),
    pause=_make_pause(context, due),
  )
  timing = {
    "from_step": due[0].step,
    "trials": len(due),
    "finished": round(time.time()),
  }
  trained = {}
  with processes.raise_in_all():
    for index, (scheduled, (end, summary)) in enumerate(zip(due, ends)):
      record = records.of_trial(
        scheduled,
        end,
        summary,
        context.components.num_images,
        asked.eval_every,
      )
      worker = team[index // context.vmapped.width]
      trained[scheduled.trial] = save_result(
        context,
        scheduled.trial,
        end.progress.state,
        record,
        timing
        | dict(zip(("began", "seconds"), _times(scheduled, since)))
        | {"device": ", ".join(map(str, worker.devices))},
      )
      _show_result(context, scheduled, record)
  return trained


def _times(scheduled: ScheduledTrial, since: float) -> tuple[float, float]:
  """Returns when a training began, and its seconds, those before a kill too.

  `since` is the monotonic time at which this process began with it.
  """
  seconds, point = time.monotonic() - since, scheduled.resume_point
  if point is None:
    return time.time() - seconds, seconds
  return point.began, point.seconds + seconds


def _make_pause(
  context: Context, due: Sequence[ScheduledTrial]
) -> segments.Pause:
  """Returns what happens between two segments of a group."""
  since, before = time.monotonic(), due[0].step
  saved_at = since
  labels = [_label(scheduled) for scheduled in due]
  num_valid = context.components.num_images.valid
  minutes = context.components.config.execution.checkpoint_minutes

  def pause(
    rows: Sequence[tuple[Row, ...]],
    resume_points: Callable[[], list[ResumePoint]],
  ) -> None:
    nonlocal saved_at, before
    step = rows[0][-1].step
    for scheduled, label, found in zip(due, labels, rows):
      if context.metrics:
        context.metrics.add(scheduled, found)
      context.display.advance(step - before, label + _latest(found, num_valid))
    before = step
    # Looks at the signal once: a run that stops below has been saved.
    is_due, is_stopping = processes.any_of(
      time.monotonic() - saved_at >= 60 * minutes, context.stop.is_set()
    )
    if is_due or is_stopping:
      points = resume_points()
      with processes.raise_in_all():
        for scheduled, point in zip(due, points):
          checkpoints_lib.save_resume_point(
            context.checkpoints,
            scheduled.trial,
            segments.ResumePoint(*point[:2], *_times(scheduled, since)),
            scheduled.origin,
          )
      saved_at = time.monotonic()
    if is_stopping:
      raise errors.StoppedError

  return pause


def _show_result(context: Context, scheduled: ScheduledTrial, record) -> None:
  trial, config = scheduled.trial, context.components.config
  if record["diverged"] and plan.supplies_masks(config, trial):
    prevented = [
      later
      for index in range(trial.round + 1, config.study.rounds + 1)
      for later in plan.of_round(config, trial.replicate, index)
      if later.name not in context.results
    ]
    context.display.add(-sum(len(plan.steps(config, x)) for x in prevented))
  context.display.finish(f"{_label(scheduled)}: {_outcome(record)}")


def _check_pruned(trial: Trial, state: loop.TrainState) -> None:
  moved = jax.tree.map(
    lambda p, m: m is not None and bool(np.any(p[~m])),
    state.params,
    state.masks,
  )
  if any(jax.tree.leaves(moved)):
    raise RuntimeError(f"{trial.name}: pruned weights are not zero.")


def _label(scheduled: ScheduledTrial) -> str:
  """Returns a trial's name for people."""
  trial = scheduled.trial
  density = records.density(scheduled.start)["density"]
  draw = "" if trial.draw is None else f" {trial.draw}"
  return (
    f"round {trial.round} ({100 * density:.1f}%) replicate {trial.replicate} "
    f"{trial.arm}{draw}"
  )


def _latest(rows: Sequence[Row], num_valid: int) -> str:
  """Returns the last loss and accuracy on the validation images, for people."""
  for row in reversed(rows):
    if row.evaluate and row.valid_loss is not None:
      accuracy = 100 * row.valid_correct / num_valid
      return f", step {row.step:,}: loss {row.valid_loss:.3f}, {accuracy:.1f}%"
  return ""


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
