"""What a person sees while a run goes on: a bar, lines, or nothing."""

import collections
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

_LINE_SECONDS = 30.0
# Segments that say how fast training is. The first one compiles, and only ends
# the wait for the second.
_SEGMENTS = 1000


class _Stderr:
  """Standard error, except that a failure to write there is ignored.

  It cannot be written (OSError), was closed (ValueError), or is being written
  when a signal comes (RuntimeError); training matters more.
  """

  _ignored = contextlib.suppress(OSError, ValueError, RuntimeError)

  def write(self, text: str) -> None:
    with self._ignored:
      sys.stderr.write(text)

  def flush(self) -> None:
    with self._ignored:
      sys.stderr.flush()

  def __getattr__(self, name):
    return getattr(sys.stderr, name)


_STDERR = _Stderr()


class Display(NamedTuple):
  """How to report; safe to call from several threads.

  Attributes:
    advance: (training steps done, what is being trained).
    add: (training steps); there are so many more to do, or fewer.
    skip: (training steps done before); they do not count for the speed.
    finish: (what has been trained); a line of its own in a log.
    say: (message); for what the user must see.
  """

  advance: Callable[[int, str], None]
  add: Callable[[int], None]
  skip: Callable[[int], None]
  finish: Callable[[str], None]
  log: Callable[[str], None]


@contextlib.contextmanager
def show(kind: str, num_steps: int) -> Iterator[Display]:
  """Displays progress on standard error.

  Args:
    kind: "bar", "log", "none", or "auto": a bar on a terminal, else lines.
    num_steps: training steps of all trials together that are still to do.

  Yields:
    The functions to report with.

  >>> with contextlib.redirect_stderr(sys.stdout), show("log", 100) as display:
  ...   display.skip(25)  # by an earlier process
  ...   display.finish("round 1 ticket")
  ...   display.advance(0, "round 2 ticket")
  ...   display.advance(75, "round 2 ticket")
  ...   display.finish("round 2 ticket")
   25%  round 1 ticket, ? left
  100%  round 2 ticket, 0:00 left
  """
  if kind == "auto":
    kind = "bar" if sys.stderr.isatty() else "log"
  lock = threading.Lock()
  last_line = time.monotonic()
  done = trained = 0
  ends = collections.deque[tuple[float, int]](maxlen=_SEGMENTS)

  def left() -> str:
    if not ends or trained == ends[0][1]:
      return "?"
    (begin, before), now = ends[0], time.monotonic()
    return duration((now - begin) * (num_steps - done) / (trained - before))

  def line(text: str) -> None:
    nonlocal last_line
    last_line = time.monotonic()
    percent = 100 * done / max(num_steps, 1)
    log(f"{percent:3.0f}%  {text}, {left()} left")

  with contextlib.ExitStack() as stack:
    if kind == "bar":
      import tqdm

      bar = stack.enter_context(
        tqdm.tqdm(
          total=num_steps,
          bar_format="{percentage:3.0f}%|{bar:25}| {desc}",
          file=_STDERR,
          dynamic_ncols=True,
        )
      )

    def advance(steps: int, what: str) -> None:
      nonlocal done, trained
      with lock:
        done += steps
        trained += steps
        ends.append((time.monotonic(), trained))
        if kind == "bar":
          bar.set_description_str(f"{what}, {left()} left", refresh=False)
          bar.update(steps)
        elif kind == "log" and time.monotonic() - last_line > _LINE_SECONDS:
          line(what)

    def add(steps: int) -> None:
      nonlocal num_steps
      with lock:
        num_steps += steps
        if kind == "bar":
          bar.total = num_steps

    def skip(steps: int) -> None:
      nonlocal done
      with lock:
        done += steps
        if kind == "bar":
          bar.update(steps)

    def finish(what: str) -> None:
      with lock:
        if kind == "log":
          line(what)

    def write(message: str) -> None:
      if kind == "bar":
        bar.write(_one_line(message), file=_STDERR)
      else:
        log(message)

    yield Display(advance, add, skip, finish, write)


def log(message: str) -> None:
  """Prints a line on standard error, whatever the names in it are.

  Args:
    message: printed as one line, without what a terminal would obey.

  >>> with contextlib.redirect_stderr(sys.stdout):
  ...   log("note: 2 trials diverged")
  note: 2 trials diverged
  """
  print(_one_line(message), file=_STDERR, flush=True)


def duration(seconds: float) -> str:
  """Formats seconds as h:mm:ss, or m:ss below an hour.

  >>> duration(75.4), duration(3675)
  ('1:15', '1:01:15')
  """
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}:{minutes:02d}:{seconds:02d}"
  return f"{minutes}:{seconds:02d}"


def _one_line(message: str) -> str:
  return "".join(x if x.isprintable() else " " for x in message)
