"""Processes that work on one run, and what they tell each other.

All of them run the same program on the same trials and meet at fixed places:
when a run begins and ends, when trials are handed out, and at each pause.
`merge` and all that is built on it are such places: all processes must call
them, in one order. The first process alone writes. With one process nothing is
exchanged.
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
  """Another process cannot be reached any more; this one cannot go on."""


def join(asked: configs.Processes) -> None:
  """Connects this process with the others; before JAX's backend starts.

  Args:
    asked: whether to, and what JAX is not to find out by itself.

  Raises:
    InputError: the others are not known, or cannot be reached.

  >>> join(configs.Processes())  # one process by itself
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
  except Exception as error:  # whatever the cluster's own packages raise
    raise errors.InputError(
      f"--distributed=auto: {errors.first_line(error)}; JAX finds the other "
      "processes on TPUs, under Slurm's srun and, with the package kubernetes, "
      "on Kubernetes; else give --coordinator_address, --num_processes and "
      "--process_id."
    ) from error


def several() -> bool:
  """Says whether there is more than this one; starts no backend if not.

  >>> several()
  False
  """
  return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
  """Says whether this process is the one that writes and speaks.

  >>> is_first()
  True
  """
  return not several() or jax.process_index() == 0


def log(message: str) -> None:
  """Prints a line on standard error, from the first process only.

  Args:
    message: the line.

  >>> import sys
  >>> with contextlib.redirect_stderr(sys.stdout):
  ...   log("Report: runs/first/report/index.html")
  Report: runs/first/report/index.html
  """
  if is_first():
    progress.log(message)


def merge(parts: Sequence[PyTree | None], like: PyTree) -> list[PyTree]:
  """Gives every process what each of them has, bit for bit.

  Args:
    parts: as many everywhere, each from one process and None in the others.
    like: pytree of arrays or shapes, what each part looks like.

  Returns:
    All parts, as NumPy arrays where there are several processes.

  >>> merge([{"w": 1.0}, {"w": 2.0}], like={"w": np.zeros(())})
  [{'w': 1.0}, {'w': 2.0}]
  """
  if not several():
    return list(parts)
  leaves, structure = jax.tree.flatten(like)
  ends = np.cumsum([0] + [_num_bytes(leaf) for leaf in leaves]).tolist()
  rows = np.zeros((len(parts), -(-ends[-1] // 4) * 4), np.uint8)
  for row, part in zip(rows, parts):
    if part is not None:
      own = [
        np.asarray(x, y.dtype) for x, y in zip(jax.tree.leaves(part), leaves)
      ]
      for leaf, begin, end in zip(own, ends, ends[1:]):
        row[begin:end] = np.frombuffer(leaf.tobytes(), np.uint8)
  rows = _total(rows.view(np.int32)).view(np.uint8)
  return [
    structure.unflatten(
      np.frombuffer(row[begin:end].tobytes(), leaf.dtype).reshape(leaf.shape)
      for leaf, begin, end in zip(leaves, ends, ends[1:])
    )
    for row in rows
  ]


def gather(array: np.ndarray) -> list[np.ndarray]:
  """Returns what each process has, the first one's first.

  Args:
    array: of one shape everywhere.

  >>> gather(np.array([3.0]))
  [array([3.])]
  """
  parts: list[Any] = [None] * (jax.process_count() if several() else 1)
  parts[jax.process_index() if several() else 0] = array
  return merge(parts, array)


def any_of(*here: bool) -> tuple[bool, ...]:
  """Says of each condition whether it holds in any process.

  Args:
    here: whether it does in this one.

  >>> any_of(True, False)
  (True, False)
  """
  if not several():
    return here
  return tuple(np.any(gather(np.array(here)), axis=0).tolist())


def agree(values: Callable[[], dict[str, Any]]) -> None:
  """Checks that all processes have the same, since each relies on it.

  Args:
    values: returns {name: what JSON can hold}; called if there are several
      processes.

  Raises:
    InputError: names what differs, and the process in which it does.

  >>> agree(lambda: {"--steps": 100})
  """
  if not several():
    return
  known = values()
  names = {"the version of lth_jax": list(known)}
  _check_equal(names)  # first, since what follows has a shape for them
  _check_equal(known)


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


@contextlib.contextmanager
def together() -> Iterator[None]:
  """What fails here in one process ends all, each with a line that says it.

  Raises:
    InputError: it failed elsewhere.

  >>> with together():
  ...   number = 1
  """
  if not several():
    yield
    return
  failure = None
  try:
    yield
  except Exception as error:  # raised again once the others know
    failure = error
  text = f"{type(failure).__name__}: {failure}" if failure else ""
  for index, message in enumerate(_gather_texts(text)):
    if failure is None and message:
      raise errors.InputError(f"process {index} failed: {message}")
  if failure is not None:
    raise failure


def lead(function: Callable[[], Any]) -> Any:
  """Calls a function in the first process and gives its result to all.

  Args:
    function: returns what JSON can hold.

  Raises:
    InputError: it failed there.

  >>> lead(lambda: [1, 2])
  [1, 2]
  """
  if not several():
    return function()
  with together():
    text = json.dumps(function()) if is_first() else ""
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


def _gather_texts(text: str) -> list[str]:
  data = np.frombuffer(text.encode(), np.uint8)
  sizes = [int(size) for size in gather(np.array(len(data), np.int32))]
  padded = np.zeros(max(sizes), np.uint8)
  padded[: len(data)] = data
  if not len(padded):
    return [""] * len(sizes)
  return [
    found[:size].tobytes().decode()
    for found, size in zip(gather(padded), sizes)
  ]


def _total(numbers: np.ndarray) -> np.ndarray:
  """Adds int32 numbers over all processes; exact, where each has its own."""
  sharding, add = _adder()
  own = jax.make_array_from_process_local_data(sharding, numbers[None])
  try:
    return np.array(add(own))
  except (RuntimeError, ValueError) as error:  # as the backend has it
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


def _num_bytes(leaf) -> int:
  return leaf.size * np.dtype(leaf.dtype).itemsize
