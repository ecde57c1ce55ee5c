"""The processes of a run, and all that they send each other.

All processes run the same program on the same trials. Every function here but
`join`, `is_distributed`, `is_process_0` and `log` is collective: all processes
must call it, in one order. Process 0 alone writes files. A single process sends
nothing.

Values are pickled (the processes of a run trust each other) and sent by one
exact sum over one device of each process. The functions of
`jax.experimental.multihost_utils` hold and send a copy on every local device,
and on CPU there is a device a core: with 96 of them, parts of 2 MB took 494 MB
and 0.9 s instead of 13 MB and 0.02 s. When a process has ended, the error in
the others depends on the backend: it becomes a `LostError`. When one process
raises, the others would wait for it forever: `raise_in_all` raises in all of
them.
"""

import contextlib
import functools
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.parallel import progress
from lth_jax.storage import buckets

# After so long without a sign of life of one process, JAX ends the others.
HEARTBEAT_SECONDS = 20
# How long a process that ends waits for the others to do so.
_SHUTDOWN_SECONDS = 30


class LostError(Exception):
  """Another process cannot be reached any more; this one has to end."""


def join(asked: configs.Processes) -> None:
  """Connects this process with the others; before JAX's backend starts.

  Raises:
    InputError: the others are not known, or cannot be reached.
  """
  _check(asked)
  if asked.distributed == "off":
    return
  progress.log(
    f"Waiting up to {asked.join_seconds} s for the other processes; JAX aborts "
    "if they do not come."
  )
  from lth_jax.parallel import devices  # loads flax and optax

  devices.split_host()
  try:
    jax.distributed.initialize(
      asked.coordinator_address,
      asked.num_processes,
      asked.process_id,
      initialization_timeout=asked.join_seconds,
      heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
      shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
    )
  except Exception as error:  # of any type, from the cluster's own packages
    raise errors.InputError(
      f"--distributed=auto: {errors.first_line(error)}; JAX finds the other "
      "processes on TPUs, under Slurm's srun and, with the package kubernetes, "
      "on Kubernetes; else give --coordinator_address, --num_processes and "
      "--process_id."
    ) from error


def is_distributed() -> bool:
  """Returns whether there are several processes; starts no backend if not."""
  return jax.distributed.is_initialized() and jax.process_count() > 1


def is_process_0() -> bool:
  """Returns whether this process is the one that writes and logs."""
  return not is_distributed() or jax.process_index() == 0


def log(message: str) -> None:
  """Prints a line on standard error, in process 0 only."""
  if is_process_0():
    progress.log(message)


def exchange(parts: Sequence[Any]) -> list[Any]:
  """Sends each part from the process that owns it to all others.

  Args:
    parts: a list of equal length in all processes. A part is None in all
      processes but its owner. Arrays are NumPy's.

  Returns:
    The list with the owner's part in each place, bit for bit.
  """
  if not is_distributed():
    return list(parts)
  sent = [_to_words(part) for part in parts]
  sizes = _total(np.array([len(words) for words in sent], np.int32))
  ends = np.cumsum(sizes)
  # Rounded up, since each length is compiled once.
  buffer = np.zeros(-(-sizes.sum() // 256) * 256, np.int32)
  for end, words in zip(ends, sent):
    buffer[end - len(words) : end] = words
  *received, _ = np.split(_total(buffer), ends)
  return [
    pickle.loads(words.data) if words.size else None for words in received
  ]


def gather(value: Any) -> list[Any]:
  """Returns the values of all processes, process 0's first."""
  if not is_distributed():
    return [value]
  here = jax.process_index()
  num = jax.process_count()
  return exchange([value if index == here else None for index in range(num)])


def any_of(*here: bool) -> tuple[bool, ...]:
  """Returns for each condition whether it is true in any process."""
  return tuple(map(any, zip(*gather(here))))


def check_equal(values: Callable[[], dict[str, Any]]) -> None:
  """Checks that all processes have the same values.

  Args:
    values: returns {name: value}; is called if there are several processes.

  Raises:
    InputError: names the value that differs, and the process.
  """
  if not is_distributed():
    return
  first, *others = gather(values())
  for index, other in enumerate(others, 1):
    for name in {**first, **other}:
      if first.get(name, "unknown") != other.get(name, "unknown"):
        raise errors.InputError(
          f"--distributed: {name} of process {index} is not that of process 0; "
          "all need the same flags, versions, images and kind of machine, and "
          "a --workdir that all of them see."
        )


@contextlib.contextmanager
def raise_in_all() -> Iterator[None]:
  """Raises an error of one process in all of them.

  Raises:
    StoppedError, StorageError, InputError: names the process in which the
      context failed; of a kind with which a launcher starts all processes again
      if it would start that one again.
  """
  if not is_distributed():
    yield
    return
  failure = None
  try:
    yield
  except Exception as error:  # raised below, once the others know of it
    failure = error
  for error in gather(failure and _for_others(failure)):
    if failure is None and error:
      raise error
  if failure is not None:
    raise failure


def _for_others(error: Exception) -> Exception:
  """Returns what an error of this process is in the others."""
  if isinstance(error, errors.StoppedError):
    return errors.StoppedError()
  name = f"process {jax.process_index()}"
  text = f"{name} failed: {type(error).__name__}: {error}"
  failure = buckets.explain(error)
  if failure.passes if failure else getattr(error, "passes", False):
    return errors.StorageError(text, passes=True)
  return errors.InputError(text)


def on_process_0(function: Callable[[], Any]) -> Any:
  """Calls a function in process 0 and returns its result in all.

  Raises:
    StoppedError, StorageError, InputError: it failed there; as `raise_in_all`.
  """
  if not is_distributed():
    return function()
  with raise_in_all():
    result = function() if is_process_0() else None
  return exchange([result])[0]


def _check(asked: configs.Processes) -> None:
  address = asked.coordinator_address
  num, index = asked.num_processes, asked.process_id
  names = ("coordinator_address", "num_processes", "process_id")
  named = [name for name in names if getattr(asked, name) is not None]
  if asked.distributed == "off" and named:
    raise errors.InputError(
      f"--{named[0]}: several processes take --distributed=auto as well."
    )
  if address is not None and not re.fullmatch(r".+:\d+", address):
    raise errors.InputError(
      f"--coordinator_address={address}: must be host:port."
    )
  if num is not None and index is not None and not 0 <= index < num:
    raise errors.InputError(
      f"--process_id={index}: with --num_processes={num} it must be in "
      f"[0, {num})."
    )
  if asked.join_seconds < 1:
    raise errors.InputError(
      f"--join_seconds={asked.join_seconds}: must be 1 or more."
    )


def _to_words(part: Any) -> np.ndarray:
  """Returns a pickled part as int32 numbers; none for None.

  Integers keep every bit in a sum with zeros; floats would lose the sign of
  -0.0, and JAX would round float64 to float32.
  """
  content = b"" if part is None else pickle.dumps(part)
  return np.frombuffer(content + bytes(-len(content) % 4), np.int32)


def _total(numbers: np.ndarray) -> np.ndarray:
  """Returns the sum of int32 arrays over all processes."""
  sharding, add = _adder()
  own = jax.make_array_from_process_local_data(sharding, numbers[None])
  try:
    return np.array(add(own))
  except (RuntimeError, ValueError) as error:  # depends on the backend
    if "RESOURCE_EXHAUSTED" in str(error):
      raise
    raise LostError(errors.first_line(error)) from error


@functools.cache
def _adder():
  first = {x.process_index: x for x in reversed(jax.devices())}
  mesh = Mesh(
    np.array([first[index] for index in sorted(first)]),
    ("process",),
    axis_types=(AxisType.Auto,),
  )
  add = jax.jit(
    lambda x: x.sum(0, dtype=x.dtype),
    out_shardings=NamedSharding(mesh, PartitionSpec()),
  )
  return NamedSharding(mesh, PartitionSpec("process")), add
