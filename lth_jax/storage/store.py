"""A run on disk: what is complete counts, what is not never existed.

    <workdir>/config.json  run.flags  env.json
              replicate_0/rewind/                theta_0
              replicate_0/round_003/ticket/      one trial
              replicate_0/round_003/reinit_1/
              report/

A *store* is a folder of arrays (Orbax), `record.json`, `timing.json`, and
`commit.json`. The commit is written last and holds the SHA-256 of every other
file but the timing; a folder without it, or with a file that differs, does
not count. Nothing that counts depends on renaming more than a file, so that the
same protocol holds on an object store, where a single object appears whole.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from etils import epath

from lth_jax import errors
from lth_jax.storage import buckets, files
from lth_jax.storage import lock as lock_lib

PyTree = Any
FORMAT = 3
_COMMIT = "commit.json"
_RECORD = "record.json"
_TIMING = "timing.json"
_ARRAYS = "arrays"
# What Orbax raises of files that it has not written so.
_MALFORMED = LookupError, TypeError, ValueError, AttributeError, OverflowError
# What it raises of a disk or a store, from any of its parts and of TensorStore.
_FAILURES = OSError, RuntimeError, *_MALFORMED
# Two saves at once in one process lose files of each other (orbax 0.12.8).
_ORBAX = threading.Lock()


class DamagedError(errors.InputError):
  """A store is complete by its commit, but a file of it is not as written."""


def save(
  folder: epath.Path,
  owner: str,
  arrays: PyTree,
  record: dict[str, Any],
  timing: dict[str, Any],
  check: Callable[[], None] = lambda: None,
) -> None:
  """Writes a store; it counts once this function returns, not before.

  Args:
    folder: replaced if it holds anything.
    owner: what the store belongs to; checked when it is read.
    arrays: pytree of NumPy arrays.
    record: JSON without NaN.
    timing: JSON; times and host facts, kept outside all digests.
    check: called before anything is removed and before the commit; raises if
      this process may not write here any more.

  Raises:
    StorageError, OSError: the folder cannot be written.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   folder = epath.Path(name) / "ticket"
  ...   save(folder, "me", {"w": np.ones(2)}, {"num_steps": 10}, {"seconds": 2})
  ...   sorted(path.name for path in folder.iterdir())
  ['arrays', 'commit.json', 'record.json', 'timing.json']
  """
  check()
  discard(folder)
  folder.mkdir(parents=True, exist_ok=True)
  try:
    with _ORBAX, _checkpointer() as checkpointer:
      checkpointer.save(folder / _ARRAYS, arrays)
      checkpointer.wait_until_finished()
  except _FAILURES as error:
    raise _failed(folder, error) from error
  write_json(folder / _RECORD, record)
  write_json(folder / _TIMING, timing)
  commit = {"format": FORMAT, "owner": owner, "files": _digests(folder)}
  check()
  write_json(folder / _COMMIT, commit)


def exists(folder: epath.Path) -> bool:
  """Says whether the folder holds a store that was committed.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   folder = epath.Path(name)
  ...   write_json(folder / "record.json", {})  # killed before the commit
  ...   exists(folder)
  False
  """
  return (folder / _COMMIT).exists()


def check_owner(folder: epath.Path, owner: str) -> dict[str, Any]:
  """Returns a store's commit after checking whose it is, but no other file.

  Args:
    folder: the store.
    owner: as given to `save`.

  Raises:
    DamagedError: the commit is altered or cut short.
    InputError: the store is another run's or of an unknown format.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   folder = epath.Path(name)
  ...   save(folder, "me", {"w": np.ones(2)}, {}, {})
  ...   check_owner(folder, "you")
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: ... belongs to 'me', not to 'you': ...
  """
  commit = read_json(folder / _COMMIT)
  stored = commit.get("files")
  if not isinstance(stored, dict) or {"format", "owner"} - set(commit):
    raise DamagedError(f"{folder / _COMMIT} is altered.")
  if {_RECORD, _ARRAYS} - {name.split("/")[0] for name in stored}:
    raise DamagedError(f"{folder / _COMMIT} lacks files.")
  if commit.get("format") != FORMAT:
    raise errors.InputError(
      f"{folder / _COMMIT}: format {commit.get('format')!r} is not "
      f"{FORMAT}, the one this version reads; use the version that wrote it."
    )
  if commit.get("owner") != owner:
    raise errors.InputError(
      f"{folder} belongs to {commit.get('owner')!r}, not to {owner!r}: it was "
      "made with other flags or data, or copied here from elsewhere; ask for "
      "those, choose another --workdir, or remove it."
    )
  return commit


def load_record(folder: epath.Path, owner: str) -> dict[str, Any]:
  """Returns a store's record after checking all its files.

  Raises:
    DamagedError: a file is missing, altered or cut short.
    InputError: as `check_owner`.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   folder = epath.Path(name)
  ...   save(folder, "me", {"w": np.ones(2)}, {"num_steps": 10}, {})
  ...   write_json(folder / "record.json", {"num_steps": 11})
  ...   load_record(folder, "me")
  Traceback (most recent call last):
    ...
  lth_jax.storage.store.DamagedError: .../record.json is altered.
  """
  commit, found = check_owner(folder, owner), _digests(folder)
  for name, digest in commit["files"].items():
    if found.get(name) != digest:
      state = "altered" if name in found else "missing"
      raise DamagedError(f"{folder / name} is {state}.")
  return read_json(folder / _RECORD)


def load(
  folder: epath.Path, owner: str, like: PyTree
) -> tuple[PyTree, dict[str, Any]]:
  """Returns a store's arrays and record after checking all its files.

  Args:
    folder: the store.
    owner: as given to `save`.
    like: pytree of arrays or `jax.ShapeDtypeStruct`, what to expect.

  Returns:
    NumPy arrays in the structure of `like`, and the record.

  Raises:
    DamagedError, InputError: as `load_record`; also if the arrays do not fit.
    StorageError: they cannot be read, which says nothing of what they hold.

  >>> import tempfile
  >>> like = {"w": jax.ShapeDtypeStruct((2,), np.float32)}
  >>> with tempfile.TemporaryDirectory() as name:
  ...   folder, arrays = epath.Path(name), {"w": np.ones(2, np.float32)}
  ...   save(folder, "me", arrays, {"num_steps": 10}, {})
  ...   load(folder, "me", like)
  ({'w': array([1., 1.], dtype=float32)}, {'num_steps': 10})
  """
  record = load_record(folder, owner)
  return load_arrays(folder, like), record


def load_arrays(folder: epath.Path, like: PyTree) -> PyTree:
  """Returns a store's arrays; does not check its files.

  Args:
    folder: the store.
    like: as for `load`.

  Raises:
    DamagedError: they do not fit.
    StorageError: they cannot be read, which says nothing of what they hold.
  """
  target = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
  try:
    with _ORBAX, _checkpointer() as checkpointer:
      return checkpointer.restore(folder / _ARRAYS, target)
  except _FAILURES as error:
    if not isinstance(error, _MALFORMED) or buckets.explain(error):
      raise _failed(folder, error) from error
    cause = errors.first_line(error).partition(" [tensorstore_spec=")[0]
    raise DamagedError(
      f"{folder / _ARRAYS} does not fit this run: {cause}."
    ) from error


def discard(
  folder: epath.Path, check: Callable[[], None] = lambda: None
) -> None:
  """Removes a store, its commit first, so that a kill leaves no half of one.

  Args:
    folder: need not exist.
    check: called if there is something to remove; raises if this process may
      not.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   folder = epath.Path(name) / "ticket"
  ...   save(folder, "me", {"w": np.ones(2)}, {}, {})
  ...   discard(folder)
  ...   folder.exists()
  False
  """
  if not buckets.is_remote(folder) and os.path.islink(folder):
    os.unlink(folder)
    return
  if folder.exists():
    check()
    (folder / _COMMIT).unlink(missing_ok=True)
    folder.rmtree()


def digest(tree: PyTree) -> str:
  """Returns the SHA-256 over names, dtypes, shapes and bytes of all leaves.

  Args:
    tree: pytree of arrays of any shapes and dtypes.

  >>> a, b = np.zeros(2, np.float32), np.zeros((1, 2), np.float32)
  >>> digest(a) == digest(a.copy()), digest(a) == digest(b)  # shapes count
  (True, False)
  """
  total = hashlib.sha256()
  for path, leaf in jax.tree.leaves_with_path(tree):
    leaf = np.asarray(leaf)
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    total.update(f"{name} {leaf.dtype.name} {leaf.shape}\n".encode())
    total.update(np.ascontiguousarray(leaf).tobytes())
  return total.hexdigest()


def write_json(path: epath.Path, value: Any) -> None:
  """Writes JSON so that the file is either there whole or not at all.

  >>> write_json(epath.Path("not_written.json"), {"loss": float("nan")})
  Traceback (most recent call last):
    ...
  ValueError: Out of range float values are not JSON compliant...
  """
  text = json.dumps(value, indent=1, allow_nan=False) + "\n"
  write_text(path, text)


def write_text(path: epath.Path, text: str) -> None:
  """Writes text so that the file is either there whole or not at all.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   path = epath.Path(name) / "run.flags"
  ...   write_text(path, "--rounds=3")
  ...   path.read_text(), [each.name for each in path.parent.iterdir()]
  ('--rounds=3', ['run.flags'])
  """
  if buckets.is_remote(path):  # an object appears whole
    path.write_text(text)
    return
  temporary = path.with_name(path.name + ".tmp")
  with contextlib.suppress(FileNotFoundError):
    os.unlink(temporary)  # opening a FIFO would wait for a reader
  with open(temporary, "w", encoding="utf-8") as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)


def read_json(path: epath.Path) -> dict[str, Any]:
  """Reads an object written by `write_json`.

  Raises:
    DamagedError: it is cut short or altered.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   path = epath.Path(name) / "record.json"
  ...   write_json(path, {"num_steps": 10})
  ...   read_json(path)
  {'num_steps': 10}
  """
  try:
    value = files.parse(files.read(path).decode())
  except (ValueError, RecursionError, FileNotFoundError) as error:
    raise DamagedError(f"{path} is damaged: {error}.") from error
  if not isinstance(value, dict):
    raise DamagedError(f"{path} is damaged: it holds no JSON object.")
  return value


@contextlib.contextmanager
def lock(
  workdir: epath.Path, log: Callable[[str], None], stop: threading.Event
) -> Iterator[Callable[[], None]]:
  """Holds a workdir for this process.

  A kill releases a local one at once; of an object store a lease is held, which
  then has to expire (`leases` says what it guarantees).

  Args:
    workdir: exists, if it is local.
    log: told if this waits for a lease to expire.
    stop: ends that waiting; set if the lease is lost.

  Yields:
    A function to call before each commit or removal, which raises
    `lock.LostError` if another process has taken over, or `StorageError` if
    a local folder is gone.

  Raises:
    InputError: another process holds it.
    StoppedError: `stop` was set while this waited.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   folder, stop = epath.Path(name), threading.Event()
  ...   with lock(folder, print, stop):
  ...     with lock(folder, print, stop):  # as another process would
  ...       pass
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: ... is in use by another process; ...
  """
  if buckets.is_remote(workdir):
    with lock_lib.hold(workdir, log, lock_lib.SECONDS, stop) as check:
      yield check
    return
  import fcntl  # not on every platform

  path = workdir / ".lock"

  def check() -> None:
    """Keeps a folder that was removed from being made again, half."""
    try:
      held = os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
      held = False
    if not held:
      raise errors.StorageError(f"{path} was removed while this run held it")

  with files.open_lock(path) as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise errors.InputError(
        f"{workdir} is in use by another process; wait for it, stop it, or "
        "choose another --workdir."
      ) from None
    yield check


def _checkpointer():
  """Orbax for this process alone, which waits for no others."""
  import orbax.checkpoint as ocp  # takes a second: only runs need it

  here = jax.process_index()
  return ocp.StandardCheckpointer(
    multiprocessing_options=ocp.options.MultiprocessingOptions(
      primary_host=here,
      active_processes={here},
      barrier_sync_key_prefix=f"process_{here}",
    )
  )


def _failed(folder: epath.Path, error: Exception) -> errors.StorageError:
  """Says where Orbax failed, and why."""
  if failure := buckets.explain(error):
    return errors.StorageError(f"{folder}: {failure.reason}", failure.passes)
  cause = getattr(error, "strerror", None) or errors.first_line(error)
  return errors.StorageError(f"{folder}: {cause}")


def _digests(folder: epath.Path) -> dict[str, str]:
  """SHA-256 of every file below a store but commit and timing, by its path."""
  digests = {}
  pending = [(folder, "")]
  while pending:
    parent, prefix = pending.pop()
    for path in buckets.children(parent):
      name = prefix + path.name
      if path.is_dir():
        pending.append((path, name + "/"))
      elif name not in (_COMMIT, _TIMING):
        try:
          files.check(path)
        except ValueError as error:
          raise DamagedError(f"{path} is damaged: {error}.") from error
        digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
  return dict(sorted(digests.items()))
