"""Several processes that work on one run: real ones, over gloo."""

import contextlib
import json
import os
import pathlib
import re
import signal
import time

import numpy as np
import pytest
from helpers import processes as process_runs

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.parallel import processes

_ROOT = pathlib.Path(__file__).parents[2]
# Long enough to be disturbed, and saved at every pause.
_LONG = ("--steps=12000", "--eval_every=3000", "--checkpoint_minutes=0")


def records(workdir):
  found = _all_records(workdir)
  assert len(found) == 3 * (1 + 1 + 2 * 3)
  return found


def _all_records(workdir):
  return {
    str(path.relative_to(workdir)): json.loads(path.read_text())
    for path in sorted(workdir.rglob("record.json"))
  }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  """The run by one process."""
  workdir = tmp_path_factory.mktemp("alone") / "run"
  codes, said = process_runs.run(workdir, workdir.parent)
  assert codes == [0], said
  return workdir


@pytest.fixture(scope="module")
def alone_and_long(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("alone_and_long") / "run"
  codes, said = process_runs.run(workdir, workdir.parent, *_LONG)
  assert codes == [0], said
  return workdir


def test_two_processes_are_one(alone, tmp_path):
  workdir = tmp_path / "run"
  codes, said = process_runs.run(
    workdir, tmp_path, flags=process_runs.together()
  )
  assert codes == [0, 0], said
  assert records(workdir) == records(alone)
  assert (workdir / "report" / "index.html").exists()
  # The first one alone speaks, but for what it waits for and JAX's own words.
  assert "Report: " in said[0]
  own = [x for x in said[1].splitlines() if not x.startswith("[Gloo]")]
  assert len(own) == 1 and own[0].startswith("Waiting"), said[1]


@pytest.mark.slow
@pytest.mark.parametrize(
  "changed",
  [
    ["--trials_per_device=2"],
    ["--pruning=oneshot"],
    ["--reset=continued"],
    ["--learning_rate=1e30"],  # all diverge
  ],
)
def test_three_processes_are_one(changed, tmp_path):
  one, three = tmp_path / "one", tmp_path / "three"
  codes, said = process_runs.run(one, tmp_path, *changed)
  assert codes == [0], said
  codes, said = process_runs.run(
    three, tmp_path, *changed, flags=process_runs.together(3)
  )
  assert codes == [0, 0, 0], said
  assert _all_records(three) == _all_records(one)


@pytest.mark.slow
def test_a_batch_over_two_processes(alone, tmp_path):
  """Equals one device up to the order in which float32 numbers are added."""
  workdir = tmp_path / "run"
  num_cpus = len(os.sched_getaffinity(0))
  codes, said = process_runs.run(
    workdir,
    tmp_path,
    f"--batch_devices={2 * num_cpus}",
    flags=process_runs.together(),
  )
  assert codes == [0, 0], said
  ours, theirs = records(workdir), records(alone)
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


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_ends_the_other(
  killed, alone_and_long, tmp_path
):
  """Then two processes, and after them a single one, resume the run."""
  workdir = tmp_path / "run"
  commands = [
    process_runs.command(workdir, *_LONG, *own)
    for own in process_runs.together()
  ]
  with process_runs.started(commands, tmp_path) as (begun, files):
    _wait_for_a_save(workdir, begun, files)
    begun[killed].kill()
    code = begun[1 - killed].wait(timeout=process_runs.PATIENCE)
  # 75 is ours; JAX may be quicker to abort, with its own words.
  assert code in (75, -signal.SIGABRT), files[1 - killed].read_text()
  if code == 75:
    assert "another process is gone" in files[1 - killed].read_text()
  damaged = next(workdir.rglob("*.step_*/record.json"))
  damaged.write_text("{}")
  commands = [
    process_runs.command(workdir, *_LONG, *own)
    for own in process_runs.together()
  ]
  with process_runs.started(commands, tmp_path) as (begun, files):
    _wait_for_a_save(workdir, begun, files)
    begun[killed].send_signal(signal.SIGTERM)
    codes = [process.wait(timeout=process_runs.PATIENCE) for process in begun]
    said = [file.read_text() for file in files]
  assert codes == [75, 75], said
  assert "SIGTERM: saving, then stopping." in said[killed]
  assert f"{damaged} is altered. It is discarded" in said[0]
  assert all("Stopped; what was done is stored." in each for each in said)
  codes, said = process_runs.run(workdir, tmp_path, *_LONG)
  assert codes == [0], said
  assert records(workdir) == records(alone_and_long)


def _wait_for_a_save(workdir, begun, files):
  """Waits for an intermediate checkpoint that is written from now on."""
  begin, deadline = time.time(), time.monotonic() + process_runs.PATIENCE
  while time.monotonic() < deadline:
    assert all(process.poll() is None for process in begun), [
      file.read_text() for file in files
    ]
    with contextlib.suppress(FileNotFoundError):  # folders come and go
      for path in workdir.rglob("*.step_*/commit.json"):
        if path.stat().st_mtime >= begin:
          return
    time.sleep(0.05)
  raise AssertionError("no save")


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_other(tmp_path):
  commands = [
    process_runs.command(tmp_path / "run", *_LONG, *own)
    for own in process_runs.together()
  ]
  with process_runs.started(commands, tmp_path) as (begun, files):
    _wait_for_a_save(tmp_path / "run", begun, files)
    begun[1].send_signal(signal.SIGSTOP)
    code = begun[0].wait(timeout=process_runs.PATIENCE)
  assert code in (75, -signal.SIGABRT), files[0].read_text()


@pytest.mark.slow
def test_one_process_may_load_data_slowly(alone, tmp_path):
  program = (
    "import runpy, sys, time; from lth_jax import data; load = data.load; "
    "data.load = lambda *a, **k: (time.sleep(40), load(*a, **k))[1]; "
    "runpy.run_module('experiments.mnist_lenet', run_name='__main__')"
  )
  slow, quick = (
    process_runs.command(tmp_path / "run", *own)
    for own in process_runs.together()
  )
  commands = [["-c", program, *slow[2:]], quick]
  with process_runs.started(commands, tmp_path) as (begun, files):
    codes = [process.wait(timeout=process_runs.PATIENCE) for process in begun]
  assert codes == [0, 0], [file.read_text() for file in files]
  assert records(tmp_path / "run") == records(alone)


def test_versions_with_other_flags_are_an_error(tmp_path):
  program = (
    "import sys; from lth_jax.config import configs; "
    "from lth_jax.parallel import processes; "
    "processes.join(configs.Processes(distributed='auto', "
    "coordinator_address=sys.argv[1], num_processes=2, "
    "process_id=int(sys.argv[2]))); "
    "processes.check_equal(lambda: dict.fromkeys(sys.argv[3:], 1))"
  )
  address = process_runs.together()[0][1].split("=")[1]
  commands = [
    ["-c", program, address, "0", "--steps"],
    ["-c", program, address, "1", "--steps", "--tickets"],
  ]
  with process_runs.started(commands, tmp_path) as (begun, files):
    codes = [process.wait(timeout=process_runs.PATIENCE) for process in begun]
    said = [file.read_text() for file in files]
  assert codes == [1, 1], said
  assert all("InputError: --distributed: the version of" in x for x in said)


@pytest.mark.parametrize(
  "changed, says",
  [
    (([], ["--steps=60"]), "--steps of process 1 is not that of process 0"),
    (([], ["--workdir=elsewhere"]), "--workdir of process 1 is not that of"),
    (([], ["--num_valid=60000"]), "process 1 failed: InputError: --num_valid"),
    ((["--devices=1"],) * 2, "--devices=1: 2 processes use all their devices"),
    ((["--devices=1"], []), "--devices=1: 2 processes use all their devices"),
    (([], ["--devices=1"]), "process 1 failed: InputError: --devices=1"),
  ],
)
def test_flags_that_differ_end_all(changed, says, tmp_path):
  flags = [[*own, *more] for own, more in zip(process_runs.together(), changed)]
  codes, said = process_runs.run(tmp_path / "run", tmp_path, flags=flags)
  assert codes == [2, 2], said
  assert says in said[0]
  assert all(each.splitlines()[-1].startswith("error: ") for each in said)
  assert not (tmp_path / "run").exists()


def test_a_workdir_that_is_not_shared_ends_all(tmp_path):
  """One path, and another folder for each process."""
  program = (
    "import sys; from lth_jax.config import configs; "
    "from lth_jax.parallel import processes; "
    "from lth_jax.runner import workdir; "
    "from etils import epath; workdir._SHARED_SECONDS = 1; "
    "processes.join(configs.Processes(distributed='auto', "
    "coordinator_address=sys.argv[1], num_processes=2, "
    "process_id=int(sys.argv[2]))); "
    "workdir.check_shared(epath.Path(sys.argv[3]))"
  )
  address = process_runs.together()[0][1].split("=")[1]
  folders = tmp_path / "0", tmp_path / "1"
  for folder in folders:
    folder.mkdir()
  for seen, found in ((folders, 1), ((tmp_path, tmp_path), 0)):
    commands = [
      ["-c", program, address, str(index), str(folder)]
      for index, folder in enumerate(seen)
    ]
    with process_runs.started(commands, tmp_path) as (begun, files):
      codes = [process.wait(timeout=process_runs.PATIENCE) for process in begun]
      said = [file.read_text() for file in files]
    assert codes == [found, found], said
    if found:
      assert all("is another folder here" in each for each in said)
    assert not (tmp_path / ".shared").exists()


_PROGRAM = """
import json, sys
import numpy as np
from lth_jax import errors
from lth_jax.config import configs
from lth_jax.parallel import processes

index = int(sys.argv[2])
processes.join(configs.Processes(
  distributed="auto", coordinator_address=sys.argv[1], num_processes=3,
  process_id=index, join_seconds=120))
values = (
  np.array([-0.0, np.nan, np.inf, 1e-42, index], np.float32),
  np.array([1 / 3 + index, -0.0]),
  np.array([True, False, index == 1]),
  np.array([255, index], np.uint8),
  np.int32(-index),
  None,
)
parts = [None] * 3
parts[index] = values
merged = processes.exchange(parts, [0, 1, 2], values)
bits = [
  [x.tobytes().hex() + str(x.dtype) + str(x.shape) for x in part
   if x is not None] for part in merged]
told = {"bits": bits}
told["any"] = processes.any_of(index == 2, False, True)
told["gather"] = processes.gather(np.array(index)).tolist()
told["lead"] = processes.on_process_0(
  lambda: {"from": index, "text": "\\u2265"})
for name, function in {
  "lead fails": lambda: processes.on_process_0(lambda: 1 / 0),
  "one fails": lambda: fail(),
  "agree": lambda: processes.check_equal(lambda: {"--a": 1, "--b": index // 2}),
}.items():
  def fail():
    with processes.raise_in_all():
      if index == 1:
        raise OSError("no disk")
  try:
    function()
    told[name] = "nothing"
  except Exception as error:
    told[name] = f"{type(error).__name__}: {error}"
processes.check_equal(lambda: {"--a": 1})
print("TOLD" + json.dumps(told), flush=True)
"""


def test_collectives_of_three_processes(tmp_path):
  address = process_runs.together()[0][1].split("=")[1]
  commands = [["-c", _PROGRAM, address, str(index)] for index in range(3)]
  with process_runs.started(commands, tmp_path) as (begun, files):
    codes = [process.wait(timeout=process_runs.PATIENCE) for process in begun]
    said = [file.read_text() for file in files]
  assert codes == [0] * 3, said
  told = [json.loads(re.search("TOLD(.*)", each)[1]) for each in said]
  assert told[0]["bits"] == told[1]["bits"] == told[2]["bits"]
  for index, bits in enumerate(told[0]["bits"]):
    floats = np.array([-0.0, np.nan, np.inf, 1e-42, index], np.float32)
    wide = np.array([1 / 3 + index, -0.0])
    assert bits == [
      floats.tobytes().hex() + "float32(5,)",
      wide.tobytes().hex() + "float64(2,)",
      np.array([True, False, index == 1]).tobytes().hex() + "bool(3,)",
      np.array([255, index], np.uint8).tobytes().hex() + "uint8(2,)",
      np.array(-index, np.int32).tobytes().hex() + "int32()",
    ]
  for each in told:
    assert each["any"] == [True, False, True]
    assert each["gather"] == [0, 1, 2]
    assert each["lead"] == {"from": 0, "text": "≥"}
    assert each["agree"].startswith(
      "InputError: --distributed: --b of process 2 is not that of process 0"
    )
  assert told[0]["lead fails"] == "ZeroDivisionError: division by zero"
  assert told[1]["lead fails"] == told[2]["lead fails"]
  assert told[2]["lead fails"] == (
    "InputError: process 0 failed: ZeroDivisionError: division by zero"
  )
  assert told[1]["one fails"] == "OSError: no disk"
  assert told[0]["one fails"] == (
    "InputError: process 1 failed: OSError: no disk"
  )


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
