"""A lease on a workdir of an object store, in place of a lock.

    <workdir>/.lease/00000007.json    the seventh term: whose, until when

Each term is an object of its own. It is taken by creating the next number, in
one step and only if it is absent, so of several that try one gets it. The
holder renews its term by writing it again, and has lost it once a higher number
is there; the highest is never removed.

What is guaranteed:

* Of writers that begin at the same time one gets the lease, the others are
  refused.
* While a holder lives and reaches the store, nobody else gets it.
* A holder that is killed keeps it until it expires, or for a term from when
  another begins to wait, whichever is sooner.
* A holder that was stalled or cut off past its expiry finds out whether another
  has taken over, before it commits anything.

What is not: a store does not know of the lease and takes every write (there is
no fencing). A holder that stops for longer than a term after it has looked, and
before the commit that it looked for is written, writes that one commit beside
its successor. Clocks of the machines must agree to within half a term.
"""

import contextlib
import json
import math
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

from etils import epath

from lth_jax import errors
from lth_jax.storage import buckets, files

# How long a term lasts without renewal; a holder renews thrice in that time.
SECONDS = 60.0
_FOLDER = ".lease"


class LostError(errors.InputError):
  """Another process has taken the lease over."""


class Term(NamedTuple):
  """One term, as it is written.

  Attributes:
    owner: random, of one holder.
    host: where it runs.
    pid: its process.
    expires: seconds since 1970; 0 once it is given back.
  """

  owner: str
  host: str
  pid: int
  expires: float


@contextlib.contextmanager
def hold(
  workdir: epath.Path,
  log: Callable[[str], None],
  seconds: float,
  stop: threading.Event,
) -> Iterator[Callable[[], None]]:
  """Holds the lease and renews it; gives it back at the end.

  If another has it, waits until that one renews or expires.

  Args:
    workdir: on a store; a local file does not appear whole, so examples only.
    log: told whom it waits for, and how long.
    seconds: how long a term lasts without renewal.
    stop: ends the waiting; and is set once the lease is seen to be lost, since
      nothing that is done from then on can be stored.

  Yields:
    A function to call before each commit. It raises `LostError` if the lease
    is another's by now.

  Raises:
    InputError: another process has it, and lives.
    StoppedError: `stop` was set while it waited.
    LostError: in the place of a `StoppedError` that the loss has led to.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   workdir = epath.Path(name)
  ...   with hold(workdir, print, 60, threading.Event()) as check:
  ...     check()
  ...     _ = buckets.create(workdir / ".lease" / "00000002.json", "another's")
  ...     check()
  Traceback (most recent call last):
    ...
  lth_jax.storage.lock.LostError: ...: another process has taken the ...
  """
  host, owner = socket.gethostname(), uuid.uuid4().hex

  def term() -> Term:
    return Term(owner, host, os.getpid(), time.time() + seconds)

  number = _take(workdir, term, log, seconds, stop)
  path, ended = _path(workdir, number), threading.Event()
  renewed, lost = time.monotonic(), None

  def renew() -> None:
    nonlocal renewed
    begin = time.monotonic()
    path.write_text(_to_text(term()))
    renewed = begin

  def check() -> None:
    if time.monotonic() - renewed > seconds / 2:  # stalled, or cut off
      renew()  # first: who looks now finds it taken
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
    if lost is not None:  # which is why it stopped
      raise lost from None
    raise
  finally:
    ended.set()
    thread.join()
    _give_back(workdir, number, term())


def _take(
  workdir: epath.Path,
  term: Callable[[], Term],
  log: Callable[[str], None],
  seconds: float,
  stop: threading.Event,
) -> int:
  """Creates the next term once the last one has ended; returns its number."""
  seen, deadline = None, math.inf
  (workdir / _FOLDER).mkdir(parents=True, exist_ok=True)
  while True:
    number = max(_numbers(workdir), default=0)
    last = _read(workdir, number) if number else None
    if last and last.owner == term().owner:  # the answer to `create` was lost
      return number
    left = last.expires - time.time() if last else 0.0
    if last is not None and left > 0 and seen not in (None, last):
      raise errors.InputError(
        f"{workdir} is in use by {_name(last)}, which just renewed its lease; "
        "wait for it, stop it, or choose another --workdir."
      )
    # Whoever does not renew for a whole term has ended, whatever clocks say.
    if last is None or left <= 0 or time.monotonic() >= deadline:
      if not buckets.create(_path(workdir, number + 1), _to_text(term())):
        continue
      # Meanwhile others may have had that number, and be terms ahead.
      if max(_numbers(workdir)) == number + 1:
        _forget(workdir, number + 1)
        return number + 1
    elif seen is None:
      seen, deadline = last, time.monotonic() + seconds
      log(
        f"{workdir} is leased to {_name(last)}; waiting up to "
        f"{min(left, seconds):.0f} s to see whether it lives."
      )
    elif stop.wait(min(left, 1.0)):
      raise errors.StoppedError


def _check_last(workdir: epath.Path, number: int) -> None:
  last = max(_numbers(workdir), default=0)
  if last != number:
    raise LostError(
      f"{workdir}: another process has taken the lease of this one, which was "
      "stalled or cut off for too long. What was committed before is kept; "
      "stop one of the two."
    )


def _give_back(workdir: epath.Path, number: int, term: Term) -> None:
  """Ends the own term at once; a failure leaves it to expire."""
  with contextlib.suppress(Exception):
    _check_last(workdir, number)
    _path(workdir, number).write_text(_to_text(term._replace(expires=0)))


def _forget(workdir: epath.Path, number: int) -> None:
  """Removes the terms before one."""
  for old in _numbers(workdir):
    if old < number:
      _path(workdir, old).unlink(missing_ok=True)


def _numbers(workdir: epath.Path) -> list[int]:
  found = [path.name for path in buckets.children(workdir / _FOLDER)]
  return [int(x[:-5]) for x in found if re.fullmatch(r"\d+\.json", x)]


def _read(workdir: epath.Path, number: int) -> Term | None:
  """A term; None if it was removed meanwhile, or is none."""
  try:
    term = Term(**files.parse(_path(workdir, number).read_text()))
  except (FileNotFoundError, ValueError, TypeError, RecursionError):
    return None
  kinds = (str, str, int, float | int)
  fits = all(isinstance(x, kind) for x, kind in zip(term, kinds))
  return term if fits and math.isfinite(term.expires) else None


def _path(workdir: epath.Path, number: int) -> epath.Path:
  return workdir / _FOLDER / f"{number:08d}.json"


def _to_text(term: Term) -> str:
  return json.dumps(term._asdict())


def _name(term: Term) -> str:
  return f"process {term.pid} on {term.host} (lease {term.owner[:8]})"
