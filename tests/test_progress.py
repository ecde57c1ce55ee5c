"""What a person is told while a run goes on."""

import io
import subprocess
import sys

import pytest

from lth_jax import progress


def told(monkeypatch, kind, *calls, seconds=0.0):
  """What is printed when a display is called a second after it began."""
  now = [0.0]
  out = io.StringIO()
  monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
  monkeypatch.setattr("sys.stderr", out)
  with progress.show(kind, num_steps=100) as display:
    now[0] = seconds
    for name, *arguments in calls:
      getattr(display, name)(*arguments)
  return out.getvalue()


def test_a_log_has_a_line_for_each_lane_with_the_time_left(monkeypatch):
  calls = ("advance", 25, "lane a"), ("finish", "lane a: done")
  line = told(monkeypatch, "log", *calls, seconds=10.0)
  assert line == " 25%  lane a: done, 0:30 left\n"


def test_a_long_lane_is_heard_of_before_it_ends(monkeypatch):
  line = told(monkeypatch, "log", ("advance", 50, "lane a"), seconds=60.0)
  assert line == " 50%  lane a, 1:00 left\n"
  assert told(monkeypatch, "log", ("advance", 50, "lane a"), seconds=5.0) == ""


def test_steps_of_an_earlier_process_are_no_speed(monkeypatch):
  calls = ("skip", 80), ("advance", 10, "lane a"), ("finish", "lane a")
  line = told(monkeypatch, "log", *calls, seconds=10.0)
  assert line == " 90%  lane a, 0:10 left\n"


def test_nothing_done_gives_no_time(monkeypatch):
  line = told(monkeypatch, "log", ("finish", "lane a"), seconds=10.0)
  assert line == "  0%  lane a, ? left\n"


@pytest.mark.parametrize("kind", ["bar", "log", "none"])
def test_a_warning_is_always_heard(monkeypatch, kind):
  assert "careful" in told(monkeypatch, kind, ("say", "careful"))


def test_none_is_silent_otherwise(monkeypatch):
  calls = ("advance", 50, "lane a"), ("finish", "lane a")
  assert told(monkeypatch, "none", *calls, seconds=60.0) == ""


def test_auto_draws_no_bar_where_there_is_no_terminal(monkeypatch):
  calls = ("advance", 50, "lane a"), ("finish", "lane a")
  assert told(monkeypatch, "auto", *calls).startswith(" 50%  lane a")


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
  progress.say("nobody is there")
  with progress.show(kind, 10) as display:
    display.skip(2)
    display.advance(8, "round 0")
    display.finish("round 0")
    display.say("done")


# What a command prints, and opens, before it ends with a code of its own.
_COMMAND = """
import os, sys
from lth_jax import command, progress
def run():
  assert os.open(os.devnull, os.O_RDONLY) > 2
  with progress.show(sys.argv[1], 10) as display:
    display.advance(10, "round 0")
    display.finish("round 0")
    display.say("note")
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
    "import signal, sys; from lth_jax import command; "
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
  assert process.wait(60) == 7
