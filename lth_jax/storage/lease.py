"""A lease on a workdir of an object store, which has no locks.

    <workdir>/.lease/00000007.json    the seventh holder, and its last renewal

The process with the highest number holds the workdir. A number is taken by
creating its object, which fails if it exists, so of several processes that try
one gets it. (Replacing one object in one step would need a precondition on its
generation, which gcsfs does not offer.) The holder renews its lease by writing
its object again. Another process takes the next number once the object has not
changed for a whole term, by its own clock; so clocks need not agree, and an
object that is read in the middle of a renewal counts as a change.

Guarantees:

* Of processes that start at the same time, one gets the lease.
* While a holder lives and reaches the store, nobody else gets the lease.
* A holder that is killed keeps it for one term after another process starts to
  wait. A holder that ends gives it back.
* A holder that was stalled or cut off for longer finds out whether another has
  taken over before it commits or removes anything.

The store itself does not know of the lease (there is no fencing): a holder that
stops for longer than a term between that check and its commit writes one commit
next to its successor.
"""

import contextlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from etils import epath

from lth_jax import errors
from lth_jax.storage import buckets, files

# A term: how long a lease lasts without renewal. There are three renewals a
# term, so two of them may fail.
SECONDS = 60.0
_FOLDER = ".lease"
_GIVEN_BACK = "given back\n"


class LostError(errors.InputError):
  """Another process has taken the lease over."""


@contextlib.contextmanager
def hold(
  workdir: epath.Path,
  log: Callable[[str], None],
  seconds: float,
  stop: threading.Event,
) -> Iterator[Callable[[], None]]:
  """Holds the lease and renews it; gives it back at the end.

  Args:
    workdir: on an object store.
    log: is called with a message if another process has the lease.
    seconds: length of a term.
    stop: ends the waiting; is set once the lease is lost, since nothing can be
      stored from then on.

  Yields:
    A function to call before each commit or removal. It raises `LostError` if
    another process has the lease by now.

  Raises:
    InputError: another process has the lease and renews it.
    StoppedError: `stop` was set while this waited.
    LostError: instead of a `StoppedError` that the loss has caused.
  """
  number = _take(workdir, log, seconds, stop)
  ended, renewed, lost = threading.Event(), time.monotonic(), None

  def renew() -> None:
    nonlocal renewed
    begin = time.monotonic()
    _path(workdir, number).write_text(_describe())
    renewed = begin

  def check() -> None:
    if time.monotonic() - renewed > seconds / 2:  # stalled, or cut off
      renew()  # first: a process that waits now sees the change
    _check_last(workdir, number)

  def keep() -> None:
    nonlocal lost
    while not ended.wait(seconds / 3):
      try:
        _check_last(workdir, number)
        renew()
      except LostError as error:
        lost = error
        stop.set()
        return
      except Exception:  # the store is out of reach; try again
        continue

  thread = threading.Thread(target=keep, name="lease", daemon=True)
  thread.start()
  try:
    yield check
  except errors.StoppedError:
    if lost is not None:
      raise lost from None
    raise
  finally:
    ended.set()
    thread.join()
    _give_back(workdir, number)


def _take(
  workdir: epath.Path,
  log: Callable[[str], None],
  seconds: float,
  stop: threading.Event,
) -> int:
  """Creates the next number once the last lease has ended; returns it."""
  own, seen, deadline = _describe(), None, 0.0
  (workdir / _FOLDER).mkdir(parents=True, exist_ok=True)
  while True:
    number = max(_numbers(workdir), default=0)
    last = _read(workdir, number)
    if last == own:  # `create` succeeded, but its answer was lost
      return number
    if last in (None, _GIVEN_BACK) or (
      last == seen and time.monotonic() >= deadline
    ):
      number += 1
      created = buckets.create(_path(workdir, number), own)
      # A process that was slow may create a number that others have had and
      # removed; they are ahead of it by now.
      if created and max(_numbers(workdir)) == number:
        _remove_before(workdir, number)
        return number
    elif seen is None:
      seen, deadline = last, time.monotonic() + seconds
      log(
        f"{workdir} is leased to {_holder(last)}; waiting {seconds:.0f} s to "
        "see whether it renews its lease."
      )
    elif last != seen:
      raise errors.InputError(
        f"{workdir} is in use by {_holder(last)}, which just renewed its "
        "lease; wait for it, stop it, or choose another --workdir."
      )
    elif stop.wait(min(seconds / 10, 1.0)):
      raise errors.StoppedError


def _check_last(workdir: epath.Path, number: int) -> None:
  if max(_numbers(workdir), default=0) != number:
    raise LostError(
      f"{workdir}: another process has taken the lease of this one, which was "
      "stalled or cut off for too long. Earlier results are kept; stop one of "
      "the two."
    )


def _give_back(workdir: epath.Path, number: int) -> None:
  with contextlib.suppress(Exception):  # else it ends after one term
    _check_last(workdir, number)
    _path(workdir, number).write_text(_GIVEN_BACK)


def _remove_before(workdir: epath.Path, number: int) -> None:
  for old in _numbers(workdir):
    if old < number:
      _path(workdir, old).unlink(missing_ok=True)


def _numbers(workdir: epath.Path) -> list[int]:
  names = [path.name for path in buckets.children(workdir / _FOLDER)]
  return [int(x[:-5]) for x in names if re.fullmatch(r"\d+\.json", x)]


def _read(workdir: epath.Path, number: int) -> str | None:
  """Returns the content of a lease; None if there is none."""
  try:
    return _path(workdir, number).read_bytes().decode(errors="replace")
  except FileNotFoundError:
    return None


def _path(workdir: epath.Path, number: int) -> epath.Path:
  return workdir / _FOLDER / f"{number:08d}.json"


def _describe() -> str:
  """Returns the content of a lease; no two are equal."""
  return json.dumps(
    {
      "host": socket.gethostname(),
      "pid": os.getpid(),
      "renewal": uuid.uuid4().hex,
    }
  )


def _holder(lease: str) -> str:
  try:
    content = files.parse(lease)
    return f"process {content['pid']} on {content['host']}"
  except (ValueError, LookupError, TypeError, RecursionError):
    return "a process whose lease cannot be read"
