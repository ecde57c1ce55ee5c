"""A queue of trials, from which free workers take groups.

A worker waits for a full group as long as another trial could still come: until
every thread that submits trials waits for the result of one. So no device
trains half a group without need. Which trials share a group depends on the
timing of threads; no bit of a result depends on it.

Processes that work together must train the same groups in the same order. There
all devices are one worker, which takes trials only when every thread waits; the
queue is then the same in each process, and is sorted.
"""

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# (worker, 1 to `group_size` items) -> a result of each
TrainGroup = Callable[[Any, Sequence[Any]], Sequence[Any]]


class Scheduler:
  """Decides which trials train together, when, and on which worker."""

  def __init__(self, group_size: int, num_threads: int, by_rank: bool):
    """Makes an empty queue; see `serve` for the arguments."""
    self._group_size, self._by_rank = group_size, by_rank
    # Threads that may submit more: those that neither wait nor have left.
    self._active, self._closed = num_threads, False
    self._queue: list[tuple[Any, Any, concurrent.futures.Future]] = []
    self._waiting: set[concurrent.futures.Future] = set()
    self._changed = threading.Condition()

  def submit(self, item: Any, rank: Any = ()) -> Callable[[], Any]:
    """Queues an item, by its rank where items are taken in order, least first.

    Returns:
      A function that waits for the result; for the thread that submitted it.
    """
    future = concurrent.futures.Future()
    with self._changed:
      self._queue.append((rank, item, future))
      self._changed.notify_all()

    def result():
      with self._changed:
        if not future.done():
          self._waiting.add(future)
          self._active -= 1
          self._changed.notify_all()
      return future.result()

    return result

  def leave(self) -> None:
    """Tells that the calling thread submits nothing more."""
    with self._changed:
      self._active -= 1
      self._changed.notify_all()

  def close(self) -> None:
    """Tells that no thread submits anything more."""
    with self._changed:
      self._closed = True
      self._changed.notify_all()

  def work(self, worker: Any, train_group: TrainGroup) -> None:
    """Trains groups until the queue is closed and empty."""
    while group := self._take():
      _, items, futures = zip(*group)
      results, error = (), None
      try:
        results = train_group(worker, items)
      except BaseException as raised:  # raised again in the threads that wait
        error = raised
      with self._changed:
        # A thread is active again before another worker takes a group.
        self._active += len(self._waiting.intersection(futures))
        self._waiting.difference_update(futures)
        for index, future in enumerate(futures):
          if error is None:
            future.set_result(results[index])
          else:
            future.set_exception(error)

  def _take(self):
    """Waits for a group; an empty one means that there will be no other."""

    def is_ready():
      full = len(self._queue) >= self._group_size and not self._by_rank
      return self._closed or full or (self._queue and not self._active)

    with self._changed:
      self._changed.wait_for(is_ready)
      if self._by_rank:
        self._queue.sort(key=lambda entry: entry[0])
      group = self._queue[: self._group_size]
      del self._queue[: self._group_size]
      return group


@contextlib.contextmanager
def serve(
  workers: Sequence[Any],
  train_group: TrainGroup,
  *,
  group_size: int,
  num_threads: int,
  by_rank: bool = False,
) -> Iterator[Scheduler]:
  """Runs a thread for each worker, which trains what is submitted.

  Args:
    workers: devices, or groups of them.
    train_group: is called in a worker's thread; what it raises is raised to
      those who wait for one of the group.
    group_size: items that a worker takes at once.
    num_threads: threads that submit items; each ends with `Scheduler.leave`.
    by_rank: take items by rank instead of as they came, and only once all that
      can be submitted is; for a single worker.

  Yields:
    The scheduler to submit items to. At exit all of them are done.
  """
  scheduler = Scheduler(group_size, num_threads, by_rank)
  with concurrent.futures.ThreadPoolExecutor(len(workers), "worker") as threads:
    done = [threads.submit(scheduler.work, x, train_group) for x in workers]
    try:
      yield scheduler
    finally:
      scheduler.close()
  for each in done:
    each.result()
