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


def test_a_run_goes_on_if_nobody_reads_what_it_says(monkeypatch):
  class Closed:
    def write(self, _):
      raise BrokenPipeError(32, "Broken pipe")

    def flush(self):
      raise BrokenPipeError(32, "Broken pipe")

  monkeypatch.setattr(progress.sys, "stderr", Closed())
  progress.say("nobody is there")
  with progress.show("log", 10) as display:
    display.advance(10, "round 0")
    display.finish("round 0")
    display.say("done")


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
