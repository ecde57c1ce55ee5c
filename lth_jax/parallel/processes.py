"""The processes of a run, and all that they send each other.

All processes run the same program on the same trials. Every function here but
`join`, `is_distributed`, `is_process_0` and `log` is collective: all processes
must call it, in one order. Process 0 alone writes files. A single process sends
nothing.

Everything is sent by one exact sum over one device of each process. The
functions of `jax.experimental.multihost_utils` hold and send a copy on every
local device, and on CPU there is a device a core: with 96 of them, parts of 2
MB took 494 MB and 0.9 s instead of 13 MB and 0.02 s. When a process has ended,
the error in the others depends on the backend: it becomes a `LostError`. When
one process raises, the others would wait for it forever: `raise_in_all` raises
in all of them.
"""

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.parallel import devices, progress

PyTree = Any
# After so long without a sign of life of one process, JAX ends the others.
HEARTBEAT_SECONDS = 20
# How long a process that ends waits for the others to do so.
_SHUTDOWN_SECONDS = 30


class LostError(Exception):
  """Another process cannot be reached any more; this one has to end."""


def join(asked: configs.Processes) -> None:
  """Connects this process with the others; before JAX's backend starts.

  Args:
    asked: whether to connect, and what JAX is not to find out by itself.

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
  """Prints a line on standard error, in process 0 only.

  Args:
    message: the line.
  """
  if is_process_0():
    progress.log(message)


def exchange(
  parts: Sequence[PyTree | None], owners: Sequence[int], like: PyTree
) -> list[PyTree]:
  """Sends parts from the processes that own them to all others, bit for bit.

  Args:
    parts: an owner's own parts are pytrees; the others are not looked at.
    owners: of each part, the index of its process; the same everywhere.
    like: pytree of arrays or shapes, the form of every part.

  Returns:
    All parts, as NumPy arrays where there are several processes.
  """
  if not is_distributed():
    return list(parts)
  here = jax.process_index()
  words = [
    _to_words(part if owner == here else None, like)
    for part, owner in zip(parts, owners)
  ]
  return [_from_words(row, like) for row in _total(np.stack(words))]


def gather(array: np.ndarray) -> np.ndarray:
  """Returns the arrays of all processes, process 0's first: `[P, ...]`.

  Args:
    array: of one shape and type everywhere.
  """
  if not is_distributed():
    return array[None]
  num = jax.process_count()
  return np.stack(exchange([array] * num, range(num), array))


def any_of(*here: bool) -> tuple[bool, ...]:
  """Returns for each condition whether it is true in any process.

  Args:
    here: whether it is in this one.
  """
  return tuple(map(bool, np.any(gather(np.array(here)), axis=0)))


def check_equal(values: Callable[[], dict[str, Any]]) -> None:
  """Checks that all processes have the same values.

  Args:
    values: returns {name: JSON}; called if there are several processes.

  Raises:
    InputError: names the value that differs, and the process.
  """
  if not is_distributed():
    return
  known = values()
  names = {"the version of lth_jax": list(known)}
  _check_equal(names)  # first, since the next array has a row for each name
  _check_equal(known)


@contextlib.contextmanager
def raise_in_all() -> Iterator[None]:
  """Raises an error of one process in all of them.

  Raises:
    InputError: names the process in which the context failed.
  """
  if not is_distributed():
    yield
    return
  failure = None
  try:
    yield
  except Exception as error:  # raised below, once the others know of it
    failure = error
  text = f"{type(failure).__name__}: {failure}" if failure else ""
  for index, message in enumerate(_gather_texts(text)):
    if failure is None and message:
      raise errors.InputError(f"process {index} failed: {message}")
  if failure is not None:
    raise failure


def on_process_0(function: Callable[[], Any]) -> Any:
  """Calls a function in process 0 and returns its result in all.

  Args:
    function: returns JSON.

  Raises:
    InputError: it failed there.
  """
  if not is_distributed():
    return function()
  with raise_in_all():
    text = json.dumps(function()) if is_process_0() else ""
  return json.loads(_gather_texts(text)[0])


def _check(asked: configs.Processes) -> None:
  address = asked.coordinator_address
  num, index = asked.num_processes, asked.process_id
  given = {
    "--coordinator_address": address,
    "--num_processes": num,
    "--process_id": index,
  }
  named = [name for name, value in given.items() if value is not None]
  if asked.distributed == "off" and named:
    raise errors.InputError(
      f"{named[0]}: several processes take --distributed=auto as well."
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


def _check_equal(known: dict[str, Any]) -> None:
  digests = [
    hashlib.sha256(json.dumps(known[name]).encode()).digest() for name in known
  ]
  found = gather(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32))
  for index, each in enumerate(found):
    for name, same in zip(known, (each == found[0]).all(axis=1)):
      if not same:
        raise errors.InputError(
          f"--distributed: {name} of process {index} is not that of process 0; "
          "all need the same flags, versions, images and kind of machine, and "
          "a --workdir that all of them see."
        )


def _gather_texts(text: str) -> list[str]:
  data = np.frombuffer(text.encode(), np.uint8)
  sizes = gather(np.array(len(data), np.int32)).tolist()
  if not any(sizes):
    return [""] * len(sizes)
  rows = gather(np.pad(data, (0, max(sizes) - len(data))))
  return [row[:size].tobytes().decode() for row, size in zip(rows, sizes)]


def _to_words(part: PyTree | None, like: PyTree) -> np.ndarray:
  """Returns the bytes of a part as int32 numbers, zeros for None.

  Integers keep every bit in a sum with zeros; floats would lose the sign of
  -0.0, and JAX would round float64 to float32.
  """
  leaves, structure = jax.tree.flatten(like)
  sizes = [_num_bytes(leaf) for leaf in leaves]
  words = np.zeros(-(-sum(sizes) // 4), np.int32)
  if part is not None:
    content = b"".join(
      np.ascontiguousarray(array, leaf.dtype).tobytes()
      for array, leaf in zip(structure.flatten_up_to(part), leaves)
    )
    words.view(np.uint8)[: sum(sizes)] = np.frombuffer(content, np.uint8)
  return words


def _from_words(words: np.ndarray, like: PyTree) -> PyTree:
  leaves, structure = jax.tree.flatten(like)
  ends = np.cumsum([0, *map(_num_bytes, leaves)])
  content = words.view(np.uint8)
  return structure.unflatten(
    np.frombuffer(content[begin:end].tobytes(), leaf.dtype).reshape(leaf.shape)
    for leaf, begin, end in zip(leaves, ends, ends[1:])
  )


def _num_bytes(leaf) -> int:
  return leaf.size * np.dtype(leaf.dtype).itemsize


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
