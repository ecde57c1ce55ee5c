"""Trials in line: who is trained with whom, where, and in which order."""

import threading
import time

import pytest

from lth_jax.parallel import scheduler


def train_series(series, *, width, workers=("only",), train=None, rank=None):
  """Runs each series, a function of a line, in a thread; returns the waves."""
  found = []

  def note(worker, items):
    found.append((worker, items))
    return train(worker, items) if train else items

  def call(function, line):
    try:
      function(line)
    finally:
      line.leave()

  with scheduler.serve(
    workers, note, width=width, num_series=len(series), rank=rank
  ) as line:
    threads = [threading.Thread(target=call, args=(s, line)) for s in series]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
  return found


def test_items_are_taken_in_the_order_in_which_they_came():
  def series(line):
    for result in [line.submit(index) for index in range(9)]:
      result()

  found = train_series([series], width=2)
  assert [len(items) for _, items in found] == [2, 2, 2, 2, 1]
  assert [index for _, items in found for index in items] == [*range(9)]


def test_a_device_waits_for_whoever_may_still_come():
  def quick(line):
    for index in range(3):
      line.submit(("quick", index))()

  def slow(line):
    for index in range(3):
      time.sleep(0.05)
      line.submit(("slow", index))()

  found = train_series([quick, slow], width=4)
  assert [sorted(items) for _, items in found] == [
    [("quick", index), ("slow", index)] for index in range(3)
  ]


def test_a_full_wave_waits_for_nobody():
  full = threading.Event()

  def early(line):
    first, second = line.submit(0), line.submit(1)
    first(), second()
    full.set()

  def late(line):
    assert full.wait(300)
    line.submit(2)()

  found = train_series([early, late], width=2)
  assert [items for _, items in found] == [(0, 1), (2,)]


def test_nobody_is_waited_for_who_has_left():
  def long(line):
    for index in range(4):
      line.submit(index)()

  def short(line):
    line.submit("last")()

  found = train_series([long, short], width=2)
  assert [len(items) for _, items in found] == [2, 1, 1, 1]


def test_waves_run_side_by_side_on_all_devices():
  together = threading.Barrier(3, timeout=300)

  def train(worker, items):
    together.wait()  # passed only by three at once
    return items

  def series(line):
    results = [line.submit(index) for index in range(12)]
    assert [result() for result in results] == [*range(12)]

  found = train_series([series], width=2, workers=(0, 1, 2), train=train)
  for three in (found[:3], found[3:]):
    assert {worker for worker, _ in three} == {0, 1, 2}


def test_a_failure_belongs_to_those_who_wait_and_the_device_goes_on():
  def train(worker, items):
    if "bad" in items:
      raise RuntimeError("lost")
    return items

  seen = []

  def series(line):
    bad, beside, after = map(line.submit, ("bad", "beside", "after"))
    for result in (bad, beside):
      with pytest.raises(RuntimeError, match="lost"):
        result()
    seen.append(after())
    seen.append(line.submit("later")())

  train_series([series], width=2, train=train)
  assert seen == ["after", "later"]


def test_a_result_may_be_asked_for_twice_and_by_two():
  seen = []

  def series(line):
    result = line.submit("item")
    other = threading.Thread(target=lambda: seen.append(result()))
    seen.append(result())
    other.start()
    other.join()
    seen.append(result())

  train_series([series], width=1)
  assert seen == ["item"] * 3


def test_what_fails_while_trials_are_handed_in_is_raised():
  with (
    pytest.raises(ZeroDivisionError),
    scheduler.serve(["only"], lambda _, x: x, width=3, num_series=1) as line,
  ):
    line.submit("never waited for")
    raise ZeroDivisionError


def test_ranked_waves_do_not_depend_on_who_comes_first():
  """As several processes need it: each series is late once."""

  def series(name, late):
    def call(line):
      for index in range(3):
        time.sleep(0.03 * (index in late))
        results = [line.submit((index, name, part)) for part in range(2)]
        for result in results:
          result()

    return call

  def found(*lates):
    every = [series(name, late) for name, late in zip("abc", lates)]
    return train_series(every, width=4, rank=lambda item: item)

  one = found({0}, {1}, {2})
  assert one == found({1, 2}, {0}, {0}) == found({}, {}, {0, 1, 2})
  items = [item for _, wave in one for item in wave]
  assert len(items) == len(set(items)) == 18
  assert all([*wave] == sorted(wave) for _, wave in one)
