"""The scheduler: which trials form a group, where, and in which order."""

import threading
import time

import pytest

from lth_jax.parallel import scheduler


def train_series(
  series, *, width, workers=("only",), train=None, by_rank=False
):
  """Runs each series, a function of a queue, in a thread; returns groups."""
  found = []

  def note(worker, items):
    found.append((worker, items))
    return train(worker, items) if train else items

  def call(function, queue):
    try:
      function(queue)
    finally:
      queue.leave()

  with scheduler.serve(
    workers,
    note,
    group_size=width,
    num_threads=len(series),
    by_rank=by_rank,
  ) as queue:
    threads = [threading.Thread(target=call, args=(s, queue)) for s in series]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
  return found


def test_items_are_taken_in_the_order_of_submission():
  def series(queue):
    for result in [queue.submit(index) for index in range(9)]:
      result()

  found = train_series([series], width=2)
  assert [len(items) for _, items in found] == [2, 2, 2, 2, 1]
  assert [index for _, items in found for index in items] == [*range(9)]


def test_a_worker_waits_for_items_that_may_still_come():
  def quick(queue):
    for index in range(3):
      queue.submit(("quick", index))()

  def slow(queue):
    for index in range(3):
      time.sleep(0.05)
      queue.submit(("slow", index))()

  found = train_series([quick, slow], width=4)
  assert [sorted(items) for _, items in found] == [
    [("quick", index), ("slow", index)] for index in range(3)
  ]


def test_a_full_group_does_not_wait():
  full = threading.Event()

  def early(queue):
    first, second = queue.submit(0), queue.submit(1)
    first(), second()
    full.set()

  def late(queue):
    assert full.wait(300)
    queue.submit(2)()

  found = train_series([early, late], width=2)
  assert [items for _, items in found] == [(0, 1), (2,)]


def test_a_thread_that_has_left_is_not_waited_for():
  def long(queue):
    for index in range(4):
      queue.submit(index)()

  def short(queue):
    queue.submit("last")()

  found = train_series([long, short], width=2)
  assert [len(items) for _, items in found] == [2, 1, 1, 1]


def test_all_workers_train_at_the_same_time():
  together = threading.Barrier(3, timeout=300)

  def train(worker, items):
    together.wait()  # passed only by three at once
    return items

  def series(queue):
    results = [queue.submit(index) for index in range(12)]
    assert [result() for result in results] == [*range(12)]

  found = train_series([series], width=2, workers=(0, 1, 2), train=train)
  for three in (found[:3], found[3:]):
    assert {worker for worker, _ in three} == {0, 1, 2}


def test_a_failure_is_raised_to_its_group_alone():
  def train(worker, items):
    if "bad" in items:
      raise RuntimeError("lost")
    return items

  seen = []

  def series(queue):
    bad, beside, after = map(queue.submit, ("bad", "beside", "after"))
    for result in (bad, beside):
      with pytest.raises(RuntimeError, match="lost"):
        result()
    seen.append(after())
    seen.append(queue.submit("later")())

  train_series([series], width=2, train=train)
  assert seen == ["after", "later"]


def test_a_result_may_be_asked_for_twice_and_by_two():
  seen = []

  def series(queue):
    result = queue.submit("item")
    other = threading.Thread(target=lambda: seen.append(result()))
    seen.append(result())
    other.start()
    other.join()
    seen.append(result())

  train_series([series], width=1)
  assert seen == ["item"] * 3


def test_a_failure_of_a_submitting_thread_is_raised():
  with (
    pytest.raises(ZeroDivisionError),
    scheduler.serve(
      ["only"], lambda _, x: x, group_size=3, num_threads=1
    ) as queue,
  ):
    queue.submit("never waited for")
    raise ZeroDivisionError


def test_groups_in_order_do_not_depend_on_time():
  """As several processes need it: each series is late once."""

  def series(name, late):
    def call(queue):
      for index in range(3):
        time.sleep(0.03 * (index in late))
        items = [(index, name, part) for part in range(2)]
        results = [queue.submit(item, rank=item) for item in items]
        for result in results:
          result()

    return call

  def found(*lates):
    every = [series(name, late) for name, late in zip("abc", lates)]
    return train_series(every, width=4, by_rank=True)

  one = found({0}, {1}, {2})
  assert one == found({1, 2}, {0}, {0}) == found({}, {}, {0, 1, 2})
  items = [item for _, group in one for item in group]
  assert len(items) == len(set(items)) == 18
  assert all([*group] == sorted(group) for _, group in one)
