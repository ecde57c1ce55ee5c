"""Checkpoints: folders that are complete or absent.

    replicate_0/round_003/ticket/
      arrays/        a pytree of arrays, written by Orbax
      record.json    results
      timing.json    times and facts about the host, outside all digests
      commit.json    owner, and the SHA-256 of every other file but timing.json

`commit.json` is written last: a folder without it, or with a file that differs
from its digest, does not count. (Orbax itself does not notice a flipped byte.)
Nothing relies on renaming a folder, so the protocol is the same on an object
store, where a single object appears at once.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath

from lth_jax import errors
from lth_jax.storage import buckets, files
from lth_jax.storage.files import DamagedError as DamagedError

PyTree = Any
_COMMIT = "commit.json"
_RECORD = "record.json"
_TIMING = "timing.json"
_ARRAYS = "arrays"
# Orbax raises these if files hold something else than was asked for, ...
_CONTENT_ERRORS = (
  *(LookupError, TypeError, ValueError, AttributeError, OverflowError),
)
# ... and these if a disk or a store fails. Its parts do not agree on types, and
# TensorStore raises ValueErrors: `buckets.explain` tells them apart.
_ERRORS = OSError, RuntimeError, *_CONTENT_ERRORS
# Two saves or loads at once in one process damage each other: some fail with
# NOT_FOUND inside their temporary folder, or hang for 300 s (orbax 0.12.8).
_ORBAX = threading.Lock()


def save(
  folder: epath.Path,
  owner: str,
  arrays: PyTree,
  record: dict[str, Any],
  timing: dict[str, Any],
  check: Callable[[], None] = lambda: None,
) -> None:
  """Saves a checkpoint; it is complete once this returns, and not before.

  Args:
    folder: replaced if it holds anything.
    owner: names the run and its data; `load` asks for the same.
    arrays: pytree of NumPy arrays.
    record: JSON without NaN.
    timing: JSON; times and facts about the host.
    check: is called before anything is removed and before the commit; raises
      if this process may not write here any more.

  Raises:
    StorageError, OSError: the folder cannot be written.
  """
  check()
  discard(folder)
  folder.mkdir(parents=True, exist_ok=True)
  try:
    with _ORBAX, _checkpointer() as checkpointer:
      checkpointer.save(folder / _ARRAYS, arrays)
  except _ERRORS as error:
    raise _storage_error(folder, error) from error
  files.write_json(folder / _RECORD, record)
  files.write_json(folder / _TIMING, timing)
  commit = {"format": files.FORMAT, "owner": owner, "files": _digests(folder)}
  check()
  files.write_json(folder / _COMMIT, commit)


def load(
  folder: epath.Path, owner: str, like: PyTree
) -> tuple[PyTree, dict[str, Any]]:
  """Returns the arrays and the record of a checkpoint; checks all its files.

  Raises what `load_record` and `load_arrays` raise.
  """
  record = load_record(folder, owner)
  return load_arrays(folder, like), record


def load_arrays(folder: epath.Path, like: PyTree) -> PyTree:
  """Returns the NumPy arrays of a checkpoint; checks no other file.

  Args:
    folder: of the checkpoint.
    like: pytree of arrays or `jax.ShapeDtypeStruct`: the expected structure.

  Raises:
    DamagedError: the arrays differ from `like` in names or shapes.
    StorageError: they cannot be read, which tells nothing about their content.
  """
  target = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
  try:
    with _ORBAX, _checkpointer() as checkpointer:
      return checkpointer.restore(folder / _ARRAYS, target)
  except _ERRORS as error:
    if not isinstance(error, _CONTENT_ERRORS) or _failure(folder, error):
      raise _storage_error(folder, error) from error
    cause = errors.first_line(error).partition(" [tensorstore_spec=")[0]
    raise DamagedError(
      f"{folder / _ARRAYS} does not fit this run: {cause}."
    ) from error


def load_record(folder: epath.Path, owner: str) -> dict[str, Any]:
  """Returns the record of a checkpoint; checks all its files.

  Raises:
    DamagedError: a file is missing, altered or cut short.
    InputError: as `check_owner`.
    OSError: a file cannot be read, which tells nothing about its content.
  """
  commit, found = check_owner(folder, owner), _digests(folder)
  for name, expected in commit["files"].items():
    if found.get(name) != expected:
      state = "altered" if name in found else "missing"
      raise DamagedError(f"{folder / name} is {state}.")
  return files.read_json(folder / _RECORD)


def check_owner(folder: epath.Path, owner: str) -> dict[str, Any]:
  """Returns the commit of a checkpoint; checks its owner, but no other file.

  Raises:
    DamagedError: the commit is altered or cut short.
    InputError: the checkpoint has another owner or an unknown format.
  """
  path = folder / _COMMIT
  commit = files.read_json(path)
  stored = commit.get("files")
  if not isinstance(stored, dict) or not {"format", "owner"} <= set(commit):
    raise DamagedError(f"{path} is altered.")
  if not {_RECORD, _ARRAYS} <= {name.split("/")[0] for name in stored}:
    raise DamagedError(f"{path} lacks files.")
  if commit["format"] != files.FORMAT:
    raise errors.InputError(
      f"{path}: format {commit['format']!r} is not {files.FORMAT}, the one "
      "this version reads; use the version that wrote it."
    )
  if commit["owner"] != owner:
    raise errors.InputError(
      f"{folder} belongs to {commit['owner']!r}, not to {owner!r}: it was made "
      "with other flags or data, or copied here from elsewhere; ask for those, "
      "choose another --workdir, or remove it."
    )
  return commit


def exists(folder: epath.Path) -> bool:
  """Returns whether a folder holds a checkpoint that was committed."""
  return (folder / _COMMIT).exists()


def discard(
  folder: epath.Path, check: Callable[[], None] = lambda: None
) -> None:
  """Removes a checkpoint, its commit first: a kill leaves nothing that counts.

  Args:
    folder: need not exist; of a link, the link is removed.
    check: as for `save`.
  """
  if not buckets.is_remote(folder) and os.path.islink(folder):
    check()
    os.unlink(folder)
  elif folder.exists():
    check()
    (folder / _COMMIT).unlink(missing_ok=True)
    folder.rmtree()


def digest(tree: PyTree) -> str:
  """Returns the SHA-256 of names, dtypes, shapes and bytes of all leaves."""
  total = hashlib.sha256()
  for path, leaf in jax.tree.leaves_with_path(tree):
    leaf = np.asarray(leaf)
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    total.update(f"{name} {leaf.dtype.name} {leaf.shape}\n".encode())
    total.update(np.ascontiguousarray(leaf).tobytes())
  return total.hexdigest()


def _checkpointer():
  """Returns a checkpointer of this process alone, which waits for no others.

  Arrays here are whole in the process that writes. Orbax would save NumPy
  arrays from process 0 only, and wait for all processes.

  It saves synchronously: if the folder cannot be made, threads of an
  asynchronous save wait for it, and keep the process for 300 s (orbax 0.12.8).
  """
  import orbax.checkpoint as ocp  # takes a second: only runs need it

  here = jax.process_index()
  alone = ocp.options.MultiprocessingOptions(
    primary_host=here,
    active_processes={here},
    barrier_sync_key_prefix=f"process_{here}",
  )
  handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
  return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _storage_error(folder: epath.Path, error: Exception) -> errors.StorageError:
  if failure := _failure(folder, error):
    return errors.StorageError(f"{folder}: {failure.reason}", failure.passes)
  cause = getattr(error, "strerror", None) or errors.first_line(error)
  return errors.StorageError(f"{folder}: {cause}")


def _failure(folder: epath.Path, error: Exception) -> buckets.Failure | None:
  return buckets.explain(error) or buckets.outage(folder)


def _digests(folder: epath.Path) -> dict[str, str]:
  """Returns the SHA-256 of all files but commit and timing, by their paths."""
  digests = {}
  for path in buckets.files(folder):
    name = path.relative_to(folder).as_posix()
    if name not in (_COMMIT, _TIMING):
      digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
  return dict(sorted(digests.items()))
