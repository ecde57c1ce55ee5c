"""What all commands share: signals, errors for people, exit codes."""

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

from lth_jax import data, errors
from lth_jax.config import flags
from lth_jax.config.configs import Config
from lth_jax.parallel import processes, progress
from lth_jax.storage import buckets

EXIT_BAD_INPUT = 2
# EX_TEMPFAIL of sysexits.h: start the same command again to continue.
EXIT_STOPPED = 75
# Signals after which a run saves and ends: Ctrl-C, `kill`, a closed terminal,
# and those by which schedulers announce the end of a job's time.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")


def run_experiment(
  experiment: str, default: Config, argv: Sequence[str]
) -> None:
  """Runs, resumes or extends an experiment and writes its report.

  Args:
    experiment: its name, recorded.
    default: has the values of the flags that are not given.
    argv: the command line: the program's name and its flags.
  """

  def run():
    values = absl_flags.FlagValues()
    read_config = flags.define(values, default)
    parse(values, argv)
    config, workdir = read_config(), buckets.connect(flags.workdir(values))
    with runs(values) as run_config:
      run_config(experiment, config, workdir)

  call(run)


@contextlib.contextmanager
def runs(
  values: absl_flags.FlagValues,
) -> Iterator[Callable[[str, Config, epath.Path], None]]:
  """Connects the processes and handles signals for one run or more.

  Yields:
    A function of an experiment's name, a config and a workdir. It runs, resumes
    or extends that run and writes its report.
  """
  # Not above, since --help does without flax, optax and the report; and not
  # later, since code on disk may change while a run trains.
  from lth_jax import report
  from lth_jax.runner import experiment as experiment_lib

  processes.join(flags.processes(values))
  with stop_signals() as stop:

    def run(experiment: str, config: Config, workdir: epath.Path) -> None:
      experiment_lib.run(config, workdir, experiment, stop)
      written = processes.on_process_0(lambda: str(report.write(workdir)))
      processes.log(f"Report: {written}")

    yield run


def check_data(configs: Iterable[Config]) -> None:
  """Loads the images of several runs, since the last may start after days.

  Raises:
    InputError: a data set is missing or damaged.
  """
  wanted = {
    (config.data.dataset, config.execution.source, config.execution.data_dir)
    for config in configs
  }
  for name, source, data_dir in sorted(wanted, key=str):
    data.load(name, source=source, data_dir=data_dir)


def parse(values: absl_flags.FlagValues, argv: Sequence[str]) -> None:
  """Parses a command line that has flags only; see `parse_words`."""
  flags.check_no_words(parse_words(values, argv))


def parse_words(
  values: absl_flags.FlagValues, argv: Sequence[str]
) -> Sequence[str]:
  """Parses a command line, with the flags that all commands have.

  Given `--help`, prints all flags and exits. `argv` begins with the program's
  name. Returns the arguments that are not flags.

  Raises:
    InputError: a flag is wrong.
  """
  own = flags.group(values, "Help and log")
  absl_flags.DEFINE_bool("help", False, "Lists all flags and ends.", **own)
  absl_flags.DEFINE_integer(
    "verbosity",
    logging.FATAL,
    "Log of the libraries: 1 all, 0 notes, -1 warnings, -2 errors, -3 nothing.",
    **own,
  )
  others = flags.read(values, argv[1:])
  if values.help:
    show(f"{sys.modules['__main__'].__doc__}\n{flags.usage(values)}\n")
    sys.exit()
  logging.use_absl_handler()
  logging.set_verbosity(values.verbosity)
  return others


def show(text: str) -> None:
  """Prints the output of a command; a closed pipe is not an error.

  Raises:
    OSError: standard output cannot be written.
  """
  try:
    print(text, end="", flush=True)
  except BrokenPipeError:
    pass
  except OSError as error:
    raise OSError(error.errno, error.strerror, "standard output") from error


def call(function: Callable[[], None]) -> None:
  """Calls a command's function; reports its errors in one line and exits.

  The exit code is `EXIT_BAD_INPUT` for bad input, a disk that is full or cannot
  be written, and too little memory; `EXIT_STOPPED` after a signal, or when
  another process of the run or an object store is out of reach. Errors in
  writing standard output and standard error change neither.
  """
  _open_streams()
  # Where one array of a save fails, Orbax (0.12.8) closes its event loop, and
  # TensorStore reports each other array to it, which prints a traceback.
  hook = sys.unraisablehook
  sys.unraisablehook = lambda failure: logging.info("%r", failure.exc_value)
  try:
    function()
  except KeyboardInterrupt:
    _exit("Stopped.", EXIT_STOPPED)
  except processes.LostError as error:
    progress.log(
      f"Stopped: another process is gone ({error}); see its own output. "
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
  """Yields an event that a signal sets; a second SIGTERM or Ctrl-C kills.

  For the main thread, the only one that may handle signals. A signal that is
  ignored, as under nohup, stays ignored.
  """
  stop = threading.Event()

  def handle(number, frame):
    del frame
    stop.set()
    # Before the log: until this handler returns, Python drops a second signal
    # that was just given back to the system, and a log may be answered by one.
    # Shells and schedulers send the other signals twice without a reason: a
    # closed terminal sends SIGHUP from the shell and from the kernel.
    for each in before:
      at_once = each in (signal.SIGTERM, signal.SIGINT)
      signal.signal(each, signal.SIG_DFL if at_once else signal.SIG_IGN)
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
  """Returns a message for people, and whether to just start again.

  The message is None for an error of the program itself.
  """
  if failure := buckets.explain(error):
    return _failed(f"the object store: {failure.reason}", failure.passes)
  match error:
    case errors.InputError():
      return str(error), False
    case errors.StorageError():
      return _failed(str(error), error.passes)
    case OSError():
      cause = error.strerror or errors.first_line(error)
      return _failed(f"{error.filename or 'the workdir'}: {cause}", False)
    case MemoryError() | jax.errors.JaxRuntimeError():
      if not _is_out_of_memory(error):
        return None, False
      return (
        f"out of memory ({errors.first_line(error)}); use fewer trials at once "
        "(--trials_per_device, --devices), more --batch_devices, or a smaller "
        "--batch_size. What was saved is stored.",
        False,
      )
  return None, False


def _failed(failure: str, passes: bool) -> tuple[str, bool]:
  """Adds what to do after a disk or an object store failed."""
  remedy = "start" if passes else "mend that and start"
  return (
    f"{failure}; {remedy} the same command to go on. What was saved is stored.",
    passes,
  )


def _is_out_of_memory(error: Exception) -> bool:
  return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _open_streams() -> None:
  """Opens the standard streams that are closed, to nowhere.

  Without this, the next file that is opened would get the number of one, and
  with it all that libraries print.
  """
  for number in range(3):
    try:
      os.fstat(number)
    except OSError:
      os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
  sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
  sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115


def _drop_unwritten() -> None:
  """Drops buffered output: Python would fail to write it and exit with 120."""
  for stream in (sys.stdout, sys.stderr):
    try:
      stream.flush()
    except (OSError, ValueError):
      with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _exit(message: str, code: int) -> NoReturn:
  progress.log(message)
  sys.exit(code)
