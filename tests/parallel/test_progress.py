"""What a person is told while a run goes on."""

import io
import subprocess
import sys

import pytest

from lth_jax.parallel import progress


def told(monkeypatch, kind, *calls):
  """What is printed when a display is called, each time after some seconds."""
  now = [0.0]
  out = io.StringIO()
  monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
  monkeypatch.setattr("sys.stderr", out)
  with progress.show(kind, num_steps=100) as display:
    for seconds, name, *arguments in calls:
      now[0] += seconds
      getattr(display, name)(*arguments)
  return out.getvalue()


_COMPILED = (99, "advance", 0, "trial a")


@pytest.mark.parametrize(
  "calls, line",
  [
    ([(10, "advance", 25, "a"), (0, "finish", "a")], " 25%  a, 0:30 left"),
    ([(60, "advance", 50, "a")], " 50%  a, 1:00 left"),
    ([(5, "advance", 50, "a")], None),
    ([(0, "finish", "a")], "  0%  a, ? left"),
    # Steps of an earlier process took this one no time.
    (
      [(0, "skip", 80), (10, "advance", 10, "a"), (0, "finish", "a")],
      " 90%  a, 0:10 left",
    ),
    # Trials that were found damaged meanwhile are trained again, ...
    (
      [
        *(3 * [(0, "add", 100), (10, "advance", 100, "a")]),
        (0, "finish", "a"),
      ],
      " 75%  a, 0:10 left",
    ),
    # ... and those after one that diverged are not.
    (
      [(10, "advance", 25, "a"), (0, "add", -50), (0, "finish", "a")],
      " 50%  a, 0:10 left",
    ),
  ],
)
def test_a_line_says_what_is_left(monkeypatch, calls, line):
  lines = told(monkeypatch, "log", _COMPILED, *calls).splitlines()
  assert lines[1:] == ([line] if line else [])


def test_time_left_is_that_of_the_last_segments(monkeypatch):
  monkeypatch.setattr(progress, "_SEGMENTS", 3)
  slow, quick = (100, "advance", 10, "a"), (1, "advance", 10, "a")
  calls = 5 * [slow] + 3 * [quick] + [(0, "finish", "a")]
  said = told(monkeypatch, "log", *calls)
  assert said.splitlines()[-1] == " 80%  a, 0:02 left"


@pytest.mark.parametrize("kind", ["bar", "log", "none"])
def test_a_warning_is_always_heard(monkeypatch, kind):
  assert "careful" in told(monkeypatch, kind, (0, "log", "careful"))


def test_none_is_silent_otherwise(monkeypatch):
  calls = (60, "advance", 50, "trial a"), (0, "finish", "trial a")
  assert told(monkeypatch, "none", *calls) == ""


def test_auto_draws_no_bar_where_there_is_no_terminal(monkeypatch):
  calls = (60, "advance", 50, "trial a"), (0, "finish", "trial a")
  assert told(monkeypatch, "auto", *calls).startswith(" 50%  trial a")


@pytest.mark.parametrize("kind", ["bar", "log", "auto"])
@pytest.mark.parametrize(
  "error",
  [
    BrokenPipeError(32, "Broken pipe"),
    OSError(28, "No space left on device"),
    OSError(5, "Input/output error"),
    ValueError("I/O operation on closed file."),
    RuntimeError("reentrant call inside <_io.BufferedWriter>"),
  ],
  ids=repr,
)
def test_a_run_goes_on_if_nobody_reads_what_it_says(monkeypatch, kind, error):
  class Broken(io.StringIO):
    def write(self, _=""):
      raise error

    flush = write

  monkeypatch.setattr(progress.sys, "stderr", Broken())
  progress.log("nobody is there")
  with progress.show(kind, 10) as display:
    display.skip(2)
    display.advance(8, "round 0")
    display.finish("round 0")
    display.log("done")


# What a command prints, and opens, before it ends with a code of its own.
_COMMAND = """
import os, sys
from lth_jax.parallel import progress
from lth_jax.runner import command
def run():
  assert os.open(os.devnull, os.O_RDONLY) > 2
  with progress.show(sys.argv[1], 10) as display:
    display.advance(10, "round 0")
    display.finish("round 0")
    display.log("note")
  command.show("answer" * 9999)
  sys.exit(7)
command.call(run)
"""


@pytest.mark.parametrize(
  ("streams", "kind", "code"),
  [
    ("2>&-", "log", 7),
    ("<&- >&- 2>&-", "bar", 7),
    ("2>/dev/full", "bar", 7),
    ("2>/dev/full", "log", 7),
    ("2>&1 | true", "bar", 7),
    ("| true", "log", 7),
    (">/dev/full", "log", 2),  # the answer is lost, which is no success
  ],
)
def test_streams_that_are_closed_full_or_unread_end_no_command(
  streams, kind, code
):
  shell = ["bash", "-o", "pipefail", "-c", f'"$@" {streams}', "bash"]
  result = subprocess.run(
    [*shell, sys.executable, "-c", _COMMAND, kind],
    capture_output=True,
    text=True,
  )
  assert result.returncode == code, result.stderr
  assert "Traceback" not in result.stderr
  if code == 2:
    assert "error: standard output: No space left" in result.stderr


def test_a_signal_is_obeyed_if_nobody_reads_what_it_says():
  program = (
    "import signal, sys; from lth_jax.runner import command; "
    "sys.stdin.readline(); "  # until the reader is gone
    "signals = command.stop_signals(); stop = signals.__enter__(); "
    "signal.raise_signal(signal.SIGTERM); sys.exit(7 * stop.is_set())"
  )
  process = subprocess.Popen(
    [sys.executable, "-c", program],
    stdin=subprocess.PIPE,
    stderr=subprocess.PIPE,
  )
  assert process.stdin is not None and process.stderr is not None
  process.stderr.close()
  process.stdin.write(b"go\n")
  process.stdin.close()
  assert process.wait(300) == 7
