"""What a trial saves on its way, so that a stop or a kill loses little of it.

A trial has two slots, so that a kill while one is written leaves the other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lth_jax.config.plan import Trial
from lth_jax.parallel import processes, segments
from lth_jax.runner import checkpoints as checkpoints_lib
from lth_jax.runner.checkpoints import Stores
from lth_jax.storage import store

PyTree = Any


def save(
  stores: Stores,
  trial: Trial,
  slot: int,
  checkpoint: segments.Checkpoint,
  origin: Mapping[str, Any],
) -> None:
  """Saves a trial between two segments.

  Args:
    stores: where results lie.
    trial: which trial.
    slot: 0 or 1, the one that is not the newer of the two.
    checkpoint: where it stands.
    origin: digests of what it was derived from.

  >>> import tempfile
  >>> from etils import epath
  >>> import numpy as np
  >>> trial = Trial(0, 1, "ticket")
  >>> checkpoint = segments.Checkpoint({"w": np.ones(2)}, ())
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", "4567", print)
  ...   save(stores, trial, 1, checkpoint, {"masks": "0a1b"})
  ...   checkpoints_lib.read_record(stores, f"{trial.name}.partial_1")
  {'origin': {'masks': '0a1b'}, 'rows': []}
  """
  rows = [list(row) for row in checkpoint.rows]
  record = {"origin": dict(origin), "rows": rows}
  checkpoints_lib.save(
    stores, _name(trial, slot), checkpoint.progress, record, {}
  )


def load(
  stores: Stores, trial: Trial, like: PyTree, origin: Mapping[str, Any]
) -> tuple[segments.Checkpoint | None, int]:
  """Returns the newer of a trial's two saves and its slot; None without any.

  One that was derived from something else, such as other masks, is discarded:
  the round before may have been trained again, elsewhere.
  The first process reads it and tells the others, since it may also find that
  it is damaged, and discard it.

  Args:
    stores: where results lie.
    trial: which trial.
    like: its progress, or the shapes of it.
    origin: digests of what it is derived from.

  >>> import tempfile
  >>> from etils import epath
  >>> import numpy as np
  >>> trial, like = Trial(0, 1, "ticket"), {"w": np.zeros(2)}
  >>> row = segments.Row(100, False, False, None, None, 0, None, 0)
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", "4567", print)
  ...   saved = segments.Checkpoint({"w": np.ones(2)}, (row,))
  ...   save(stores, trial, 0, saved, {"masks": "0a1b"})
  ...   checkpoint, slot = load(stores, trial, like, {"masks": "0a1b"})
  >>> checkpoint.progress, checkpoint.rows[-1].step, slot
  ({'w': array([1., 1.])}, 100, 0)
  """
  kept = None

  def read() -> tuple[int, Sequence[Any]]:
    nonlocal kept
    newest, slot = _newest(stores, trial, like, origin)
    kept = newest and newest.progress
    return slot, newest.rows if newest else ()

  slot, rows = processes.lead(read)
  if not rows:
    return None, slot
  (found,) = processes.merge([kept], like)
  rows = tuple(segments.Row(*row) for row in rows)
  return segments.Checkpoint(found, rows), slot


def _newest(stores: Stores, trial: Trial, like: PyTree, origin):
  def read(folder, owner):
    arrays, record = store.load(folder, owner, like)
    if record.get("origin") != origin:
      raise store.DamagedError(
        f"{folder} was made from other weights or masks than this trial is."
      )
    try:
      rows = tuple(segments.Row(*row) for row in record["rows"])
      return rows[-1].step, segments.Checkpoint(arrays, rows)
    except (LookupError, TypeError) as error:
      raise store.DamagedError(f"{folder} has no rows.") from error

  newest, newest_slot, newest_step = None, 1, -1
  for slot in range(2):
    found = checkpoints_lib.read(stores, _name(trial, slot), read)
    if found is not None and found[0] > newest_step:
      newest_step, newest = found
      newest_slot = slot
  return newest, newest_slot


def discard(stores: Stores, trial: Trial) -> None:
  """Removes what a trial saved on its way, once it is stored itself.

  Args:
    stores: where results lie.
    trial: which trial.

  >>> import tempfile
  >>> from etils import epath
  >>> trial = Trial(0, 1, "ticket")
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", "4567", print)
  ...   saved = stores.folder / f"{trial.name}.partial_1"
  ...   saved.mkdir(parents=True)
  ...   discard(stores, trial)
  ...   saved.exists()
  False
  """
  for slot in range(2):
    checkpoints_lib.discard(stores, _name(trial, slot))


def _name(trial: Trial, slot: int) -> str:
  return f"{trial.name}.partial_{slot}"
