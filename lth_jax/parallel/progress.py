"""What a user sees during a run: a bar, lines, or nothing."""

import contextlib
import io
import math
import sys
import threading
import time
from collections.abc import Iterator

import tqdm

_LINE_SECONDS = 30.0


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


class Display:
  """Progress in training steps; may be called from several threads."""

  def __init__(self, kind: str, bar: tqdm.tqdm):
    """Shows a bar, or lines with what the bar knows; see `show`."""
    self._kind, self._bar, self._lock = kind, bar, threading.Lock()
    self._last_line = time.monotonic()

  def advance(self, steps: int, name: str) -> None:
    """Counts steps that a trial was trained."""
    with self._lock:
      self._bar.set_description_str(name, refresh=False)
      # tqdm cannot format a bar that is past its end.
      self._bar.total = max(self._bar.total or 0, self._bar.n + steps)
      self._bar.update(steps)
      waited = time.monotonic() - self._last_line
      if self._kind == "log" and waited > _LINE_SECONDS:
        self._line()

  def add(self, steps: int) -> None:
    """Changes the number of steps to train by `steps`, also negative."""
    with self._lock:
      self._bar.total = max((self._bar.total or 0) + steps, self._bar.n)
      self._bar.refresh()

  def skip(self, steps: int) -> None:
    """Counts steps that an earlier process trained, without their time."""
    with self._lock:
      self._bar.initial += steps
      self._bar.last_print_n += steps
      self._bar.n += steps
      self._bar.refresh()

  def finish(self, text: str) -> None:
    """Logs a line of its own for a trial that is done."""
    with self._lock:
      if self._kind == "log":
        self._bar.set_description_str(text, refresh=False)
        self._line()

  def log(self, message: str) -> None:
    """Shows a message as one line, whatever kind of display this is."""
    if self._kind == "bar":
      self._bar.write(_one_line(message), file=_STDERR)
    else:
      log(message)

  def _line(self) -> None:
    self._last_line = time.monotonic()
    log(str(self._bar))


@contextlib.contextmanager
def show(kind: str, num_steps: int) -> Iterator[Display]:
  """Displays progress on standard error.

  Args:
    kind: "bar", "log", "none", or "auto": a bar on a terminal, else lines.
    num_steps: training steps that are still to do, of all trials together.
  """
  if kind == "auto":
    kind = "bar" if sys.stderr.isatty() else "log"
  drawn = kind == "bar"
  with tqdm.tqdm(
    total=num_steps,
    bar_format="{percentage:3.0f}%"
    + ("|{bar:25}| " if drawn else "  ")
    + "{desc}, {remaining} left",
    file=_STDERR if drawn else io.StringIO(),
    mininterval=0.1 if drawn else math.inf,
    dynamic_ncols=drawn,
  ) as bar:
    yield Display(kind, bar)


def log(message: str) -> None:
  """Prints a message on standard error: one line, no control characters."""
  print(_one_line(message), file=_STDERR, flush=True)


def duration(seconds: float) -> str:
  """Formats seconds as h:mm:ss, or m:ss below an hour."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}:{minutes:02d}:{seconds:02d}"
  return f"{minutes}:{seconds:02d}"


def _one_line(message: str) -> str:
  return "".join(x if x.isprintable() else " " for x in message)
