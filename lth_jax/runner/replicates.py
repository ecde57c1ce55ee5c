"""The trials of each replicate: which have a result, and how to get the rest.

A replicate is a thread. It runs the algorithm of `lottery.rounds`, and submits
to the scheduler each trial that has no result yet.
"""

import concurrent.futures
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from lth_jax import errors
from lth_jax.config import plan
from lth_jax.config.configs import Config
from lth_jax.config.plan import Trial
from lth_jax.lottery import controls, keys, rounds
from lth_jax.parallel import processes, scheduler
from lth_jax.parallel.devices import Worker
from lth_jax.parallel.scheduler import Scheduler
from lth_jax.parallel.segments import ScheduledTrial
from lth_jax.runner import build, own, records, trials
from lth_jax.runner import checkpoints as checkpoints_lib
from lth_jax.runner.checkpoints import Checkpoints
from lth_jax.runner.records import Results
from lth_jax.runner.trials import Context
from lth_jax.storage import store
from lth_jax.training.loop import Start


def recover_results(
  components: build.Components, checkpoints: Checkpoints
) -> Results:
  """Returns the facts of every result on disk, after checking all its files.

  Removes what is damaged or was derived from something that the run no longer
  has. Saves theta_0 of each replicate that has none.

  Raises:
    InputError: a result belongs to another run, or its theta_0 or its split of
      the images is lost.
  """
  results: Results = {}
  for replicate in plan.replicates(components.config):
    results |= _recover_results(components, checkpoints, replicate)
  return results


def _recover_results(components, checkpoints, replicate: int) -> Results:
  name, start = checkpoints_lib.rewind_name(replicate), None
  record = checkpoints_lib.read_record(checkpoints, name)
  if record is None:
    start = build.initial_start(components, replicate)
    record = records.of_start(start, components.split(replicate))
  results = {name: records.facts(record)}
  for due in _rounds(components.config, replicate, results):
    masks = None
    for trial in due:
      origin = _origin(components.config, trial, results, masks)
      found = checkpoints_lib.read_record(checkpoints, trial.name, origin)
      if found is not None:
        # A kill may have come after the result was saved.
        checkpoints_lib.discard_resume_points(checkpoints, trial)
        results[trial.name] = records.facts(found)
        if trial.arm == "ticket":
          masks = found["digests"]["masks"]
  # Last: if a result has another theta_0, that is an error, and this one would
  # take the place of the lost one.
  if start is not None:
    arrays = checkpoints_lib.arrays_of(start)
    checkpoints_lib.save(checkpoints, name, arrays, record, {})
  return results


def missing(config: Config, results: Results) -> list[Trial]:
  """Lists the trials of a run that have no result, in their order."""
  return [
    trial
    for replicate in plan.replicates(config)
    for due in _rounds(config, replicate, results)
    for trial in due
    if trial.name not in results
  ]


def train_all(context: Context, workers: Sequence[Worker]) -> None:
  """Trains all replicates side by side; a failure stops all of them.

  Raises:
    StoppedError: the run was stopped; what was done is saved.
  """
  replicates = plan.replicates(context.components.config)
  # Several processes have to train the same group: all workers are one team.
  is_distributed = processes.is_distributed()
  teams = [workers] if is_distributed else [[worker] for worker in workers]

  def call(replicate: int) -> None:
    try:
      _train_replicate(context, queue, replicate)
    except BaseException as error:  # raised below, in the caller's thread
      context.failures.append(error)
      context.stop.set()
    finally:
      queue.leave()

  with (
    scheduler.serve(
      teams,
      functools.partial(trials.train_group, context),
      group_size=len(teams[0]) * context.vmapped.width,
      num_threads=len(replicates),
      by_rank=is_distributed,
    ) as queue,
    concurrent.futures.ThreadPoolExecutor(len(replicates)) as threads,
  ):
    done = [threads.submit(call, replicate) for replicate in replicates]
    # Only the main thread runs signal handlers. The system may hand a signal to
    # another thread, which does not end the main thread's wait: so it wakes up
    # by itself. Without this, one of ten signals waited for the end of the run.
    while concurrent.futures.wait(done, timeout=0.5).not_done:
      pass
  # The cause first, then the stops that it led to.
  context.failures.sort(key=lambda x: isinstance(x, errors.StoppedError))
  if context.failures:
    raise context.failures[0]


def _train_replicate(
  context: Context, queue: Scheduler, replicate: int
) -> None:
  """Trains one replicate's tickets round by round, with their controls."""
  components, config = context.components, context.components.config
  theta_0, controls_due = _load_theta_0(context, replicate), []

  def train(arm: str, index: int, start: Start) -> rounds.Trained:
    trial = Trial(replicate, index, arm)
    masks = store.digest(start.masks)
    result = _result(context, queue, trial, masks, lambda: start)
    if arm == "ticket":
      for control in plan.controls(config, replicate, index):
        begin = functools.partial(
          _control_start, components, control, initial, start
        )
        controls_due.append(_result(context, queue, control, masks, begin))
    return result()

  asked, initial = config.pruning, theta_0
  if asked.rewind_step:
    step = np.array(asked.rewind_step, np.int32)
    initial = rounds.rewind_point(theta_0, train, step)
  keep_trained = asked.retrain != "rewind"
  num_rounds = config.study.rounds
  prune = functools.partial(components.prune, replicate, initial.params)
  if asked.pruning == "oneshot":
    found = rounds.one_shot_rounds(
      initial, train, prune, num_rounds, keep_trained
    )
  elif asked.reset == "continued":
    found = rounds.continued_rounds(initial, train, prune, num_rounds)
  else:
    found = rounds.rounds(initial, train, prune, num_rounds, keep_trained)
  for _ in found:
    pass
  for result in controls_due:
    result()


def _load_theta_0(context: Context, replicate: int) -> Start:
  """Returns theta_0 as it is on disk, under full masks."""
  checkpoints, like = context.checkpoints, context.components.like
  name = checkpoints_lib.rewind_name(replicate)
  split = store.digest(context.components.split(replicate))
  # Raises if the images are split otherwise now.
  checkpoints_lib.discard_if_stale(
    checkpoints, name, context.results[name], {"split": split}
  )
  arrays = checkpoints_lib.load_arrays(checkpoints, name, like)
  return like._replace(params=arrays["params"], stats=arrays["stats"])


def _result(
  context: Context,
  queue: Scheduler,
  trial: Trial,
  masks: str,
  make_start: Callable[[], Start],
) -> Callable[[], Any]:
  """Returns a function that waits for a trial's result, from disk or training.

  `masks` is the digest of the masks of its round. `make_start` is called when
  the trial's turn to be trained has come: the starts of all trials that wait
  would fill the memory.
  """
  components, checkpoints = context.components, context.checkpoints
  origin = _origin(components.config, trial, context.results, masks)
  facts = context.results.get(trial.name)
  if facts is not None:
    name = trial.name
    if not checkpoints_lib.discard_if_stale(checkpoints, name, facts, origin):
      return functools.partial(_load_trained, context, trial)
    context.display.add(len(plan.steps(components.config, trial)))

  def make_trial() -> ScheduledTrial:
    start = make_start()
    return ScheduledTrial(
      trial,
      start,
      components.split(trial.replicate),
      build.order_key(components.config, trial),
      build.schedule(components, trial),
      plan.steps(components.config, trial),
      {**origin, "start": store.digest(start)},
    )

  # For several processes: trials that others wait for, then earlier rounds.
  rank = trial.is_control, trial.round, trial.name
  return queue.submit(make_trial, rank)


def _load_trained(context: Context, trial: Trial) -> rounds.Trained | None:
  """Returns the weights of a result on disk; None of a control."""
  if trial.is_control:
    return None
  components, like = context.components, context.components.like
  if plan.keeps_optimizer_state(components.config, trial):
    begin = components.trainer.begin
    split = components.split(trial.replicate)
    state = jax.eval_shape(begin, like, split).state
    like = like._replace(opt_state=state.opt_state)
  arrays = checkpoints_lib.load_arrays(context.checkpoints, trial.name, like)
  return rounds.Trained(
    arrays["params"],
    arrays["stats"],
    context.results[trial.name]["diverged"],
    arrays.get("opt_state"),
  )


def _control_start(
  components: build.Components, trial: Trial, initial: Start, ticket: Start
) -> Start:
  config, draw = components.config, trial.draw or 0
  known = controls.built_in(components.model.init, config.study.noise, draw)
  where = config.randomness.seed, trial.replicate, trial.round, draw
  control = own.choose(known, components.own, trial.arm)
  start = control(keys.control(trial.arm, *where), initial, ticket)
  start = jax.device_get(start)
  if trial.arm not in known:
    own.check_start(trial.arm, start, ticket)
  return start


def _rounds(
  config: Config, replicate: int, results: Results
) -> Iterator[list[Trial]]:
  """Yields the trials of each round; ends once one with masks has diverged."""
  for index in range(config.study.rounds + 1):
    due = plan.of_round(config, replicate, index)
    yield due
    for trial in due:
      facts = results.get(trial.name)
      if facts and facts["diverged"] and plan.supplies_masks(config, trial):
        return


def _origin(
  config: Config, trial: Trial, results: Results, masks: str | None
) -> dict[str, Any]:
  """Returns digests of what a trial is derived from, as far as they are known.

  `masks` is the digest of the masks of its round.
  """
  shared = results[checkpoints_lib.rewind_name(trial.replicate)]["origin"]
  origin = {name: shared[name] for name in ("theta_0", "split")}
  if masks is not None:
    origin["masks"] = masks
  for point in plan.rewind_points(config, trial.replicate):
    if point.name in results and point != trial:
      origin["rewind point"] = results[point.name]["digests"]["params"]
  parent = plan.parent(config, trial)
  if parent is not None and parent.name in results:
    origin["trained weights"] = results[parent.name]["digests"]["params"]
  if trial.arm == "noise" and trial.draw is not None:
    origin["noise"] = config.study.noise[trial.draw]
  return origin
