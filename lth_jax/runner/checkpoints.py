"""The checkpoints of a run, each a folder below the workdir.

    replicate_0/rewind                         theta_0
    replicate_0/round_000/rewind_point         theta_k, if rounds begin at it
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
  check: Callable[[], None]

  def owner(self, name: str) -> str:
    """Returns the owner that a checkpoint of this run has."""
    return plan.owner(self.run_id, self.data, name)


def _read(
  checkpoints: Checkpoints, name: str, load: Callable[[epath.Path, str], Any]
) -> Any:
  """Loads a checkpoint; returns None if it is missing, or damaged and removed.

  `name`, here and below, is that of its folder below the workdir. `load` is
  called with the folder and its owner, and raises `store.DamagedError`.
  """
  folder = checkpoints.folder / name
  if not store.exists(folder):
    return None
  try:
    return load(folder, checkpoints.owner(name))
  except store.DamagedError as error:
    _discard_damaged(checkpoints, name, str(error))
    return None


def read_record(
  checkpoints: Checkpoints,
  name: str,
  origin: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
  """Returns the record of a checkpoint after checking all its files.

  None if the checkpoint is missing. None, after a warning and its removal, if
  it is damaged or its origin lacks one of the digests in `origin`.

  Raises:
    InputError: its origin is lost, or the checkpoint is another run's.
  """
  record = _read(checkpoints, name, store.load_record)
  if record and discard_if_stale(checkpoints, name, record, origin or {}):
    return None
  return record


def discard_if_stale(
  checkpoints: Checkpoints,
  name: str,
  record: Mapping[str, Any],
  origin: Mapping[str, Any],
) -> bool:
  """Removes a checkpoint of another origin; returns whether it was one.

  `origin` has digests of what the run would derive the checkpoint from now.

  Raises:
    InputError: it was made from something that is lost; nothing is removed.
  """
  found, folder = record.get("origin", {}), checkpoints.folder / name
  differing = [part for part in origin if found.get(part) != origin[part]]
  for part in differing:
    if part in _LOST:
      raise errors.InputError(
        f"{folder} was made from another {part}: {_LOST[part]}."
      )
  if differing:
    reason = f"{folder} was made from other {differing[0]}."
    _discard_damaged(checkpoints, name, reason)
  return bool(differing)


def load_arrays(
  checkpoints: Checkpoints, name: str, like: Start
) -> dict[str, PyTree]:
  """Returns the params, stats and masks of a checkpoint.

  And the optimizer's state, if `like` has one.

  Does not check its files: `read_record` does, once each time a run is started.

  Raises:
    DamagedError: the arrays do not have the shapes of `like`.
  """
  expected = arrays_of(like, like.opt_state)
  return store.load_arrays(checkpoints.folder / name, expected)


def save(
  checkpoints: Checkpoints,
  name: str,
  arrays: PyTree,
  record: Mapping[str, Any],
  timing: Mapping[str, Any],
) -> None:
  """Saves NumPy arrays with their record, in process 0.

  `timing` tells how the result was made; no digest covers it.
  """
  if processes.is_process_0():
    store.save(
      checkpoints.folder / name,
      checkpoints.owner(name),
      arrays,
      dict(record),
      dict(timing),
      checkpoints.check,
    )


def arrays_of(
  state: Start | TrainState, opt_state: PyTree = None
) -> dict[str, PyTree]:
  """Returns what is saved of a start, or of a trained state.

  `opt_state` is the optimizer's state, where rounds begin with it.
  """
  arrays = {"params": state.params, "stats": state.stats, "masks": state.masks}
  return arrays if opt_state is None else arrays | {"opt_state": opt_state}


def rewind_name(replicate: int) -> str:
  """Returns the name of the checkpoint of theta_0."""
  return f"replicate_{replicate}/rewind"


def save_resume_point(
  checkpoints: Checkpoints,
  trial: Trial,
  point: ResumePoint,
  origin: Mapping[str, Any],
) -> None:
  """Saves an intermediate checkpoint, then removes the older one.

  A kill in between leaves both; the newest one that is complete counts.
  """
  step = point.rows[-1].step
  rows = [list(row) for row in point.rows]
  record = {
    "origin": dict(origin),
    "rows": rows,
    "began": point.began,
    "seconds": point.seconds,
  }
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
  again on another machine, with other bits and so with other masks. `like` has
  the shapes of the trial's progress.

  Process 0 reads and sends it to the others, since it may also find that the
  checkpoint is damaged, and remove it.
  """
  return processes.on_process_0(
    lambda: _newest(checkpoints, trial, like, dict(origin))
  )


def discard_resume_points(
  checkpoints: Checkpoints, trial: Trial, keep: int | None = None
) -> None:
  """Removes a trial's intermediate checkpoints, but the one of step `keep`."""
  if processes.is_process_0():
    for step, name in _resume_points(checkpoints, trial):
      if step != keep:
        store.discard(checkpoints.folder / name, checkpoints.check)


def _newest(checkpoints, trial, like, origin) -> ResumePoint | None:
  def load(folder, owner):
    arrays, record = store.load(folder, owner, like)
    if record.get("origin") != origin:
      raise store.DamagedError(
        f"{folder} was made from other weights or masks than this trial is."
      )
    try:
      rows = tuple(segments.Row(*row) for row in record["rows"])
    except (LookupError, TypeError):
      rows = ()
    if not rows:
      raise store.DamagedError(f"{folder} has no rows.")
    # Those of older versions have no times.
    times = record.get("began", 0.0), record.get("seconds", 0.0)
    return ResumePoint(arrays, rows, *times)

  for _, name in sorted(_resume_points(checkpoints, trial), reverse=True):
    point = _read(checkpoints, name, load)
    if point is not None:
      return point
  return None


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
  if processes.is_process_0():
    store.discard(checkpoints.folder / name, checkpoints.check)
