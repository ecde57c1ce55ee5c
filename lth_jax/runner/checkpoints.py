"""The checkpoints of a run, each a folder below the workdir.

    replicate_0/rewind                         theta_0
    replicate_0/round_003/ticket               the result of a trial
    replicate_0/round_003/ticket.step_12000    an intermediate checkpoint

Where several processes work on a run, all of them read; process 0 alone writes.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from etils import epath

from lth_jax import errors
from lth_jax.config import plan
from lth_jax.config.plan import Trial
from lth_jax.parallel import processes, segments
from lth_jax.parallel.segments import ResumePoint
from lth_jax.storage import buckets, store
from lth_jax.training.loop import Start, TrainState

PyTree = Any
# What cannot be made again of a result's origin, and what to do. To train the
# result again from another one would hide the loss.
_LOST = {
  "theta_0": "theta_0 is gone and is another one here; continue where the run "
  "began, or remove the replicate's folder",
  "split": "this version of JAX splits the images otherwise; use the one that "
  "the run began with (env.json), or another --workdir",
  "noise": "ask for the --noise that the run was stored with",
}


class Checkpoints(NamedTuple):
  """Where the checkpoints of a run are.

  Attributes:
    folder: the workdir.
    run_id: names the run in every checkpoint.
    data: digest of the images and labels, in every checkpoint too.
    log: is called with a warning for each checkpoint that is damaged.
    check: is called before anything is committed or removed; raises if this
      process may not write any more.
  """

  folder: epath.Path
  run_id: str
  data: str
  log: Callable[[str], None]
  check: Callable[[], None] = lambda: None


def read(
  checkpoints: Checkpoints, name: str, load: Callable[[epath.Path, str], Any]
) -> Any:
  """Loads a checkpoint; returns None if it is missing, or damaged (logged).

  Args:
    checkpoints: of the run.
    name: of the checkpoint, below the workdir; removed if it is damaged.
    load: is called with its folder and owner; raises `store.DamagedError`.
  """
  folder = checkpoints.folder / name
  if not store.exists(folder):
    return None
  try:
    owner = plan.owner(checkpoints.run_id, checkpoints.data, name)
    return load(folder, owner)
  except store.DamagedError as error:
    _discard_damaged(checkpoints, name, str(error))
    return None


def read_record(
  checkpoints: Checkpoints,
  name: str,
  origin: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
  """Returns the record of a checkpoint after checking all its files.

  Args:
    checkpoints: of the run.
    name: of the checkpoint, below the workdir.
    origin: digests that the checkpoint's origin must have, if it has them.

  Returns:
    None if the checkpoint is missing. None, after a warning and its removal, if
    it is damaged or has another origin.

  Raises:
    InputError: its origin is lost, or the checkpoint is another run's.
  """
  record = read(checkpoints, name, store.load_record)
  if record is None or not has_origin(checkpoints, name, record, origin or {}):
    return None
  return record


def has_origin(
  checkpoints: Checkpoints,
  name: str,
  record: Mapping[str, Any],
  origin: Mapping[str, Any],
) -> bool:
  """Returns whether a checkpoint was derived from what the run has now.

  Args:
    checkpoints: of the run.
    name: of the checkpoint; it is removed, with a warning, if it was not.
    record: of the checkpoint.
    origin: digests that its origin must have.

  Raises:
    InputError: its origin is lost.
  """
  found, folder = record.get("origin", {}), checkpoints.folder / name
  for part, value in origin.items():
    if found.get(part) == value:
      continue
    if part in _LOST:
      raise errors.InputError(
        f"{folder} was made from another {part}: {_LOST[part]}."
      )
    reason = f"{folder} was made from other {part}."
    _discard_damaged(checkpoints, name, reason)
    return False
  return True


def load_arrays(
  checkpoints: Checkpoints, name: str, like: Start
) -> dict[str, PyTree]:
  """Returns the params, stats and masks of a checkpoint.

  Does not check its files: `read_record` does, once each time a run is started.

  Args:
    checkpoints: of the run.
    name: of the checkpoint, below the workdir.
    like: has the same shapes.

  Raises:
    DamagedError: the arrays do not have the shapes.
  """
  return store.load_arrays(checkpoints.folder / name, arrays_of(like))


def save(
  checkpoints: Checkpoints,
  name: str,
  arrays: PyTree,
  record: Mapping[str, Any],
  timing: Mapping[str, Any],
) -> None:
  """Saves arrays with their record, in process 0.

  Args:
    checkpoints: of the run.
    name: of the checkpoint, below the workdir.
    arrays: a pytree of NumPy arrays.
    record: facts of the result, for JSON.
    timing: facts of how it was made, which no digest covers.
  """
  if processes.is_process_0():
    owner = plan.owner(checkpoints.run_id, checkpoints.data, name)
    folder = checkpoints.folder / name
    store.save(
      folder, owner, arrays, dict(record), dict(timing), checkpoints.check
    )


def discard(checkpoints: Checkpoints, name: str) -> None:
  """Removes a checkpoint, if there is one, in process 0.

  Args:
    checkpoints: of the run.
    name: of the checkpoint, below the workdir.
  """
  if processes.is_process_0():
    store.discard(checkpoints.folder / name, checkpoints.check)


def arrays_of(state: Start | TrainState) -> dict[str, PyTree]:
  """Returns what is saved of a start, or of a trained state.

  Args:
    state: has params, stats and masks.
  """
  return {"params": state.params, "stats": state.stats, "masks": state.masks}


def rewind_name(replicate: int) -> str:
  """Returns the name of the checkpoint of theta_0.

  Args:
    replicate: index of the replicate.
  """
  return f"replicate_{replicate}/rewind"


def save_resume_point(
  checkpoints: Checkpoints,
  trial: Trial,
  point: ResumePoint,
  origin: Mapping[str, Any],
) -> None:
  """Saves an intermediate checkpoint, then removes the older one.

  A kill in between leaves both; the newest one that is complete counts.

  Args:
    checkpoints: of the run.
    trial: which trial.
    point: from which training can continue.
    origin: digests of what the trial was derived from.
  """
  step = _step(point)
  rows = [list(row) for row in point.rows]
  record = {"origin": dict(origin), "rows": rows}
  name = f"{trial.name}.step_{step}"
  save(checkpoints, name, point.progress, record, {})
  discard_resume_points(checkpoints, trial, keep=step)


def load_resume_point(
  checkpoints: Checkpoints,
  trial: Trial,
  like: PyTree,
  origin: Mapping[str, Any],
) -> ResumePoint | None:
  """Returns the newest intermediate checkpoint of a trial that can be used.

  One with another origin is removed: the round before may have been trained
  again on another machine, with other bits and so with other masks.

  Process 0 reads and sends it to the others, since it may also find that the
  checkpoint is damaged, and remove it.

  Args:
    checkpoints: of the run.
    trial: which trial.
    like: the shapes of its progress.
    origin: digests of what it is derived from.
  """
  return processes.on_process_0(
    lambda: _newest(checkpoints, trial, like, dict(origin))
  )


def discard_resume_points(
  checkpoints: Checkpoints, trial: Trial, keep: int | None = None
) -> None:
  """Removes the intermediate checkpoints of a trial, in process 0.

  Args:
    checkpoints: of the run.
    trial: which trial.
    keep: the step of one that stays.
  """
  if processes.is_process_0():
    for step, name in _resume_points(checkpoints, trial):
      if step != keep:
        discard(checkpoints, name)


def _newest(checkpoints, trial, like, origin) -> ResumePoint | None:
  def load(folder, owner):
    arrays, record = store.load(folder, owner, like)
    if record.get("origin") != origin:
      raise store.DamagedError(
        f"{folder} was made from other weights or masks than this trial is."
      )
    try:
      point = ResumePoint(
        arrays, tuple(segments.Row(*row) for row in record["rows"])
      )
      _step(point)
    except (LookupError, TypeError) as error:
      raise store.DamagedError(f"{folder} has no rows.") from error
    return point

  for _, name in sorted(_resume_points(checkpoints, trial), reverse=True):
    point = read(checkpoints, name, load)
    if point is not None:
      return point
  return None


def _step(point: ResumePoint) -> int:
  return point.rows[-1].step


def _resume_points(checkpoints, trial: Trial) -> list[tuple[int, str]]:
  """Lists (step, name) of the intermediate checkpoints, complete or not."""
  path = checkpoints.folder / trial.name
  prefix = f"{path.name}.step_"
  return [
    (int(step), f"{trial.name}.step_{step}")
    for other in buckets.children(path.parent)
    if other.name.startswith(prefix)
    and (step := other.name.removeprefix(prefix)).isdecimal()
  ]


def _discard_damaged(checkpoints, name: str, reason: str) -> None:
  checkpoints.log(f"warning: {reason} It is discarded and made again.")
  discard(checkpoints, name)
