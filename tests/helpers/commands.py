"""Commands as a user types them, in this process or in one of their own."""

import contextlib
import io
import pathlib
import signal
import subprocess
import sys
import time

from experiments import mnist_lenet

ROOT = pathlib.Path(__file__).parents[2]


def command(*flags):
  return [sys.executable, "-m", "experiments.mnist_lenet", *flags]


def start(*flags):
  """Runs the command in a process of its own."""
  return subprocess.run(
    command(*flags), cwd=ROOT, capture_output=True, text=True, timeout=300
  )


def call(*flags, main=mnist_lenet.main):
  """Runs the command in this process, which saves its start."""
  said, code = io.StringIO(), 0
  with contextlib.redirect_stderr(said):
    try:
      main(["command", *flags])
    except SystemExit as stop:
      code = stop.code
  return subprocess.CompletedProcess(flags, code, "", said.getvalue())


def assert_one_line(result, *words):
  assert result.returncode not in (0, -signal.SIGKILL), result.stderr
  assert "Traceback" not in result.stderr + result.stdout
  lines = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
  assert len(lines) == 1, result.stderr
  for word in words:
    assert word in lines[0]


def records(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in pathlib.Path(folder).glob("replicate_*/**/record.json")
  }


def wait_for(path, process):
  deadline = time.monotonic() + 120
  while not path.exists():
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.01)
