"""Several processes that work on one run, on this machine."""

import atexit
import contextlib
import json
import os
import pathlib
import socket
import time
from unittest import mock

import numpy as np
from etils import epath

from helpers import commands, tiny
from lth_jax import errors
from lth_jax.config import configs
from lth_jax.parallel import processes
from lth_jax.runner import workdir as workdir_lib

# How long anything may take; a hang is a failure.
PATIENCE = 240


@contextlib.contextmanager
def started(function, tmp_path, arguments):
  """A process for each tuple of arguments, and the files that they print to."""
  logs = [tmp_path / f"log_{index}" for index in range(len(arguments))]
  with contextlib.ExitStack() as stack:
    begun = [
      stack.enter_context(commands.forked(logged, log, function, args))
      for log, args in zip(logs, arguments)
    ]
    yield begun, logs


def call(function, tmp_path, arguments):
  """Calls a function in processes; returns their exit codes and outputs."""
  with started(function, tmp_path, arguments) as (begun, logs):
    return wait(begun), [log.read_text() for log in logs]


def wait(begun):
  """Returns the exit codes of processes once they have ended."""
  for process in begun:
    process.join(PATIENCE)
  return [process.exitcode for process in begun]


def logged(log, function, args):
  """Calls a function in a forked process; all that it prints is in a file."""
  with open(log, "a") as file:
    for stream in (1, 2):
      os.dup2(file.fileno(), stream)
  try:
    function(*args)
  finally:
    atexit._run_exitfuncs()  # JAX leaves the others; a forked process would not


def address():
  """Returns where processes can meet: a free port."""
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{found.getsockname()[1]}"


def together(num=2):
  """Returns the flags of each of some processes, which meet at a free port."""
  where = address()
  return [
    [
      "--distributed=auto",
      f"--coordinator_address={where}",
      f"--num_processes={num}",
      f"--process_id={index}",
      "--join_seconds=120",
      "--devices=0",
    ]
    for index in range(num)
  ]


def run_with_slow_data(seconds, *args):
  """`commands.main`, with images that take some time to load."""
  load = tiny.dataset
  with mock.patch.object(
    tiny, "dataset", lambda: time.sleep(seconds) or load()
  ):
    commands.main(*args)


def parts(index):
  """A part that process `index` owns, of many types."""
  return (
    np.array([-0.0, np.nan, np.inf, 1e-42, index], np.float32),
    {"wide": np.array([1 / 3 + index, -0.0]), "none": None},
    np.array([True, False, index == 1]),
    np.array([255, index], np.uint8),
    np.int32(-index),
    "x" * (1000 * index),
  )


def collectives(where, index, folder):
  """Prints as JSON what one of three processes gets from all collectives."""
  processes.join(
    configs.Processes(
      distributed="auto",
      coordinator_address=where,
      num_processes=3,
      process_id=index,
      join_seconds=120,
    )
  )
  sent = [parts(index) if index == owner else None for owner in range(3)]
  received = processes.exchange([*sent, None])
  tiny.assert_equal_bits(received, [*map(parts, range(3)), None])
  found = {
    "any_of": processes.any_of(index == 2, False, True),
    "gather": processes.gather(index),
    "on_process_0": processes.on_process_0(lambda: f"≥ {index}"),
  }

  def fail_in_1():
    with processes.raise_in_all():
      if index == 1:
        raise OSError("no disk")

  def pass_in_2():
    with processes.raise_in_all():
      if index == 2:
        raise errors.StorageError("no store", passes=True)

  def stop():
    raise errors.StoppedError

  def fail(function, *args):
    try:
      return function(*args)
    except Exception as error:
      passes = " (passes)" * getattr(error, "passes", False)
      return f"{type(error).__name__}{passes}: {error}"

  check = processes.check_equal
  own = pathlib.Path(folder, str(index))
  own.mkdir()
  with mock.patch.object(workdir_lib, "_SHARED_SECONDS", 1):
    found |= {
      "0 fails": fail(processes.on_process_0, lambda: 1 / 0),
      "1 fails": fail(fail_in_1),
      "2 passes": fail(pass_in_2),
      "0 stops": fail(processes.on_process_0, stop),
      "equal": fail(check, lambda: {"--a": 1}),
      "others": fail(check, lambda: {"--a": 1, "--b": index // 2}),
      "more": fail(check, lambda: dict.fromkeys("ac" if index == 1 else "a")),
      "shared": fail(workdir_lib.check_shared, epath.Path(folder)),
      "not shared": fail(workdir_lib.check_shared, epath.Path(own)),
    }
  print("FOUND" + json.dumps(found), flush=True)
