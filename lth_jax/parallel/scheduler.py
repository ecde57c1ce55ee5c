"""Trials wait in line; a free device takes as many as it trains at once.

A device waits for a full wave as long as a trial could still come: until every
thread that hands in trials is itself waiting for the result of one. So devices
are not wasted on half a wave, and which trials share one is not left to chance.

Processes that work together must take the same trials in the same order. There
all devices take one wave, and wait for it until every thread waits; then what
is in line is the same everywhere, and is sorted.
"""

import collections
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# (who trains, 1 to `width` items) -> a result for each
Train = Callable[[Any, Sequence[Any]], Sequence[Any]]


class Line:
  """Items in the order in which they came, and who may still hand in more."""

  def __init__(
    self, width: int, num_series: int, rank: Callable[[Any], Any] | None
  ):
    """Makes an empty line; see `serve` for the arguments."""
    self._width, self._rank = width, rank
    self._active, self._closed = num_series, False
    self._items = collections.deque()
    self._waiting = collections.Counter()
    self._changed = threading.Condition()

  def submit(self, item: Any) -> Callable[[], Any]:
    """Hands in an item; returns a function that waits for its result."""
    future = concurrent.futures.Future()
    with self._changed:
      self._items.append((item, future))
      self._changed.notify_all()

    def result():
      with self._changed:
        if not future.done():
          self._waiting[future] += 1
          self._active -= 1
          self._changed.notify_all()
      return future.result()

    return result

  def leave(self) -> None:
    """Says that the calling thread hands in nothing more."""
    with self._changed:
      self._active -= 1
      self._changed.notify_all()

  def serve(self, worker: Any, train: Train) -> None:
    """Trains what comes until the line is closed and empty."""
    while wave := self._take():
      items, futures = zip(*wave)
      try:
        finished, error = (
          list(zip(futures, train(worker, items), strict=True)),
          None,
        )
      except BaseException as raised:  # it belongs to those who wait
        finished, error = [(future, None) for future in futures], raised
      with self._changed:
        for future, result in finished:
          # Whoever waits is active again before a device takes the next wave.
          self._active += self._waiting.pop(future, 0)
          if error is None:
            future.set_result(result)
          else:
            future.set_exception(error)

  def close(self) -> None:
    """Says that nothing more comes."""
    with self._changed:
      self._closed = True
      self._changed.notify_all()

  def _take(self):
    """Waits for a wave; an empty one means that there will be no other."""

    def ready():
      num = len(self._items)
      full = num >= self._width and self._rank is None
      return self._closed or full or (num and not self._active)

    with self._changed:
      self._changed.wait_for(ready)
      if self._rank is not None:
        rank = self._rank
        self._items = collections.deque(
          sorted(self._items, key=lambda pair: rank(pair[0]))
        )
      num = min(self._width, len(self._items))
      return [self._items.popleft() for _ in range(num)]


@contextlib.contextmanager
def serve(
  workers: Sequence[Any],
  train: Train,
  *,
  width: int,
  num_series: int,
  rank: Callable[[Any], Any] | None = None,
) -> Iterator[Line]:
  """Lets every device train what is handed in, a thread a device.

  Args:
    workers: the devices, or groups of them.
    train: called in a device's thread; what it raises is raised to those who
      wait for the wave.
    width: items that a device takes at once.
    num_series: threads that will hand in items; each ends with `Line.leave`.
    rank: if given, waves are of the items that are least by it of all that can
      be there; for a single worker.

  Yields:
    The line to hand items in to. On exit all that was handed in is done.

  >>> with serve([None], lambda _, items: items, width=2, num_series=1) as line:
  ...   results = [line.submit(index) for index in range(3)]
  ...   [result() for result in results]
  ...   line.leave()
  [0, 1, 2]
  """
  line = Line(width, num_series, rank)
  with concurrent.futures.ThreadPoolExecutor(len(workers), "device") as threads:
    devices = [threads.submit(line.serve, worker, train) for worker in workers]
    try:
      yield line
    finally:
      line.close()
  for device in devices:
    device.result()
