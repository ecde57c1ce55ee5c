"""Lanes as stages: what is stored is the result, else it is trained and stored.

A lane that is stopped, or killed, goes on from its last save.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from lth_jax import (
  execution,
  lanes,
  lottery,
  processes,
  progress,
  records,
  storage,
  study,
  training,
)
from lth_jax import lockstep as lockstep_lib
from lth_jax.lanes import Lane
from lth_jax.training import Sample, Start
from lth_jax.workers import Worker

PyTree = Any


class StoppedError(Exception):
  """The run was asked to stop; what was done is stored."""


class Stores(NamedTuple):
  """Where the results of a run lie.

  Attributes:
    folder: the workdir.
    run_id: what every store below it must belong to.
    say: told what is damaged.
    check: called before each commit; raises if this process may not write.
  """

  folder: epath.Path
  run_id: str
  say: Callable[[str], None]
  check: Callable[[], None] = lambda: None


class Session(NamedTuple):
  """One process at work on a run.

  Attributes:
    stores: where results lie.
    study: the parts of the run.
    lockstep: how many lanes are trained together, and how.
    speed: measured when the session began.
    entries: the steps at which every lane is measured or may pause.
    display: what the user sees.
    stop: set when the session must end soon.
    failures: what went wrong in lanes, the first first.
  """

  stores: Stores
  study: study.Study
  lockstep: lockstep_lib.Lockstep
  speed: execution.Speed
  entries: Sequence[execution.Entry]
  display: progress.Display
  stop: threading.Event
  failures: list[Exception]


class Job(NamedTuple):
  """A lane to train.

  Attributes:
    lane: which lane.
    make_start: called when the lane's turn comes.
    sample: the replicate's images.
    keep: whether anyone asks for its weights; what is not kept is only stored.
  """

  lane: Lane
  make_start: Callable[[], Start]
  sample: Sample
  keep: bool


class Standing(NamedTuple):
  """A lane whose turn has come: where it stands.

  Attributes:
    lane: which lane.
    label: its name for people.
    run: where it begins or goes on.
    slot: which of its two saves is the newer.
  """

  lane: Lane
  label: str
  run: execution.Run
  slot: int

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
) -> list[lottery.Trained | None]:
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
  except StoppedError:
    raise
  except Exception as error:
    session.failures.append(error)
    session.stop.set()
    raise


def read_trained(
  stores: Stores, name: str, start: Start
) -> lottery.Trained | None:
  """Returns a lane's stored weights; None if there are none.

  Args:
    stores: where results lie.
    name: the store, below the workdir.
    start: what the lane began from; a store with other masks is damaged.

  >>> import tempfile
  >>> start = Start({"w": np.ones(2)}, {}, 0, {"w": np.array([True, True])})
  >>> arrays = {"params": {"w": np.zeros(2)}, "stats": {}, "masks": start.masks}
  >>> digests = {"masks": storage.digest(start.masks)}
  >>> record = {"diverged": False, "digests": digests}
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores, owner = Stores(epath.Path(folder), "0123", print), "run 0123, a"
  ...   storage.save(stores.folder / "a", owner, arrays, record, timing={})
  ...   read_trained(stores, "a", start)
  ...   read_trained(stores, "b", start) is None
  Trained(params={'w': array([0., 0.])}, stats={}, diverged=False)
  True
  """
  like = _arrays(start.params, start.stats, start.masks)
  masks = storage.digest(start.masks)

  def read(folder, owner):
    arrays, record = storage.load(folder, owner, like)
    if record["digests"]["masks"] != masks:
      raise storage.DamagedError(
        f"{folder} has not the masks that the round before leads to."
      )
    return lottery.Trained(
      arrays["params"], arrays["stats"], record["diverged"]
    )

  return _read(stores, name, read)


def read_arrays(
  stores: Stores, name: str, like: Start
) -> dict[str, PyTree] | None:
  """Returns the params, stats and masks of a store; None if there are none.

  Args:
    stores: where results lie.
    name: the store, below the workdir; discarded, and said, if it is damaged.
    like: has the same shapes.

  >>> import tempfile
  >>> start = Start({"w": np.ones(2)}, {}, 0, {"w": np.array([True, True])})
  >>> arrays = {"params": {"w": np.zeros(2)}, "stats": {}, "masks": start.masks}
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores, owner = Stores(epath.Path(folder), "0123", print), "run 0123, a"
  ...   storage.save(stores.folder / "a", owner, arrays, {}, timing={})
  ...   read_arrays(stores, "a", start)["params"]
  {'w': array([0., 0.])}
  """
  shapes = _arrays(like.params, like.stats, like.masks)
  return _read(
    stores,
    name,
    lambda folder, owner: storage.load(folder, owner, shapes)[0],
  )


def read_record(stores: Stores, name: str) -> dict[str, Any] | None:
  """Returns the record of a store that is as it was written, else None.

  Args:
    stores: where results lie.
    name: the store, below the workdir; discarded, and said, if it is damaged.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", print)
  ...   (stores.folder / "ticket").mkdir()
  ...   storage.write_json(stores.folder / "ticket" / "commit.json", {})
  ...   read_record(stores, "ticket") is None
  warning: .../ticket/commit.json is altered. It is discarded and made again.
  True
  """
  return _read(stores, name, storage.load_record)


def discard_partials(stores: Stores, lane: Lane) -> None:
  """Removes what a lane saved on its way, once it is stored itself.

  Args:
    stores: where results lie.
    lane: which lane.

  >>> import tempfile
  >>> lane = Lane(0, 1, "ticket")
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", print)
  ...   saved = stores.folder / f"{lane.name}.partial_1"
  ...   saved.mkdir(parents=True)
  ...   discard_partials(stores, lane)
  ...   saved.exists()
  False
  """
  for slot in range(2):
    _discard(stores.folder / _partial(lane, slot))


def saved_start(stores: Stores, parts: study.Study, replicate: int) -> Start:
  """Returns theta_0 from the run's folder, where it is put the first time.

  Args:
    stores: where results lie.
    parts: has the seed, the network and the masks.
    replicate: index of the replicate.

  Returns:
    Weights under full masks, as NumPy arrays.

  >>> import tempfile
  >>> from lth_jax import configs, data
  >>> images = np.zeros((6000, 2, 2, 1), np.uint8)
  >>> part = data.Split(images, np.zeros(6000, np.int32))
  >>> dataset = data.Dataset("tiny", part, part, num_classes=2, source="made")
  >>> config = configs.from_flat({"hidden": [], "rates": ["kernel=0.2"]})
  >>> parts = study.make(config, dataset)
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), parts.run_id, print)
  ...   start = saved_start(stores, parts, replicate=0)
  ...   read_record(stores, "replicate_0/rewind")["step"]
  0
  """
  name = rewind_name(replicate)
  start = study.initial_start(parts, replicate)
  stored = read_trained(stores, name, start)
  if stored is not None:
    return start._replace(params=stored.params, stats=stored.stats)
  record = {
    "diverged": False,
    "step": int(start.step),
    "digests": {
      "masks": storage.digest(start.masks),
      "params": storage.digest(start.params),
    },
  }
  arrays = _arrays(start.params, start.stats, start.masks)
  _save(stores, name, arrays, record, {})
  return start


def time_store(stores: Stores, start: Start) -> float:
  """Returns the seconds that storing a lane takes; nothing of it stays.

  Args:
    stores: where to.
    start: what to store; shapes matter, values do not.

  >>> import tempfile
  >>> start = Start({"w": np.ones(2)}, {}, 0, {"w": np.array([True, True])})
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", print)
  ...   time_store(stores, start) > 0, list(stores.folder.iterdir())
  (True, [])
  """
  name = ".timing"
  arrays = _arrays(start.params, start.stats, start.masks)
  seconds = 0.0
  for _ in range(2):  # the first imports Orbax
    begin = time.monotonic()
    _save(stores, name, arrays, {}, {})
    seconds = time.monotonic() - begin
  _discard(stores.folder / name)
  return seconds


def rewind_name(replicate: int) -> str:
  """Returns the name of the store of theta_0, below the workdir.

  Args:
    replicate: index of the replicate.

  >>> rewind_name(3)
  'replicate_3/rewind'
  """
  return f"replicate_{replicate}/rewind"


def _find_standing(session: Session, job: Job, start: Start) -> Standing:
  resume, slot = _load_partial(session, job.lane, start, job.sample)
  key = study.order_key(session.study.config, job.lane)
  run = execution.Run(start, job.sample, key, session.study.schedule, resume)
  return Standing(job.lane, _label(job.lane, start), run, slot)


def _train_together(
  session: Session, team: Sequence[Worker], standings: Sequence[Standing]
) -> dict[Lane, lottery.Trained]:
  """Trains lanes that stand at one step, and stores them."""
  begin = time.monotonic()
  for standing in standings:
    session.display.skip(standing.step - int(standing.run.start.step))
  finished = execution.train(
    session.lockstep,
    team,
    [standing.run for standing in standings],
    session.entries,
    speed=session.speed,
    pause=_make_pause(session, standings),
  )
  timing = {
    "seconds": time.monotonic() - begin,
    "from_step": standings[0].step,
    "lanes": len(standings),
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
  starts = [(x.run.start, x.run.sample) for x in standings]
  saved = [x.run.resume and x.run.resume.progress for x in standings]
  return {
    "the list of lanes": [x.lane for x in standings],
    "the step that a lane was saved at": [x.group for x in standings],
    "what a lane begins with": [storage.digest(x) for x in starts],
    "what a lane saved": [storage.digest(x) for x in saved],
  }


def _store(session, standing, checkpoint, summary, timing) -> lottery.Trained:
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
  )
  arrays = _arrays(state.params, state.stats, state.masks)
  _save(session.stores, lane.name, arrays, record, timing)
  discard_partials(session.stores, lane)
  session.display.finish(f"{standing.label}: {_outcome(record)}")
  return lottery.Trained(state.params, state.stats, record["diverged"])


def _make_pause(session, standings):
  """Returns what happens between two segments of lanes."""
  saved_at, before = time.monotonic(), standings[0].step
  slots = [standing.slot for standing in standings]
  minutes = session.study.config.execution.checkpoint_minutes

  def pause(
    step: int, checkpoints: Callable[[], list[execution.Checkpoint]]
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
          _save_partial(session, standing.lane, slot, checkpoint)
      saved_at = time.monotonic()
    if stopping:
      raise StoppedError

  return pause


def _save_partial(session, lane, slot, checkpoint) -> None:
  rows = [list(row) for row in checkpoint.rows]
  _save(
    session.stores,
    _partial(lane, slot),
    checkpoint.progress,
    {"rows": rows},
    {},
  )


def _load_partial(
  session: Session, lane: Lane, start: Start, sample: Sample
) -> tuple[execution.Checkpoint | None, int]:
  """Returns the newer of a lane's two saves and its slot; None without any.

  The first process reads it and tells the others, since it may also find that
  it is damaged, and discard it.
  """
  like = jax.eval_shape(session.study.trainer.begin, start, sample)
  kept = None

  def read() -> tuple[int, Sequence[Any]]:
    nonlocal kept
    newest, slot = _newest_partial(session.stores, lane, like)
    kept = newest and newest.progress
    return slot, newest.rows if newest else ()

  slot, rows = processes.lead(read)
  if not rows:
    return None, slot
  (found,) = processes.merge([kept], like)
  rows = tuple(execution.Row(*row) for row in rows)
  return execution.Checkpoint(found, rows), slot


def _newest_partial(stores: Stores, lane: Lane, like: PyTree):
  """There are two so that a kill while one is written leaves the other."""
  newest, newest_slot = None, 1
  for slot in range(2):
    found = _read(
      stores,
      _partial(lane, slot),
      lambda folder, owner: storage.load(folder, owner, like),
    )
    if found is None:
      continue
    rows = tuple(execution.Row(*row) for row in found[1]["rows"])
    if newest is None or rows[-1].step > newest.rows[-1].step:
      newest, newest_slot = execution.Checkpoint(found[0], rows), slot
  return newest, newest_slot


def _read(stores: Stores, name: str, read: Callable[..., Any]) -> Any:
  """Reads a store; None if it is not there, or damaged, which is said."""
  folder = stores.folder / name
  if not storage.exists(folder):
    return None
  try:
    return read(folder, _owner(stores, name))
  except storage.DamagedError as error:
    stores.say(f"warning: {error} It is discarded and made again.")
    _discard(folder)
    return None


def _save(stores: Stores, name, arrays, record, timing) -> None:
  if not processes.is_first():
    return
  owner = _owner(stores, name)
  storage.save(
    stores.folder / name, owner, arrays, record, timing, stores.check
  )


def _discard(folder: epath.Path) -> None:
  if processes.is_first():
    storage.discard(folder)


def _owner(stores: Stores, name: str) -> str:
  return lanes.owner(stores.run_id, name)


def _partial(lane: Lane, slot: int) -> str:
  return f"{lane.name}.partial_{slot}"


def _arrays(params, stats, masks) -> dict[str, PyTree]:
  return {"params": params, "stats": stats, "masks": masks}


def _check_stop(session: Session) -> None:
  (stopping,) = processes.any_of(session.stop.is_set())
  if stopping:
    raise StoppedError


def _check_pruned(lane: Lane, state: training.TrainState) -> None:
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
