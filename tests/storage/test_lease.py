"""The lease on a workdir of an object store."""

import os
import threading

import numpy as np
import pytest
from helpers import object_store

from lth_jax import errors
from lth_jax.storage import buckets, lease, store

ARRAYS = {"w": np.arange(6, dtype=np.float32)}


def hold(workdir, log, seconds, stop=None):
  return lease.hold(workdir, log, seconds, stop or threading.Event())


class Clock:
  """A clock that only waiting moves, in the place of the module `time`.

  `then` is called once, by the first who waits.
  """

  def __init__(self):
    self.now = 0.0
    self.then = lambda: None

  def monotonic(self):
    return self.now

  def wait(self, seconds):
    """Waits as the event does that ends the waiting for a lease."""
    self.now += seconds
    self.then()
    self.then = lambda: None
    return False


@pytest.fixture
def clock(monkeypatch):
  found = Clock()
  monkeypatch.setattr(lease, "time", found)
  return found


def path_of(workdir, number=1):
  return workdir / ".lease" / f"{number:08d}.json"


def leave_lease(workdir, number=1, content='{"host": "elsewhere", "pid": 1}'):
  """Leaves a lease as a holder that was killed does."""
  path = path_of(workdir, number)
  path.parent.mkdir(parents=True, exist_ok=True)
  assert buckets.create(path, content)


def test_a_second_writer_is_refused_while_the_first_lives(workdir):
  messages = []
  with hold(workdir, print, 1.5) as check:
    refused = pytest.raises(
      errors.InputError, match=rf"in use by process {os.getpid()} on .* renewed"
    )
    with refused, hold(workdir, messages.append, 1.5):
      pass
    check()
  assert len(messages) == 1 and "waiting 2 s" in messages[0]


def test_a_lease_is_given_back(workdir):
  for _ in range(3):
    with hold(workdir, pytest.fail, 60) as check:
      check()
  assert len(buckets.children(workdir / ".lease")) == 1


def test_a_lease_is_renewed_thrice_a_term_and_after_failures(
  workdir, monkeypatch
):
  children, failures = buckets.children, []

  def fail_twice(folder):
    if len(failures) < 2:
      failures.append(1)
      raise ConnectionError("out of reach")
    return children(folder)

  with hold(workdir, print, 0.9) as check:
    for patched in (children, fail_twice):
      monkeypatch.setattr(buckets, "children", patched)
      before = path_of(workdir).read_text()
      object_store.wait_until(lambda: path_of(workdir).read_text() != before)  # noqa: B023
    check()
  assert len(failures) == 2


def test_a_lease_that_nobody_renews_is_taken_over_after_a_term(workdir, clock):
  leave_lease(workdir)
  messages = []
  with hold(workdir, messages.append, 6, clock) as check:
    assert 6 <= clock.now < 8
    check()
  assert len(messages) == 1 and "process 1 on elsewhere" in messages[0]
  assert [x.name for x in buckets.children(workdir / ".lease")] == [
    "00000002.json"
  ]


@pytest.mark.parametrize("content", ["", "{", "[" * 10**5, "{}", "\0", "5"])
def test_a_damaged_lease_keeps_others_out_for_a_term(workdir, clock, content):
  leave_lease(workdir, content=content)
  messages = []
  with hold(workdir, messages.append, 6, clock) as check:
    assert 6 <= clock.now < 8
    check()
  assert "cannot be read" in messages[0]


@pytest.mark.parametrize("part", [0, 1, 20, -1])
def test_a_lease_that_is_read_while_it_is_renewed_is_not_taken(
  workdir, clock, part
):
  """A read may return a part of the new content."""
  with hold(workdir, pytest.fail, 60):
    whole = path_of(workdir).read_text()

    def renewed():
      clock.now += 60  # at the last moment
      path_of(workdir).write_text(whole[:part])

    clock.then = renewed
    refused = pytest.raises(errors.InputError, match="in use")
    with refused, hold(workdir, lambda _: None, 60, clock):
      pass


def test_waiting_for_a_lease_ends_with_a_signal(workdir):
  leave_lease(workdir)
  stop = threading.Event()
  stopped = pytest.raises(errors.StoppedError)
  with stopped, hold(workdir, lambda _: stop.set(), 60, stop):
    pytest.fail("it has the lease")


def test_a_check_renews_the_lease_of_a_process_that_was_stalled(workdir, clock):
  with hold(workdir, print, 300) as check:
    before = path_of(workdir).read_text()
    check()
    assert path_of(workdir).read_text() == before
    clock.now += 151
    check()
    assert path_of(workdir).read_text() != before


@pytest.mark.parametrize("ahead", [1, 2])
def test_a_lost_lease_stops_the_run_and_is_not_given_back(workdir, ahead):
  stop = threading.Event()
  lost = pytest.raises(lease.LostError, match="stop one of the two")
  with lost, hold(workdir, print, 0.9, stop) as check:
    leave_lease(workdir, 1 + ahead)
    path_of(workdir).unlink()
    assert stop.wait(300)
    with pytest.raises(lease.LostError):
      check()
    raise errors.StoppedError
  assert not path_of(workdir).exists()


def test_an_answer_that_was_lost_is_found(workdir, monkeypatch):
  create = buckets.create
  monkeypatch.setattr(buckets, "create", lambda *args: create(*args) and False)
  with hold(workdir, pytest.fail, 60) as check:
    check()


def test_of_two_that_took_numbers_at_once_the_later_has_the_lease(
  workdir, monkeypatch
):
  create = buckets.create

  def overtaken(path, text):
    created = create(path, text)
    monkeypatch.setattr(buckets, "create", create)
    leave_lease(workdir, 2)
    return created

  monkeypatch.setattr(buckets, "create", overtaken)
  messages = []
  with hold(workdir, messages.append, 1.5) as check:
    check()
  assert len(messages) == 1 and "elsewhere" in messages[0]


def test_of_many_that_begin_at_once_one_gets_the_lease(workdir):
  leave_lease(workdir, content="given back\n")
  ends, start, end = [], threading.Barrier(6), threading.Event()

  def begin():
    start.wait()
    try:
      with hold(workdir, lambda _: None, 6) as check:
        ends.append("held")
        end.wait(60)
        check()
    except errors.InputError as error:
      ends.append(type(error).__name__)

  threads = [threading.Thread(target=begin) for _ in range(6)]
  for thread in threads:
    thread.start()
  object_store.wait_until(lambda: len(ends) == 6)
  end.set()
  for thread in threads:
    thread.join()
  assert sorted(ends) == ["InputError"] * 5 + ["held"]


def test_a_lost_lease_forbids_to_commit_and_to_remove(workdir):
  stored, new = workdir / "replicate_0/rewind", workdir / "replicate_1/rewind"
  store.save(stored, "me", ARRAYS, {"a": 1}, {})
  with hold(workdir, print, 60) as check:
    # The other has taken the lease and is done.
    leave_lease(workdir, 3, "given back\n")
    path_of(workdir).unlink()
    for write in (
      lambda: store.save(new, "me", ARRAYS, {}, {}, check),
      lambda: store.save(stored, "me", ARRAYS, {}, {}, check),
      lambda: store.discard(stored, check),
    ):
      with pytest.raises(lease.LostError):
        write()
  assert store.load(stored, "me", ARRAYS)[1] == {"a": 1}
  assert not store.exists(new)
