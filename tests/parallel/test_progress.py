"""What a user sees during a run, and streams that cannot be written."""

import io
import signal
import subprocess
import sys

import pytest

from lth_jax.parallel import progress
from lth_jax.runner import command


@pytest.fixture
def clock(monkeypatch):
  """The time in seconds, as a list of one number."""
  now = [0.0]
  monkeypatch.setattr("tqdm.std.time", lambda: now[0])
  monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
  return now


@pytest.fixture
def told(monkeypatch, clock):
  """Returns what a display prints; each call comes after some seconds."""

  def call(kind, *calls):
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    with progress.show(kind, num_steps=100) as display:
      for seconds, name, *arguments in calls:
        clock[0] += seconds
        getattr(display, name)(*arguments)
    return out.getvalue()

  return call


@pytest.mark.parametrize(
  "calls, line",
  [
    ([(10, "advance", 25, "a"), (0, "finish", "a")], " 25%  a, 00:30 left"),
    ([(60, "advance", 50, "a")], " 50%  a, 01:00 left"),
    ([(5, "advance", 50, "a")], None),
    ([(0, "finish", "a")], "  0%  a, ? left"),
    # Steps of an earlier process took this one no time.
    (
      [(0, "skip", 80), (10, "advance", 10, "a"), (0, "finish", "a")],
      " 90%  a, 00:10 left",
    ),
    # Trials that have to be trained again are added, ...
    (
      [
        *(3 * [(0, "add", 100), (10, "advance", 100, "a")]),
        (0, "finish", "a"),
      ],
      " 75%  a, 00:10 left",
    ),
    # ... and those after one that diverged are taken off; no bar is too full.
    (
      [(10, "advance", 25, "a"), (0, "add", -50), (0, "finish", "a")],
      " 50%  a, 00:10 left",
    ),
    (
      [(10, "advance", 75, "a"), (0, "add", -50), (0, "finish", "a")],
      "100%  a, 00:00 left",
    ),
    (
      [(10, "advance", 175, "a"), (0, "finish", "a")],
      "100%  a, 00:00 left",
    ),
  ],
)
def test_a_line_tells_how_long_the_rest_takes(told, calls, line):
  lines = told("log", *calls).splitlines()
  assert lines == ([line] if line else [])


@pytest.mark.parametrize("kind", ["bar", "log", "none"])
def test_a_warning_is_always_shown(told, kind):
  assert "careful" in told(kind, (0, "log", "careful"))


def test_none_is_silent_otherwise(told):
  calls = (60, "advance", 50, "trial a"), (0, "finish", "trial a")
  assert told("none", *calls) == ""


def test_auto_draws_no_bar_where_there_is_no_terminal(told):
  calls = (60, "advance", 50, "trial a"), (0, "finish", "trial a")
  assert told("auto", *calls).startswith(" 50%  trial a")


def test_durations_are_in_hours_and_minutes():
  assert progress.duration(75.4) == "1:15"
  assert progress.duration(3675) == "1:01:15"


@pytest.fixture(
  params=[
    BrokenPipeError(32, "Broken pipe"),
    OSError(28, "No space left on device"),
    ValueError("I/O operation on closed file."),
    RuntimeError("reentrant call inside <_io.BufferedWriter>"),
  ],
  ids=repr,
)
def broken(request, monkeypatch):
  """A standard error that cannot be written."""

  class Broken(io.StringIO):
    def write(self, _=""):
      raise request.param

    flush = write

  monkeypatch.setattr(progress.sys, "stderr", Broken())


@pytest.mark.parametrize("kind", ["bar", "log", "auto"])
def test_a_run_continues_if_its_output_cannot_be_written(broken, kind):
  progress.log("nobody is there")
  with progress.show(kind, 10) as display:
    display.skip(2)
    display.advance(8, "round 0")
    display.finish("round 0")
    display.log("done")


def test_a_signal_is_obeyed_if_its_log_cannot_be_written(broken):
  with command.stop_signals() as stop:
    signal.raise_signal(signal.SIGTERM)
    assert stop.is_set()


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
    ("<&- >&- 2>&-", "log", 7),
    ("2>/dev/full", "bar", 7),
    ("2>&1 | true", "log", 7),
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
