"""What every command does: signals, errors for people, exit codes."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

import jax
from absl import flags as absl_flags
from absl import logging
from etils import epath

from lth_jax import data, errors, report
from lth_jax.config import flags
from lth_jax.config.configs import Config
from lth_jax.parallel import processes, progress
from lth_jax.runner import experiment as experiment_lib
from lth_jax.storage import buckets

EXIT_BAD_INPUT = 2
# sysexits.h EX_TEMPFAIL: start the same command again to go on.
EXIT_STOPPED = 75
# What ends a run, in its own time: Ctrl-C, `kill`, a terminal that is closed,
# and how schedulers announce that a job's time is over.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")


def run_experiment(
  experiment: str, default: Config, argv: Sequence[str]
) -> None:
  """Runs, resumes or extends an experiment and writes its report.

  Args:
    experiment: its name, recorded.
    default: the config where no flag says otherwise.
    argv: the command line: the program's name and its flags.
  """

  def run():
    values = absl_flags.FlagValues()
    read_config = flags.define(values, default)
    check_no_arguments(parse(values, argv))
    config, workdir = read_config(), buckets.connect(flags.workdir(values))
    with runs(values) as run_config:
      run_config(experiment, config, workdir)

  call(run)


@contextlib.contextmanager
def runs(
  values: absl_flags.FlagValues,
) -> Iterator[Callable[[str, Config, epath.Path], None]]:
  """Connects the processes and handles signals for one run or more.

  Args:
    values: parsed flags of a command.

  Yields:
    A function of an experiment's name, a config and a workdir. It runs, resumes
    or extends that run and writes its report.
  """
  processes.join(flags.processes(values))
  with stop_signals() as stop:

    def run(experiment: str, config: Config, workdir: epath.Path) -> None:
      experiment_lib.run(config, workdir, experiment, stop)
      written = processes.lead(lambda: str(report.write(workdir)))
      processes.log(f"Report: {written}")

    yield run


def check_data(configs: Iterable[Config]) -> None:
  """Loads the images of several runs, since the last may start after days.

  Args:
    configs: of the runs.

  Raises:
    InputError: a data set is missing or damaged.
  """
  wanted = {
    (config.data.dataset, config.execution.source, config.execution.data_dir)
    for config in configs
  }
  for name, source, data_dir in sorted(wanted, key=str):
    data.load(name, source=source, data_dir=data_dir)


def parse(values: absl_flags.FlagValues, argv: Sequence[str]) -> Sequence[str]:
  """Parses a command line, to which it adds what all commands understand.

  Prints all flags and exits if asked for `--help`.

  Args:
    values: has the command's own flags.
    argv: the program's name and what follows it.

  Returns:
    What is no flag.

  Raises:
    InputError: a flag is wrong.

  >>> parse(absl_flags.FlagValues(), ["mnist_lenet", "--no_such_flag=1"])
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: Unknown command line flag 'no_such_flag'; --help
  lists all flags.
  """
  own = {"flag_values": values}
  absl_flags.DEFINE_bool("help", False, "Lists all flags and ends.", **own)
  absl_flags.DEFINE_integer(
    "verbosity",
    logging.FATAL,
    "Log of the libraries: 1 all, 0 notes, -1 warnings, -2 errors, -3 nothing.",
    **own,
  )
  others = flags.read(values, argv[1:])
  if values.help:
    show(f"{sys.modules['__main__'].__doc__}\n{values.get_help()}\n")
    sys.exit()
  logging.use_absl_handler()
  logging.set_verbosity(values.verbosity)
  return others


def check_no_arguments(others: Sequence[str]) -> None:
  """Refuses what is no flag.

  Args:
    others: as `parse` returns it.

  Raises:
    InputError: there is something.

  >>> check_no_arguments(["steps=9"])
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: 'steps=9' is no flag; write flags as --name=value.
  """
  if others:
    raise errors.InputError(
      f"'{others[0]}' is no flag; write flags as --name=value."
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
    pass
  except OSError as error:
    raise OSError(error.errno, error.strerror, "standard output") from error


def call(function: Callable[[], None]) -> None:
  """Calls a command's function and turns what fails into one line.

  Exits with `EXIT_BAD_INPUT` for bad input, a disk that is full or cannot be
  written, and too little memory; with `EXIT_STOPPED` after a signal, or when
  another process of the run or an object store is gone. What can be written of
  standard output and error changes neither.

  Args:
    function: takes nothing; what it returns is dropped.

  >>> def stopped():
  ...   raise errors.StoppedError
  >>> call(stopped)
  Traceback (most recent call last):
    ...
  SystemExit: 75
  """
  _open_streams()
  # Where one array of a save fails, TensorStore reports the others to an event
  # loop that Orbax has closed, which prints a traceback for each.
  hook = sys.unraisablehook
  sys.unraisablehook = lambda failure: logging.info("%r", failure.exc_value)
  try:
    function()
  except KeyboardInterrupt:
    _exit("Stopped.", EXIT_STOPPED)
  except processes.LostError as error:
    progress.log(
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
    message, passes = _explain(error)
    if message is None:
      raise
    _exit(f"error: {message}", EXIT_STOPPED if passes else EXIT_BAD_INPUT)
  finally:
    sys.unraisablehook = hook
    _drop_unwritten()


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
  """Yields an event that a signal sets; SIGTERM or Ctrl-C then end at once.

  For the main thread, the only one that may handle signals. What is ignored, as
  under nohup, stays so.

  >>> with stop_signals() as stop:
  ...   signal.raise_signal(signal.SIGTERM)  # prints a line on standard error
  ...   stop.is_set()
  True
  """
  stop = threading.Event()

  def handle(number, frame):
    del frame
    # Before anything is said, so that what answers it ends the process. Shells
    # and schedulers send the others twice, without anybody's impatience.
    for each in before:
      at_once = each in (signal.SIGTERM, signal.SIGINT)
      signal.signal(each, signal.SIG_DFL if at_once else signal.SIG_IGN)
    stop.set()
    progress.log(f"{signal.Signals(number).name}: saving, then stopping.")

  known = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
  before = {number: signal.getsignal(number) for number in known}
  before = {x: old for x, old in before.items() if old != signal.SIG_IGN}
  for number in before:
    signal.signal(number, handle)
  try:
    yield stop
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _explain(error: Exception) -> tuple[str | None, bool]:
  """What a person can do about an error, and whether just to start again.

  None if it is a fault of ours.
  """
  if failure := buckets.explain(error):
    return _go_on(f"the object store: {failure.reason}", failure.passes)
  match error:
    case errors.InputError():
      return str(error), False
    case errors.StorageError():
      return _go_on(str(error), error.passes)
    case OSError():
      cause = error.strerror or errors.first_line(error)
      return _go_on(f"{error.filename or 'the workdir'}: {cause}", False)
    case MemoryError() | jax.errors.JaxRuntimeError():
      if not _is_out_of_memory(error):
        return None, False
      return (
        f"out of memory ({errors.first_line(error)}); use fewer trials at once "
        "(--lanes_per_device, --devices), more --batch_devices, or a smaller "
        "--batch_size. What was saved is stored.",
        False,
      )
  return None, False


def _go_on(failure: str, passes: bool) -> tuple[str, bool]:
  """The advice where a disk or a store failed."""
  remedy = "start" if passes else "mend that and start"
  return (
    f"{failure}; {remedy} the same command to go on. What was saved is stored.",
    passes,
  )


def _is_out_of_memory(error: Exception) -> bool:
  return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _open_streams() -> None:
  """Opens what is closed of the standard streams, to nowhere.

  Else a file of the run would get the number of one, and what is printed.
  """
  for number in range(3):
    try:
      os.fstat(number)
    except OSError:
      os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
  sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
  sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115


def _drop_unwritten() -> None:
  """Keeps what could not be printed from failing once more, as code 120."""
  for stream in (sys.stdout, sys.stderr):
    try:
      stream.flush()
    except (OSError, ValueError):
      with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _exit(message: str, code: int) -> NoReturn:
  progress.log(message)
  sys.exit(code)
