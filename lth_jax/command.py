"""What every command does: signals, errors for people, exit codes."""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import jax
from absl import flags as absl_flags
from absl import logging
from etils import epath

from lth_jax import (
  errors,
  flags,
  objects,
  processes,
  progress,
  report,
  runner,
)
from lth_jax.configs import Config

EXIT_BAD_INPUT = 2
# sysexits.h EX_TEMPFAIL: start the same command again to go on.
EXIT_STOPPED = 75


def run_experiment(
  experiment: str, read_config: Callable[[], Config], argv: Sequence[str]
) -> None:
  """Runs, resumes or extends an experiment and writes its report.

  Args:
    experiment: its name, recorded.
    read_config: made by `flags.define`.
    argv: what absl left of the command line: the program's name.
  """

  def run():
    check_no_arguments(argv)
    quiet()
    config, workdir = read_config(), objects.connect(flags.workdir())
    processes.join(flags.processes())
    with stop_signals() as stop:
      runner.run(config, workdir, experiment, stop)
      write_report(workdir)

  call(run)


def write_report(workdir: epath.Path) -> None:
  """Writes a run's report and says where it is; once for all processes.

  Args:
    workdir: of a run.
  """
  written = processes.lead(lambda: str(report.write(workdir)))
  processes.say(f"Report: {written}")


def quiet() -> None:
  """Keeps Orbax from narrating every save, unless `--verbosity` is given.

  >>> from unittest import mock
  >>> with mock.patch.object(logging, "set_verbosity") as set_verbosity:
  ...   quiet()
  >>> set_verbosity.called
  True
  """
  if not absl_flags.FLAGS["verbosity"].present:
    logging.set_verbosity(logging.WARNING)


def parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses the command line; for `app.run(main, flags_parser=parse_flags)`.

  Exits with `EXIT_BAD_INPUT` and one line if a flag is wrong.

  Args:
    argv: the program's name and what follows it.

  Returns:
    What is no flag, the program's name first.

  >>> parse_flags(["mnist_lenet", "--no_such_flag=1"])
  Traceback (most recent call last):
    ...
  SystemExit: 2
  """
  try:
    return absl_flags.FLAGS(argv)
  except SystemExit:  # of absl's --help: with code 1, though it was asked for
    sys.exit(0)
  except absl_flags.Error as error:
    line = " ".join(str(error).split())
    _exit(f"error: {line}; --help lists all flags.", EXIT_BAD_INPUT)


def check_no_arguments(argv: Sequence[str]) -> None:
  """Refuses what is no flag.

  Args:
    argv: as `parse_flags` returns it.

  Raises:
    InputError: there is something behind the program's name.

  >>> check_no_arguments(["mnist_lenet", "steps=9"])
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: 'steps=9' is no flag; write flags as --name=value.
  """
  if argv[1:]:
    raise errors.InputError(
      f"'{argv[1]}' is no flag; write flags as --name=value."
    )


def show(text: str) -> None:
  """Prints a command's answer; whoever reads it may stop when they like.

  Args:
    text: ends in a line break.

  >>> show("one line" + chr(10))
  one line
  """
  try:
    print(text, end="", flush=True)
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def call(function: Callable[[], None]) -> None:
  """Calls a command's function and turns what fails into one line.

  Exits with `EXIT_BAD_INPUT` for bad input, a disk that is full or cannot be
  written, and too little memory; with `EXIT_STOPPED` after a signal, or when
  another process of the run or an object store is gone.

  Args:
    function: takes nothing; what it returns is dropped.

  >>> def stopped():
  ...   raise errors.StoppedError
  >>> call(stopped)
  Traceback (most recent call last):
    ...
  SystemExit: 75
  """
  try:
    function()
  except KeyboardInterrupt:
    _exit("Stopped.", EXIT_STOPPED)
  except processes.LostError as error:
    progress.say(
      f"Stopped: another process is gone ({error}); its own output says why. "
      "What was saved is stored. Start all processes again to go on."
    )
    os._exit(EXIT_STOPPED)  # a usual exit would wait for the other process
  except errors.StoppedError:
    _exit(
      "Stopped; what was done is stored. Start the same command to go on.",
      EXIT_STOPPED,
    )
  except Exception as error:
    failure = objects.explain(error)
    message = _explain_store(failure) if failure else _explain(error)
    if message is None:
      raise
    passes = failure is not None and failure.passes
    _exit(f"error: {message}", EXIT_STOPPED if passes else EXIT_BAD_INPUT)


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
  """Yields an event that SIGTERM or Ctrl-C sets; a second one ends at once.

  For the main thread, the only one that may handle signals.

  >>> with stop_signals() as stop:
  ...   signal.raise_signal(signal.SIGTERM)  # prints a line on standard error
  ...   stop.is_set()
  True
  """
  stop = threading.Event()

  def handle(number, frame):
    del frame
    # Before anything is said, so that what answers it ends the process.
    for each in numbers:
      signal.signal(each, signal.SIG_DFL)
    stop.set()
    progress.say(f"{signal.Signals(number).name}: saving, then stopping.")

  numbers = (signal.SIGTERM, signal.SIGINT)
  before = {number: signal.signal(number, handle) for number in numbers}
  try:
    yield stop
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _explain_store(failure: objects.Failure) -> str:
  if failure.passes:
    return (
      f"the object store failed ({failure.reason}). What was saved is stored. "
      "Start the same command to go on."
    )
  return (
    f"the object store refused ({failure.reason}); mend that and start the "
    "same command to go on."
  )


def _explain(error: Exception) -> str | None:
  """What a person can do about an error; None if it is a fault of ours."""
  match error:
    case errors.InputError():
      return str(error)
    case OSError():
      return _explain_file(error)
    case MemoryError() | jax.errors.JaxRuntimeError():
      if not _is_out_of_memory(error):
        return None
      return (
        f"out of memory ({errors.first_line(error)}); use fewer lanes at once "
        "(--lanes_per_device, --devices), more --batch_devices, or a smaller "
        "--batch_size. What was saved is stored."
      )
  return None


def _explain_file(error: OSError) -> str:
  where = error.filename or "the workdir"
  match error.errno:
    case errno.ENOSPC | errno.EDQUOT:
      remedy = "free some space and start the same command to go on"
    case errno.EACCES | errno.EPERM | errno.EROFS:
      remedy = "make it writable or choose another --workdir"
    case errno.ENOTDIR | errno.EEXIST:
      remedy = "remove the file in the way, or choose another --workdir"
    case errno.EISDIR:
      remedy = "remove the folder in the way, or choose another --workdir"
    case _:
      remedy = "mend that and start the same command to go on"
  reason = os.strerror(error.errno) if error.errno else str(error)
  return f"{where}: {reason}; {remedy}."


def _is_out_of_memory(error: Exception) -> bool:
  return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _exit(message: str, code: int) -> NoReturn:
  progress.say(message)
  sys.exit(code)
