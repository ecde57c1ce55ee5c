"""From a config to a finished run on disk, as often interrupted as it may be.

Each lane is a stage: if its result is stored, that is the result; else it is
trained and stored. So starting a run, resuming it and extending it are the
same loop.
"""

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from lth_jax import (
  controls,
  data,
  execution,
  keys,
  lottery,
  progress,
  records,
  storage,
  study,
  training,
  workdir,
)
from lth_jax.configs import Config
from lth_jax.storage import Lane
from lth_jax.training import Sample, Start

PyTree = Any


class StoppedError(Exception):
  """The run was asked to stop; what was done is stored."""


class Session(NamedTuple):
  """One process at work on a run.

  Attributes:
    folder: the workdir.
    study: the parts of the run.
    pool: the devices.
    speed: measured when the session began.
    display: what the user sees.
    stop: set when the session must end soon.
  """

  folder: epath.Path
  study: study.Study
  pool: execution.Pool
  speed: execution.Speed
  display: progress.Display
  stop: threading.Event


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
  precision = config.training.matmul_precision
  jax.config.update(
    "jax_default_matmul_precision",
    None if precision == "default" else precision,
  )
  devices = execution.find_devices(
    config.execution.devices, _num_lanes_at_once(config)
  )
  dataset = data.load(
    config.data.dataset,
    source=config.execution.source,
    data_dir=config.execution.data_dir,
  )
  parts = study.make(config, dataset)
  folder.mkdir(parents=True, exist_ok=True)
  with storage.lock(folder):
    workdir.settle(
      folder, config, experiment, data.digests(dataset), progress.say
    )
    _train_all(parts, folder, devices, dataset, stop)


def missing(parts: study.Study, folder: epath.Path) -> list[Lane]:
  """Lists the lanes of a run that are not stored.

  A diverged ticket ends its replicate's series, and with it this list.
  """
  config = parts.config
  found = []
  for replicate in study.replicates(config):
    for index in range(config.study.rounds + 1):
      lanes = study.lanes(config, replicate, index)
      absent = [x for x in lanes if not storage.exists(folder / x.name)]
      found += absent
      if lanes[0] not in absent and _ends_series(parts, folder, lanes[0]):
        break
  return found


def _train_all(parts, folder, devices, dataset, stop) -> None:
  """Trains every lane that is not stored yet."""
  todo = missing(parts, folder)
  if not todo:
    progress.say(f"{folder} is complete, nothing to train.")
    return
  config = parts.config
  pool = execution.make_pool(
    devices, training.Data(*dataset.train, *dataset.test)
  )
  try:
    speed = _measure_speed(parts, pool, todo[0])
    seconds = len(todo) * _estimate(parts, speed) / len(devices)
    progress.say(
      f"{len(todo)} training runs of {config.training.steps:,} steps on "
      f"{len(devices)} x {devices[0].device_kind}, about "
      f"{progress.duration(seconds)} (measured: {1e3 * speed.step:.2f} ms a "
      "step)."
    )
    begin = time.monotonic()
    num_steps = len(todo) * config.training.steps
    with progress.show(config.execution.progress, num_steps) as display:
      _train_series(Session(folder, parts, pool, speed, display, stop))
    progress.say(
      f"Trained in {progress.duration(time.monotonic() - begin)} (estimated "
      f"{progress.duration(seconds)})."
    )
  finally:
    pool.threads.shutdown(wait=True, cancel_futures=True)


def _train_series(session: Session) -> None:
  """Runs all replicates side by side; the first failure stops the others."""
  replicates = study.replicates(session.study.config)
  with concurrent.futures.ThreadPoolExecutor(len(replicates)) as threads:
    series = [threads.submit(_train_replicate, session, r) for r in replicates]
    for finished in concurrent.futures.as_completed(series):
      if finished.exception():
        session.stop.set()
  failures = [s.exception() for s in series if s.exception()]
  # What went wrong matters more than that the others were stopped for it.
  failures.sort(key=lambda failure: isinstance(failure, StoppedError))
  if failures:
    raise failures[0]


def _train_replicate(session: Session, replicate: int) -> None:
  """Trains one replicate's tickets round by round, with their controls."""
  parts = session.study
  sample = jax.device_get(study.split(parts, replicate))
  saved = _saved_start(session, replicate)
  controls_left = []

  def train(arm: str, index: int, start: Start) -> lottery.Trained:
    lane = Lane(replicate, index, arm)
    result = _submit(session, lane, start, sample)
    if arm == "ticket":
      for control in study.control_lanes(parts.config, replicate, index):
        controls_left.append(
          _submit_control(session, control, saved, start, sample)
        )
    return result()

  for _ in _search(parts, saved, train):
    pass
  for result in controls_left:
    result()


def _search(parts, saved, train) -> Iterator[lottery.Round]:
  pruning_config = parts.config.pruning
  num_rounds = parts.config.study.rounds

  def prune(trained, masks):
    return study.prune(parts, trained, masks)

  def prune_at_once(trained, masks, index):
    return study.prune_at_once(parts, trained, masks, index)

  if pruning_config.pruning == "oneshot":
    return lottery.one_shot_rounds(saved, train, prune_at_once, num_rounds)
  if pruning_config.reset == "continued":
    return lottery.continued_rounds(saved, train, prune, num_rounds)
  return lottery.rounds(saved, train, prune, num_rounds)


def _submit(
  session: Session, lane: Lane, start: Start, sample: Sample
) -> Callable[[], lottery.Trained]:
  """Returns a function that waits for a ticket's or search's result."""
  stored = _read(session, lane.name, lambda f, o: _load(session, f, o, start))
  if stored is not None:
    return lambda: stored
  return execution.submit(
    session.pool,
    lambda worker: _train_lane(session, lane, start, sample, worker),
  ).result


def _submit_control(
  session: Session, lane: Lane, saved: Start, ticket: Start, sample: Sample
) -> Callable[[], Any]:
  """Returns a function that waits until a control is stored."""
  stored = _read(session, lane.name, storage.load_record)
  if stored is not None:
    return lambda: stored
  return execution.submit(
    session.pool,
    lambda worker: _train_lane(
      session, lane, _control(session, lane, saved, ticket), sample, worker
    ),
  ).result


def _control(session, lane: Lane, saved: Start, ticket: Start) -> Start:
  seed = session.study.config.randomness.seed
  if lane.arm == "reinit":
    key = keys.reinit(seed, lane.replicate, lane.round, lane.draw)
    start = controls.reinit(key, session.study.model.init, ticket)
  else:
    scope = "global" if lane.arm == "random_global" else "layer"
    key = keys.random_masks(seed, lane.replicate, lane.round)
    start = controls.random_masks(key, saved, ticket, scope=scope)
  return jax.device_get(start)


def _train_lane(
  session: Session,
  lane: Lane,
  start: Start,
  sample: Sample,
  worker: execution.Worker,
) -> lottery.Trained:
  """Trains a lane from where it stands, stores it, and returns its weights."""
  _check_stop(session)
  parts, display = session.study, session.display
  begin = saved_at = time.monotonic()
  label = _label(lane, start)
  resume, slot = _load_partial(session, lane, start, sample)
  done = resume.rows[-1].step if resume else 0
  display.advance(done, label)

  def pause(checkpoint: execution.Checkpoint) -> None:
    nonlocal done, saved_at, slot
    step = checkpoint.rows[-1].step
    display.advance(step - done, label)
    done = step
    minutes = (time.monotonic() - saved_at) / 60
    due = minutes >= parts.config.execution.checkpoint_minutes
    if due or session.stop.is_set():
      slot = 1 - slot
      _save_partial(session, lane, slot, checkpoint)
      saved_at = time.monotonic()
    _check_stop(session)

  checkpoint, summary = execution.train(
    parts.trainer,
    worker,
    start,
    sample,
    study.order_key(parts.config, lane),
    study.todo(parts.config, session.speed),
    resume=resume,
    speed=session.speed,
    pause=pause,
  )
  state = checkpoint.progress.state
  _check_pruned(lane, state)
  record = records.of_lane(
    lane,
    start,
    checkpoint,
    summary,
    parts.num_images,
    parts.config.training.eval_every,
  )
  timing = {
    "seconds": time.monotonic() - begin,
    "device": str(worker.device),
    "from_step": resume.rows[-1].step if resume else 0,
  }
  storage.save(
    session.folder / lane.name,
    _owner(session, lane.name),
    _arrays(state.params, state.stats, state.masks),
    record,
    timing,
  )
  for old in range(2):
    storage.discard(session.folder / _partial(lane, old))
  display.finish(f"{label}: {_outcome(record)}")
  return lottery.Trained(state.params, state.stats, record["diverged"])


def _saved_start(session: Session, replicate: int) -> Start:
  """Returns theta_0 from the run's folder, where it is put the first time."""
  parts, name = session.study, f"replicate_{replicate}/rewind"
  start = study.initial_start(parts, replicate)
  stored = _read(session, name, lambda f, o: _load(session, f, o, start))
  if stored is not None:
    return start._replace(params=stored.params, stats=stored.stats)
  arrays = _arrays(start.params, start.stats, start.masks)
  record = {"diverged": False, "digests": _digests(start)}
  storage.save(session.folder / name, _owner(session, name), arrays, record, {})
  return start


def _load(session, folder, owner, start: Start) -> lottery.Trained:
  like = _arrays(start.params, start.stats, start.masks)
  arrays, record = storage.load(folder, owner, like)
  if record["digests"]["masks"] != storage.digest(start.masks):
    raise storage.DamagedError(
      f"{folder} has not the masks that the round before leads to."
    )
  return lottery.Trained(arrays["params"], arrays["stats"], record["diverged"])


def _read(session: Session, name: str, read: Callable) -> Any:
  """Reads a store; None if it is not there, or damaged, which is said."""
  folder = session.folder / name
  if not storage.exists(folder):
    return None
  try:
    return read(folder, _owner(session, name))
  except storage.DamagedError as error:
    session.display.say(f"warning: {error} It is discarded and made again.")
    return None


def _save_partial(session, lane, slot, checkpoint) -> None:
  checkpoint = jax.device_get(checkpoint)
  name = _partial(lane, slot)
  record = {"rows": [list(row) for row in checkpoint.rows]}
  storage.save(
    session.folder / name,
    _owner(session, name),
    checkpoint.progress,
    record,
    {},
  )


def _load_partial(
  session: Session, lane: Lane, start: Start, sample: Sample
) -> tuple[execution.Checkpoint | None, int]:
  """Returns the newer of a lane's two saves and its slot; None without any.

  There are two so that a kill while one is written leaves the other.
  """
  like = jax.eval_shape(session.study.trainer.begin, start, sample)
  newest, newest_slot = None, 1
  for slot in range(2):
    found = _read(
      session,
      _partial(lane, slot),
      lambda folder, owner: storage.load(folder, owner, like),
    )
    if found is None:
      continue
    progress_, record = found
    rows = tuple(execution.Row(*row) for row in record["rows"])
    if newest is None or rows[-1].step > newest.rows[-1].step:
      newest, newest_slot = execution.Checkpoint(progress_, rows), slot
  return newest, newest_slot


def _measure_speed(parts, pool, lane: Lane) -> execution.Speed:
  return execution.measure_speed(
    parts.trainer,
    pool,
    study.initial_start(parts, lane.replicate),
    jax.device_get(study.split(parts, lane.replicate)),
    study.order_key(parts.config, lane),
  )


def _estimate(parts, speed) -> float:
  return execution.estimate(
    study.todo(parts.config, speed), parts.num_images, speed
  )


def _num_lanes_at_once(config: Config) -> int:
  """Lanes of one round over all replicates: more devices would stay idle."""
  lanes = max(
    len(study.lanes(config, 0, index))
    for index in range(config.study.rounds + 1)
  )
  return config.study.replicates * lanes


def _ends_series(parts, folder, ticket: Lane) -> bool:
  """Says whether a stored ticket diverged and no round was pruned from it."""
  depends = parts.config.pruning.pruning == "iterative" or ticket.round == 0
  if not depends or parts.config.pruning.reset == "continued":
    depends = ticket.round == 0
  try:
    record = storage.read_json(folder / ticket.name / "record.json")
  except storage.DamagedError:
    return False  # it will be made again
  return depends and record["diverged"]


def _arrays(params, stats, masks) -> dict[str, PyTree]:
  return {"params": params, "stats": stats, "masks": masks}


def _digests(start: Start) -> dict[str, str]:
  return {
    "masks": storage.digest(start.masks),
    "params": storage.digest(start.params),
  }


def _owner(session: Session, name: str) -> str:
  return f"run {session.study.run_id}, {name}"


def _partial(lane: Lane, slot: int) -> str:
  return f"{lane.name}.partial_{slot}"


def _check_stop(session: Session) -> None:
  if session.stop.is_set():
    raise StoppedError


def _check_pruned(lane: Lane, state: training.TrainState) -> None:
  pruned = jax.tree.map(
    lambda p, m: m is not None and bool(np.any(p[~m])),
    state.params,
    state.masks,
  )
  if any(jax.tree.leaves(pruned)):
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
