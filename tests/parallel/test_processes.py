"""Several processes that work on one run: real ones, over gloo."""

import contextlib
import json
import os
import re
import signal
import time

import numpy as np
import pytest
from helpers import commands, workdirs
from helpers import processes as process_runs

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.parallel import processes

# Long enough to be disturbed, and saved at every pause.
_LONG = ("--steps=10000", "--eval_every=2500", "--checkpoint_minutes=0")


def run_together(workdir, tmp_path, *flags, num=2):
  """Runs processes on one workdir; returns their exit codes and outputs."""
  arguments = [(workdir, *flags, *own) for own in process_runs.together(num)]
  return process_runs.call(commands.main, tmp_path, arguments)


def records(workdir):
  return {
    name: json.loads(content)
    for name, content in workdirs.results(workdir).items()
    if name.endswith("record.json")
  }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  """The run by one process."""
  workdir = tmp_path_factory.mktemp("alone") / "run"
  commands.run(workdir)
  assert len(records(workdir)) == 2 * (1 + 1 + 2 * 3)
  return workdir


@pytest.fixture(scope="module")
def alone_and_long(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("alone_and_long") / "run"
  commands.run(workdir, *_LONG)
  return workdir


def test_two_processes_are_one(alone, tmp_path):
  workdir = tmp_path / "run"
  codes, said = run_together(workdir, tmp_path)
  assert codes == [0, 0], said
  assert records(workdir) == records(alone)
  # The first one alone speaks, but for what it waits for and JAX's own words.
  assert "Report: " in said[0]
  own = [x for x in said[1].splitlines() if not x.startswith("[Gloo]")]
  assert len(own) == 1 and own[0].startswith("Waiting"), said[1]


@pytest.mark.slow
@pytest.mark.parametrize(
  "changed",
  [
    "--trials_per_device=2",
    "--pruning=oneshot",
    "--reset=continued",
    "--learning_rate=1e30",  # all diverge
  ],
)
def test_three_processes_are_one(changed, tmp_path):
  one, three = tmp_path / "one", tmp_path / "three"
  commands.run(one, changed)
  codes, said = run_together(three, tmp_path, changed, num=3)
  assert codes == [0, 0, 0], said
  assert records(three) == records(one)


@pytest.mark.slow
def test_a_batch_over_two_processes(tmp_path):
  """Equals one device up to the order in which float32 numbers are added."""
  num = 2 * len(os.sched_getaffinity(0))
  flags = f"--batch_size={5 * num}", f"--batch_devices={num}"
  one, two = tmp_path / "one", tmp_path / "two"
  commands.run(one, flags[0])
  codes, said = run_together(two, tmp_path, *flags)
  assert codes == [0, 0], said
  ours, theirs = records(two), records(one)
  for name, record in ours.items():
    if "evaluations" in record:
      for key in "train_loss", "valid_loss":
        np.testing.assert_allclose(
          np.array(record["evaluations"][key], float),
          np.array(theirs[name]["evaluations"][key], float),
          rtol=1e-5,
        )
      assert record["density"] == theirs[name]["density"]
    else:  # theta_0
      assert record == theirs[name]


@contextlib.contextmanager
def long_run(workdir, tmp_path):
  """Two processes, once they have saved an intermediate checkpoint."""
  arguments = [(workdir, *_LONG, *own) for own in process_runs.together()]
  begin, deadline = time.time(), time.monotonic() + process_runs.PATIENCE
  started = process_runs.started(commands.main, tmp_path, arguments)
  with started as (begun, logs):
    while not _has_saved_since(begin, workdir):
      alive = all(process.is_alive() for process in begun)
      assert alive, [log.read_text() for log in logs]
      assert time.monotonic() < deadline
      time.sleep(0.05)
    yield begun, logs


def _has_saved_since(begin, workdir):
  with contextlib.suppress(FileNotFoundError):  # folders come and go
    for path in workdir.rglob("*.step_*/commit.json"):
      if path.stat().st_mtime >= begin:
        return True
  return False


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_ends_the_other(
  killed, alone_and_long, tmp_path
):
  """Then two processes, and after them a single one, resume the run."""
  workdir = tmp_path / "run"
  with long_run(workdir, tmp_path) as (begun, logs):
    begun[killed].kill()
    code = process_runs.wait(begun)[1 - killed]
  # 75 is ours; JAX may be quicker to abort, with its own words.
  assert code in (75, -signal.SIGABRT), logs[1 - killed].read_text()
  if code == 75:
    assert "another process is gone" in logs[1 - killed].read_text()
  damaged = next(workdir.rglob("*.step_*/record.json"))
  damaged.write_text("{}")
  with long_run(workdir, tmp_path) as (begun, logs):
    os.kill(begun[killed].pid, signal.SIGTERM)
    codes = process_runs.wait(begun)
    said = [log.read_text() for log in logs]
  assert codes == [75, 75], said
  assert "SIGTERM: saving, then stopping." in said[killed]
  assert f"{damaged} is altered. It is discarded" in said[0]
  assert all("Stopped; what was done is stored." in each for each in said)
  commands.run(workdir, *_LONG)
  assert records(workdir) == records(alone_and_long)


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_other(tmp_path):
  with long_run(tmp_path / "run", tmp_path) as (begun, logs):
    os.kill(begun[1].pid, signal.SIGSTOP)
    begun[0].join(process_runs.PATIENCE)
    assert begun[0].exitcode in (75, -signal.SIGABRT), logs[0].read_text()


@pytest.mark.slow
def test_one_process_may_load_data_slowly(alone, tmp_path):
  """Longer than gloo waits for the first exchange, which is 30 s."""
  workdir, (slow, quick) = tmp_path / "run", process_runs.together()
  codes, said = process_runs.call(
    process_runs.run_with_slow_data,
    tmp_path,
    [(40, workdir, *slow), (0, workdir, *quick)],
  )
  assert codes == [0, 0], said
  assert records(workdir) == records(alone)


@pytest.mark.parametrize(
  "changed, says",
  [
    ("--steps=60", "--steps of process 1 is not that of process 0"),
    ("--num_valid=60000", "process 1 failed: InputError: --num_valid"),
    ("--devices=1", "process 1 failed: InputError: --devices=1: 2 processes"),
  ],
)
def test_flags_that_differ_end_all(changed, says, tmp_path):
  workdir, (one, other) = tmp_path / "run", process_runs.together()
  codes, said = process_runs.call(
    commands.main, tmp_path, [(workdir, *one), (workdir, *other, changed)]
  )
  assert codes == [2, 2], said
  assert says in said[0]
  assert all(each.splitlines()[-1].startswith("error: ") for each in said)
  assert not workdir.exists()


def test_collectives_of_three_processes(tmp_path):
  where, shared = process_runs.address(), tmp_path / "shared"
  shared.mkdir()
  codes, said = process_runs.call(
    process_runs.collectives,
    tmp_path,
    [(where, index, shared) for index in range(3)],
  )
  assert codes == [0] * 3, said
  found = [json.loads(re.search("FOUND(.*)", each)[1]) for each in said]
  for each in found:
    assert each["any_of"] == [True, False, True]
    assert each["gather"] == [0, 1, 2]
    assert each["on_process_0"] == "≥ 0"
    assert each["equal"] is each["shared"] is None
    differs = "InputError: --distributed: {} of process {} is not that of proc"
    assert each["others"].startswith(differs.format("--b", 2))
    assert each["more"].startswith(differs.format("c", 1))
    assert "is another folder here" in each["not shared"]
  zero, one = "ZeroDivisionError: division by zero", "OSError: no disk"
  failed = "InputError: process {} failed: {}"
  assert [each["0 fails"] for each in found] == [
    zero,
    *2 * [failed.format(0, zero)],
  ]
  assert [each["1 fails"] for each in found] == [
    failed.format(1, one),
    one,
    failed.format(1, one),
  ]
  for each in found[:2]:
    assert each["2 passes"].startswith("StorageError (passes): process 2 fail")
  assert {each["0 stops"].partition(":")[0] for each in found} == {
    "StoppedError"
  }
  assert not (shared / ".shared").exists()


@pytest.mark.parametrize(
  "asked, says",
  [
    ({"process_id": 0}, "--process_id: several processes take"),
    ({"distributed": "auto"}, "JAX finds the other processes on TPUs"),
    (
      {"distributed": "auto", "coordinator_address": "here"},
      "--coordinator_address=here: must be host:port",
    ),
    (
      {"distributed": "auto", "num_processes": 2, "process_id": 2},
      r"--process_id=2: with --num_processes=2 it must be in \[0, 2\)",
    ),
    ({"join_seconds": 0}, "--join_seconds=0: must be 1 or more"),
  ],
)
def test_wrong_flags_are_one_line(asked, says):
  with pytest.raises(errors.InputError, match=says) as caught:
    processes.join(configs.Processes(**asked))
  assert "\n" not in str(caught.value)
