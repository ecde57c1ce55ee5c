"""Commands as a user types them, in this process or in one of their own."""

import contextlib
import io
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from unittest import mock

from experiments import mnist_lenet
from helpers import tiny
from lth_jax import data, report

ROOT = pathlib.Path(__file__).parents[2]
# A run on tiny images; all tests share its compiled programs.
TINY = (
  "--dataset=tiny",
  f"--num_valid={tiny.NUM.valid}",
  f"--hidden={tiny.HIDDEN}",
  f"--batch_size={tiny.BATCH}",
  "--steps=20",
  "--eval_every=10",
  "--test_every=20",
  "--rates=kernel=0.2",
  "--rounds=2",
  "--replicates=2",
  "--arms=ticket,reinit,random",
  "--reinits=1",
  "--devices=2",  # XLA compiles once for each
  "--progress=none",
)


def command(*flags):
  return [sys.executable, "-m", "experiments.mnist_lenet", *flags]


def start(*flags):
  """Runs the command in a process of its own."""
  return subprocess.run(
    command(*flags), cwd=ROOT, capture_output=True, text=True, timeout=300
  )


def call(*flags, main=mnist_lenet.main):
  """Runs the command in this process, which saves its start."""
  log, code = io.StringIO(), 0
  with contextlib.redirect_stderr(log):
    try:
      main(["command", *flags])
    except SystemExit as stop:
      code = stop.code
  return subprocess.CompletedProcess(flags, code, "", log.getvalue())


@contextlib.contextmanager
def tiny_data():
  """Tiny images in the place of those that a command asks for."""
  with mock.patch.object(data, "load", lambda *_, **__: tiny.dataset()):
    yield


def try_run(folder, *flags):
  """Runs the command on tiny images, without its report, which takes longer."""
  with tiny_data(), mock.patch.object(report, "write", lambda folder: folder):
    return call(f"--workdir={folder}", *TINY, *flags)


def main(folder, *flags):
  """As `try_run`; errors and exits are this process's."""
  with tiny_data(), mock.patch.object(report, "write", lambda folder: folder):
    mnist_lenet.main(["command", f"--workdir={folder}", *TINY, *flags])


def run(folder, *flags):
  """Runs the command on tiny images to its end; returns what it logs."""
  result = try_run(folder, *flags)
  assert result.returncode == 0, result.stderr
  return result.stderr


@contextlib.contextmanager
def forked(function, *args):
  """Calls a function in a process of its own, which is killed at the end.

  It is forked from one that has imported everything, which saves seconds.
  """
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload(["helpers.commands", "orbax.checkpoint"])
  path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
  begun = context.Process(target=function, args=args)
  with mock.patch.dict(os.environ, {"PYTHONPATH": path}):
    begun.start()
  try:
    yield begun
  finally:
    begun.kill()
    begun.join()


def process(folder, *flags, hook=None):
  """`try_run` in a process of its own, which is killed at the end.

  What it logs is in `<folder>.log`. The hook is as in `sys.addaudithook`.
  """
  return forked(_in_process, folder, flags, hook)


def _in_process(folder, flags, hook):
  if hook:
    sys.addaudithook(hook)
  # Written at once, so that a signal loses nothing.
  with open(f"{folder}.log", "a", buffering=1) as log:
    sys.stderr = log
    main(folder, *flags)


def interrupt(number=signal.SIGUSR1):
  """Sends a signal to this thread; returns when the run has obeyed it.

  The system may choose any thread. Only the main thread obeys, and another one
  that gets the signal does not wake it: the harder case.
  """
  signal.pthread_kill(threading.get_ident(), number)
  end = time.monotonic() + 60
  while signal.getsignal(signal.SIGINT) != signal.SIG_DFL:
    assert time.monotonic() < end
    time.sleep(0.001)


def assert_one_line(result, *words):
  assert result.returncode not in (0, -signal.SIGKILL), result.stderr
  assert "Traceback" not in result.stderr + result.stdout
  lines = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
  assert len(lines) == 1, result.stderr
  for word in words:
    assert word in lines[0], lines[0]


def wait_for(condition, begun):
  """Waits until a condition holds, while a process of `process` lives."""
  deadline = time.monotonic() + 120
  while not condition():
    alive = begun.is_alive()
    assert (alive or condition()) and time.monotonic() < deadline
    time.sleep(0.01)
