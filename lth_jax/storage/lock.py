"""One writer a workdir: a file lock on a disk, a lease on an object store."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

from etils import epath

from lth_jax import errors
from lth_jax.storage import buckets, lease


@contextlib.contextmanager
def hold(
  workdir: epath.Path, log: Callable[[str], None], stop: threading.Event
) -> Iterator[Callable[[], None]]:
  """Holds a workdir for this process.

  A killed process frees a local workdir at once. On an object store its lease
  has to expire first.

  Args:
    workdir: exists, if it is local.
    log: is called with a message if this waits for a lease to expire.
    stop: ends that waiting; is set if the lease is lost.

  Yields:
    A function to call before each commit or removal. It raises
    `lease.LostError` if another process has taken over, and `StorageError` if
    a local workdir was removed.

  Raises:
    InputError: another process holds the workdir.
    StoppedError: `stop` was set while this waited.
  """
  if buckets.is_remote(workdir):
    with lease.hold(workdir, log, lease.SECONDS, stop) as check:
      yield check
    return
  import fcntl  # not on every platform

  path = workdir / ".lock"

  def check() -> None:
    # Without this, a workdir that was removed would come back in part.
    try:
      held = os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
      held = False
    if not held:
      raise errors.StorageError(f"{path} was removed while this run held it")

  with open(path, "a") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise errors.InputError(
        f"{workdir} is in use by another process; wait for it, stop it, or "
        "choose another --workdir."
      ) from None
    yield check
