"""Checkpoints and whole runs on gs://."""

import importlib.util
import os
import random
import signal
import threading
import time

import fsspec.asyn
import numpy as np
import pytest
from etils import epath
from helpers import commands, object_store, workdirs
from helpers import processes as process_runs

from lth_jax import errors
from lth_jax.storage import buckets, lease, store

_ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
_FLAGS = (
  *commands.TINY,
  "--replicates=1",
  "--arms=ticket,reinit",
  "--devices=1",
  "--checkpoint_minutes=0",
)
_SHORT = ("--rounds=0", "--arms=ticket")
# Long enough to be disturbed.
_LONG = ("--steps=20000", "--eval_every=1000", "--test_every=20000")


@pytest.fixture
def saved(workdir):
  """A checkpoint."""
  folder = workdir / "replicate_0/rewind"
  store.save(folder, "me", _ARRAYS, {"a": 1}, {"seconds": 2.0})
  return folder


def test_what_is_saved_is_loaded_and_its_commit_was_last(server, saved):
  arrays, record = store.load(saved, "me", _ARRAYS)
  assert record == {"a": 1}
  np.testing.assert_array_equal(arrays["w"], _ARRAYS["w"])
  times = object_store.times(server, saved)
  assert len(times) > 5 and max(times, key=times.get) == "commit.json"


def test_discarding_leaves_nothing(server, saved):
  store.discard(saved)
  assert not object_store.times(server, saved) and not saved.exists()


def test_files_of_other_processes_are_seen(server, saved):
  other = saved.parent / "other"
  assert not store.exists(other)
  assert [path.name for path in buckets.children(saved.parent)] == ["rewind"]
  object_store.upload(server, other / "commit.json", b"{}")
  assert store.exists(other)
  assert len(buckets.children(saved.parent)) == 2


def test_what_keeps_a_bucket_out_of_reach_is_one_line(server, monkeypatch):
  with pytest.raises(errors.InputError, match="there is no bucket 'nowhere'"):
    buckets.connect(epath.Path("gs://nowhere/run"))
  with pytest.raises(errors.InputError, match="only gs:// is supported"):
    buckets.connect(epath.Path("s3://bucket/run"))
  # A port at which nothing answers; gcsfs repeats a request for a while.
  monkeypatch.setattr("gcsfs.core.GCSFileSystem.call", _refuse)
  with pytest.raises(errors.InputError, match="and the credentials") as raised:
    buckets.connect(epath.Path("gs://bucket/run"))
  assert "\n" not in str(raised.value)
  monkeypatch.setattr("gcsfs.core.GCSFileSystem.call", _reach_nothing)
  with pytest.raises(errors.StorageError, match="gs://bucket/run: no route"):
    buckets.connect(epath.Path("gs://bucket/run"))
  monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
  with pytest.raises(errors.InputError, match="needs the package gcsfs"):
    buckets.connect(epath.Path("gs://bucket/run"))


def _refuse(*args, **kwargs):
  raise RuntimeError("Anonymous caller\nhas no access")


def _reach_nothing(*args, **kwargs):
  import aiohttp  # comes with gcsfs

  raise aiohttp.ClientError("no route to host")


@pytest.mark.parametrize(
  "function",
  [
    lambda folder: store.save(folder, "me", _ARRAYS, {}, {}),
    lambda folder: store.load(folder, "me", _ARRAYS),
  ],
  ids=["save", "load"],
)
def test_a_store_that_is_gone_at_any_request_is_no_damage(
  saved, monkeypatch, function
):
  """One that comes back passes the same later: exit 75, nothing discarded."""
  aiohttp, gcsfs = map(pytest.importorskip, ("aiohttp", "gcsfs"))
  store_type = gcsfs.GCSFileSystem
  left, call = 0, store_type._call

  async def answer(*args, **kwargs):
    nonlocal left
    left -= 1
    if left < 0:
      raise aiohttp.ClientOSError(111, "refused")  # an OSError
    return await call(*args, **kwargs)

  monkeypatch.setattr(store_type, "_call", answer)
  monkeypatch.setattr(store_type, "call", fsspec.asyn.sync_wrapper(answer))
  for requests in range(200):
    left = requests
    try:
      function(saved)
    except errors.StorageError as error:
      assert error.passes, (requests, error)
    except aiohttp.ClientOSError as error:
      assert buckets.explain(error).passes
    else:
      break
  assert 10 < requests < 199


def test_a_run_and_its_report_equal_local_ones(server, workdir, tmp_path):
  def run(folder):
    with commands.tiny_data():
      result = commands.call(f"--workdir={folder}", *_FLAGS, *_SHORT)
    assert result.returncode == 0, result.stderr
    return result.stderr

  commands.run(workdir, *_FLAGS, *_SHORT)
  record = workdir / "replicate_0/round_000/ticket/record.json"
  record.write_text(record.read_text().replace("0", "1", 1))
  assert f"{record} is altered" in run(workdir)
  run(tmp_path / "local")
  copy = object_store.download(server, workdir, tmp_path / "copy")
  assert "report/index.html" in _content(copy)
  workdirs.check_equal(_content(copy), _content(tmp_path / "local"))


@pytest.mark.slow
def test_a_killed_run_ends_as_an_undisturbed_one(server, workdir, tmp_path):
  undisturbed, log = tmp_path / "undisturbed", tmp_path / "log"
  _finish(undisturbed, log, *_LONG)
  seed = random.SystemRandom().randrange(2**32)
  print(f"seed {seed}")  # pytest shows it where the test fails
  rng, halves = random.Random(seed), 0
  for index in range(6):
    before = _commits(server, workdir)
    with _running(workdir, log, *_LONG) as process:
      commands.wait_for(lambda: _writes(server, workdir), process)
      if index % 2:
        commands.wait_for(lambda: _half(server, workdir), process)
      else:
        time.sleep(rng.uniform(0, 1.5))
    halves += bool(_half(server, workdir))
    assert before.items() <= _commits(server, workdir).items()
  assert halves
  _finish(workdir, log, *_LONG)
  assert "discarded" not in log.read_text()
  copy = object_store.download(server, workdir, tmp_path / "copy")
  workdirs.check_equal(_content(copy), _content(undisturbed))


@pytest.mark.slow
def test_a_stalled_run_whose_lease_is_taken_stops_with_a_line(
  server, workdir, tmp_path
):
  log, stop = tmp_path / "log", threading.Event()
  with _running(workdir, log, *_LONG, "--rounds=9") as process:
    commands.wait_for(lambda: _commits(server, workdir), process)
    refused = pytest.raises(errors.InputError, match="is in use by process")
    with refused, lease.hold(workdir, print, 3, stop):
      pass
    os.kill(process.pid, signal.SIGSTOP)
    with lease.hold(workdir, print, 6, stop) as check:
      taken = _commits(server, workdir)
      os.kill(process.pid, signal.SIGCONT)
      assert process_runs.wait([process]) == [2]
      check()
      assert _commits(server, workdir) == taken
  assert "has taken the lease" in _error_line(log)


@pytest.mark.slow
def test_two_processes_on_a_store_are_one_on_a_disk(server, workdir, tmp_path):
  flags = "--rounds=1", "--replicates=2", "--devices=0"
  _finish(tmp_path / "alone", tmp_path / "log", *flags)
  own, other = process_runs.together()
  with (
    _running(workdir, tmp_path / "log_0", *flags, *own) as one,
    _running(workdir, tmp_path / "log_1", *flags, *other) as two,
  ):
    assert process_runs.wait([one, two]) == [0, 0]
  copy = object_store.download(server, workdir, tmp_path / "copy")
  workdirs.check_equal(_content(copy), _content(tmp_path / "alone"))


@pytest.mark.slow
def test_a_run_whose_server_is_gone_may_be_started_again(tmp_path):
  log = tmp_path / "log"
  with object_store.serve() as (process, server):
    folder = epath.Path(f"{object_store.make_bucket(server)}/run")
    with _running(folder, log, *_LONG, "--rounds=9") as run:
      commands.wait_for(lambda: _commits(server, folder), run)
      process.kill()
      assert process_runs.wait([run]) == [75]
  assert "start the same command" in _error_line(log)


def _running(workdir, log, *flags):
  """The run in a process of its own, which is killed at the end."""
  args = (dict(os.environ), workdir, *_FLAGS, *flags)
  return commands.forked(process_runs.logged, log, object_store.run, args)


def _finish(workdir, log, *flags):
  with _running(workdir, log, *flags) as process:
    assert process_runs.wait([process]) == [0], log.read_text()


def _error_line(log):
  assert "Traceback" not in log.read_text()
  (line,) = [x for x in log.read_text().splitlines() if "error" in x]
  assert line.startswith("error: ")
  return line


def _commits(server, workdir):
  """{name: time} of the commits of trials and rewind points."""
  return {
    name: when
    for name, when in object_store.times(server, workdir).items()
    if name.endswith("/commit.json")
    and not any(x in name for x in (".step_", ".timing"))
  }


def _writes(server, workdir):
  """Whether a run has written anything but its lease."""
  times = object_store.times(server, workdir)
  return any(not name.startswith(".lease/") for name in times)


def _half(server, workdir):
  """Checkpoints that have arrays and no commit."""
  times = object_store.times(server, workdir)
  folders = {name.split("/arrays/")[0] for name in times if "/arrays/" in name}
  return {
    folder
    for folder in folders
    if f"{folder}/commit.json" not in times and not folder.startswith(".timing")
  }


def _content(folder):
  """Returns what a run holds but its locks."""
  return {
    name: value
    for name, value in workdirs.content_of(folder).items()
    if not name.startswith((".lease", ".lock", "report/.lock"))
  }
