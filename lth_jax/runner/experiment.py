"""From a config to a finished run on disk, as often interrupted as it may be.

Each trial is a stage: if its result is stored, that is the result; else it is
trained and stored. So starting a run, resuming it and extending it are the
same loop.
"""

import concurrent.futures
import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from etils import epath

from lth_jax import data, errors
from lth_jax.config import configs, plan
from lth_jax.config.configs import Config
from lth_jax.config.plan import Trial
from lth_jax.lottery import controls, keys, rounds
from lth_jax.parallel import devices as devices_lib
from lth_jax.parallel import processes, progress, scheduler, vmapped
from lth_jax.parallel import workers as workers_lib
from lth_jax.parallel.workers import Worker
from lth_jax.runner import (
  build,
  environment,
  partials,
  settings,
  tickets,
  trials,
  workdir,
)
from lth_jax.runner import checkpoints as checkpoints_lib
from lth_jax.runner.checkpoints import Stores
from lth_jax.runner.trials import Session
from lth_jax.storage import files, lock, store
from lth_jax.training.loop import Start

# Flags that may differ between the processes of a run.
_OWN = {"data_dir", "source", "progress"}


def run(
  config: Config,
  folder: epath.Path,
  experiment: str,
  stop: threading.Event,
) -> None:
  """Starts, resumes or extends a run; returns when it is complete.

  Args:
    config: what to run.
    folder: the workdir.
    experiment: name of the experiment, recorded.
    stop: when set, the run stores what it has and raises `StoppedError`.

  Raises:
    InputError: the config is wrong, or the workdir holds another run.
    StoppedError: `stop` was set.
    OSError: the workdir cannot be written.
  """
  for setting in settings.fix(config.training.matmul_precision):
    processes.log(
      f"note: {setting} would change numbers or end the run; it is not used."
    )
  # What processes exchange first must come soon after their backends start,
  # so that reading data, which may take long, comes later.
  with processes.together():
    devices = devices_lib.find(
      config.execution.devices,
      plan.num_at_once(config),
      config.execution.batch_devices,
    )
  with processes.together():
    dataset = data.load(
      config.data.dataset,
      source=config.execution.source,
      data_dir=config.execution.data_dir,
    )
    parts = build.make(config, dataset)
  digest = files.digest(data.digests(dataset))
  processes.agree(lambda: _common(config, folder, digest))
  with contextlib.ExitStack() as until_the_end:
    with processes.together():
      check = _lock(until_the_end, folder, stop)
    sharing = processes.lead(
      lambda: _settle(folder, config, experiment, digest, devices)
    )
    workdir.check_shared(folder)
    stores = Stores(folder, parts.run_id, digest, processes.log, check)
    todo = processes.lead(lambda: missing(parts, stores))
    if todo:
      _train_all(
        parts,
        stores,
        [Trial(*trial) for trial in todo],
        devices,
        vmapped.make(parts.trainer, vmapped.Sharing(*sharing)),
        dataset,
        stop,
      )
    else:
      processes.log(f"{folder} is complete, nothing to train.")
    processes.lead(lambda: _settle_structure(parts, stores))


def _lock(
  until_the_end: contextlib.ExitStack,
  folder: epath.Path,
  stop: threading.Event,
) -> Callable[[], None]:
  """Locks the folder, in the one process that writes."""
  if not processes.is_first():
    return lambda: None
  folder.mkdir(parents=True, exist_ok=True)
  return until_the_end.enter_context(lock.hold(folder, progress.log, stop))


def _settle(folder, config, experiment, digest, devices):
  """Makes the folder this run's, and decides how trials share."""
  sharing = build.share_devices(config, devices, environment.sharings(folder))
  workdir.initialize(folder, config, experiment, digest, sharing, progress.log)
  return sharing


def _settle_structure(parts: build.Study, stores: Stores) -> None:
  for replicate in plan.replicates(parts.config):
    tickets.settle(parts, stores, replicate)


def _common(config, folder, digest) -> dict[str, Any]:
  """What several processes must have in common, with names for people."""
  asked = configs.to_flat(config)
  asked = {f"--{name}": asked[name] for name in asked.keys() - _OWN}
  return {
    "--workdir": str(folder),
    **dict(sorted(asked.items())),
    "the data set": digest,
    **environment.describe(),
  }


def missing(parts: build.Study, stores: Stores) -> list[Trial]:
  """Lists the trials of a run that are not stored, or not as they were written.

  Checks every file of the run, and that each result was derived from what the
  run has. What is damaged or was not is said and discarded, and a starting
  point among it is made again at once. Where masks would come from a trial that
  diverged, the replicate's series has ended, and with it this list.

  Args:
    parts: of the run.
    stores: where its results lie.

  >>> import tempfile
  >>> import numpy as np
  >>> from lth_jax.config import configs
  >>> images = np.zeros((6000, 2, 2, 1), np.uint8)
  >>> part = data.Examples(images, np.zeros(6000, np.int32))
  >>> dataset = data.Dataset("tiny", part, part, num_classes=2, source="made")
  >>> config = {"hidden": [], "rates": ["kernel=0.2"]}
  >>> config |= {"arms": ["ticket", "random"], "rounds": 1, "replicates": 1}
  >>> parts = build.make(configs.from_flat(config), dataset)
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), parts.run_id, "4567", print)
  ...   [trial.name for trial in missing(parts, stores)]
  ['replicate_0/round_000/ticket', 'replicate_0/round_001/ticket',
  'replicate_0/round_001/random']
  """
  config = parts.config
  found = []
  for replicate in plan.replicates(config):
    name = checkpoints_lib.rewind_name(replicate)
    begun = checkpoints_lib.read_record(stores, name)
    if begun is None:
      _, shared = checkpoints_lib.begin(parts, replicate)
    else:
      shared = begun["origin"]
    ends: dict[Trial, str] = {}
    for index in range(config.study.rounds + 1):
      masks, ended = None, False
      for trial in plan.of_round(config, replicate, index):
        origin = _origin(config, trial, shared, masks, ends)
        record = checkpoints_lib.read_record(stores, trial.name, origin)
        if record is None:
          found.append(trial)
          continue
        partials.discard(stores, trial)  # a kill may have come between
        ends[trial] = record["digests"]["params"]
        if trial.arm == "ticket":
          masks = record["digests"]["masks"]
        ended |= record["diverged"] and plan.supplies_masks(config, trial)
      if ended:
        break
    if begun is None:  # now that no stored trial has another
      checkpoints_lib.saved_start(stores, parts, replicate)
  return found


def _origin(
  config: Config,
  trial: Trial,
  shared: Mapping[str, Any],
  masks: str | None,
  ends: Mapping[Trial, str],
) -> dict[str, Any]:
  """Returns digests of what a trial is derived from, as far as they are known.

  Args:
    config: the run.
    trial: one of its trials.
    shared: the origin of the replicate's starting point.
    masks: of the round's ticket.
    ends: digests of trained weights.
  """
  origin = {name: shared[name] for name in ("theta_0", "split")}
  if masks is not None:
    origin["masks"] = masks
  parent = plan.parent(config, trial)
  if parent in ends:
    origin["trained weights"] = ends[parent]
  if trial.arm == "noise" and trial.draw is not None:
    origin["noise"] = config.study.noise[trial.draw]
  return origin


def _train_all(parts, stores, todo, devices, lockstep, dataset, stop) -> None:
  """Trains every trial that is not stored yet."""
  config = parts.config
  workers = workers_lib.make(
    devices, build.images(parts, dataset), config.execution.batch_devices
  )
  processes.log(_announcement(config, todo, devices, lockstep))
  begin = time.monotonic()
  num_steps = len(todo) * config.training.steps
  kind = config.execution.progress if processes.is_first() else "none"
  with progress.show(kind, num_steps) as display:
    session = Session(
      stores._replace(log=display.log),
      parts,
      lockstep,
      build.entries(config),
      display,
      stop,
      failures=[],
      planned=set(todo),
      diverged=[],
    )
    _train_series(session, workers)
  processes.log(f"Trained in {progress.duration(time.monotonic() - begin)}.")
  if session.diverged:
    processes.log(_loss(session.diverged))


def _loss(diverged: Sequence[Trial]) -> str:
  """Says which trials diverged, and what a person can do about it."""
  names = sorted(trial.name for trial in diverged)
  more = f" and {len(names) - 3} more" * (len(names) > 3)
  return (
    f"{len(names)} of them diverged (a loss was not finite): "
    f"{', '.join(names[:3])}{more}. They are left out of the report, and what "
    "would be pruned from them is not trained. Try a smaller --learning_rate, "
    "or --warmup, in another --workdir."
  )


def _announcement(config, todo, devices, lockstep) -> str:
  together = f", {lockstep.width} at once on each" * (lockstep.width > 1)
  return (
    f"{len(todo)} training run{'s' * (len(todo) > 1)} of "
    f"{config.training.steps:,} steps on "
    f"{len(devices)} x {devices[0].device_kind}{together}."
  )


def _train_series(session: Session, workers: Sequence[Worker]) -> None:
  """Runs all replicates side by side; the first failure stops the others."""
  replicates = plan.replicates(session.study.config)
  # A worker takes trials as it is free; processes must take them together.
  several = processes.several()
  teams = [workers] if several else [[worker] for worker in workers]

  def train(replicate, line):
    try:
      _train_replicate(session, line, replicate)
    except BaseException:
      session.stop.set()
      raise
    finally:
      line.leave()

  with (
    scheduler.serve(
      teams,
      functools.partial(trials.train_wave, session),
      width=len(teams[0]) * session.lockstep.width,
      num_series=len(replicates),
      rank=_rank if several else None,
    ) as line,
    concurrent.futures.ThreadPoolExecutor(len(replicates)) as threads,
  ):
    series = [threads.submit(train, r, line) for r in replicates]
  failures = [error for s in series if (error := s.exception())]
  # What went wrong matters more than that others were stopped for it.
  failures = session.failures + failures
  failures.sort(key=lambda failure: isinstance(failure, errors.StoppedError))
  if failures:
    raise failures[0]


def _rank(job: trials.Job) -> tuple[bool, int, str]:
  """Trials that others wait for come first, then the earlier rounds."""
  trial = job.trial
  return trial.arm not in ("ticket", "search"), trial.round, trial.name


def _train_replicate(
  session: Session, line: scheduler.Line, replicate: int
) -> None:
  """Trains one replicate's tickets round by round, with their controls."""
  parts = session.study
  sample = jax.device_get(build.split(parts, replicate))
  saved, shared = checkpoints_lib.saved_start(session.stores, parts, replicate)
  ends: dict[Trial, str] = {}
  waiting = []

  def train(arm: str, index: int, start: Start) -> rounds.Trained:
    trial = Trial(replicate, index, arm)
    masks = store.digest(start.masks)

    def job(trial: Trial, make_start: Callable[[], Start]) -> trials.Job:
      origin = _origin(parts.config, trial, shared, masks, ends)
      keep = trial.arm == arm  # others need the weights of no control
      return trials.Job(trial, make_start, origin, sample, keep)

    result = _ticket(session, line, job(trial, lambda: start))
    if arm == "ticket":
      for control in plan.controls(parts.config, replicate, index):
        begin = functools.partial(
          _control_start, session, control, saved, start
        )
        waiting.append(_control(session, line, job(control, begin)))
    trained = result()
    ends[trial] = store.digest(trained.params)
    return trained

  for _ in _search(parts, saved, train):
    pass
  for result in waiting:
    result()


def _search(parts, saved, train) -> Iterator[rounds.Round]:
  num_rounds = parts.config.study.rounds

  def prune(trained, masks):
    return build.prune(parts, trained, masks)

  def prune_at_once(trained, masks, index):
    return build.prune_at_once(parts, trained, masks, index)

  if parts.config.pruning.pruning == "oneshot":
    return rounds.one_shot_rounds(saved, train, prune_at_once, num_rounds)
  if parts.config.pruning.reset == "continued":
    return rounds.continued_rounds(saved, train, prune, num_rounds)
  return rounds.rounds(saved, train, prune, num_rounds)


def _ticket(
  session: Session, line: scheduler.Line, job: trials.Job
) -> Callable[[], rounds.Trained]:
  """Returns a function that waits for the result of a ticket or a search."""
  stored = checkpoints_lib.read_trained(
    session.stores, job.trial.name, job.make_start(), job.origin
  )
  if stored is not None:
    return lambda: stored
  return line.submit(job)


def _control(
  session: Session, line: scheduler.Line, job: trials.Job
) -> Callable[[], Any]:
  """Returns a function that waits until a control is stored."""
  stored = checkpoints_lib.read_record(
    session.stores, job.trial.name, job.origin
  )
  if stored is not None:
    return lambda: None
  return line.submit(job)


def _control_start(session, trial: Trial, saved: Start, ticket: Start) -> Start:
  config = session.study.config
  where = config.randomness.seed, trial.replicate, trial.round
  draw = trial.draw or 0
  match trial.arm:
    case "reinit":
      key = keys.reinit(*where, draw)
      start = controls.reinit(key, session.study.model.init, ticket)
    case "redraw":
      start = controls.redraw(keys.redraw(*where), ticket)
    case "noise":
      key, level = keys.noise(*where, draw), config.study.noise[draw]
      start = controls.noise(key, saved, ticket, level)
    case "random" | "random_global":
      scope = "global" if trial.arm == "random_global" else "layer"
      key = keys.random_masks(*where)
      start = controls.random_masks(key, saved, ticket, scope=scope)
    case "magnitude_at_start":
      start = controls.magnitude_at_start(saved, ticket)
    case _:
      raise ValueError(f"no control '{trial.arm}'")
  return jax.device_get(start)
