"""`env.json`: the machines and versions that a run was trained with.

Bits are equal only for equal ones. The file lists them in order; a run that is
resumed elsewhere, with other code or by another command, adds an entry. It also
has that command and the time of its start.
"""

import importlib.metadata
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import time
from typing import Any

import jax
from etils import epath

import lth_jax
from lth_jax.parallel import devices
from lth_jax.parallel.devices import Layout
from lth_jax.report import environments
from lth_jax.runner import settings
from lth_jax.storage import files

_NAME = "env.json"
# What an entry tells besides; a run that goes on elsewhere need not share it.
_START = ("command", "began")
_PROMISE = (
  "Equal bits are promised only for equal code, jax, backend, processor, "
  "number of CPUs, trials per device and devices per batch."
)


def describe() -> dict[str, Any]:
  """Returns all facts about code and machine on which results depend."""
  versions = {
    name: importlib.metadata.version(name)
    for name in ("jax", "jaxlib", "flax", "optax", "numpy")
  }
  return {
    "lth_jax": lth_jax.__version__,
    "commit": _commit(),
    **versions,
    "python": platform.python_version(),
    "machine": platform.machine(),
    "processor": _processor(),
    "backend": jax.default_backend(),
    "device_kind": jax.local_devices()[0].device_kind,
    "cpus": devices.usable_cpus(),
    **settings.recorded(),
  }


def processor() -> dict[str, str]:
  """Returns what Linux tells of a processor's kind; elsewhere nothing."""
  try:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
      lines = [line.strip().split(":", 1) for line in file if ":" in line]
  except OSError:
    return {}
  found = {name.strip(): value.strip() for name, value in reversed(lines)}
  kind = r"flags|Features|vendor_id|cpu family|model|stepping|CPU (?!MHz).*"
  return {name: x for name, x in found.items() if re.fullmatch(kind, name)}


def record(folder: epath.Path, layout: Layout, resumed: bool) -> list[str]:
  """Adds this environment to `env.json` unless the last one was the same.

  Returns notes for the user: what differs from the environment before.

  Raises:
    InputError: the file is damaged.
  """
  now = describe() | layout._asdict()
  seen, notes = _read(folder), []
  last = {k: x for k, x in seen[-1].items() if k not in _START} if seen else {}
  if resumed and not seen:
    notes.append(
      f"note: {folder / _NAME} is gone, so where this run began is not known. "
      f"{_PROMISE}"
    )
  changed = [
    f"{name} was {before}, is {now.get(name, 'not known')}"
    for name, before in last.items()
    if now.get(name) != before
  ]
  if changed:
    notes.append(
      f"note: this run began elsewhere: {'; '.join(changed)}. {_PROMISE}"
    )
  start = _start()
  if now != last or seen[-1].get("command") != start["command"]:
    seen = [*seen, now | start]
  content = files.add_checksum({"environments": seen})
  files.write_json(folder / _NAME, content)
  return notes


def layouts(folder: epath.Path) -> list[Layout]:
  """Returns how trials shared a device in a run so far, the first way first.

  Raises:
    InputError: `env.json` is damaged.
  """
  return [
    Layout(*(each.get(name, 1) for name in Layout._fields))
    for each in _read(folder)
  ]


def _read(folder: epath.Path) -> list[dict[str, Any]]:
  """Returns the environments so far; none if there is no file."""
  path = folder / _NAME
  return environments.read(path) if path.exists() else []


def _start() -> dict[str, str]:
  """Returns the command line of this process, and the time, UTC."""
  command = shlex.join(sys.orig_argv)
  if "ipykernel" in command:  # whose arguments differ at each start
    command = "a notebook"
  began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
  return dict(zip(_START, (command, began), strict=True))


def _commit() -> str | None:
  """Returns the commit of the clone, '-dirty' if files differ from it."""
  root = pathlib.Path(lth_jax.__file__).parents[1]
  if not (root / ".git").exists():  # installed, perhaps inside another clone
    return None
  command = "git describe --always --dirty --abbrev=40 --exclude=*"
  try:
    done = subprocess.run(
      command.split(), cwd=root, capture_output=True, text=True
    )
  except OSError:  # no git
    return None
  return done.stdout.strip() or None


def _processor() -> str:
  """Names the processor's vector instructions: sums depend on their width."""
  if not (found := processor()):
    return platform.processor()
  flags = found.get("flags") or found.get("Features") or ""
  vector = ("avx", "fma", "amx", "asimd", "sve")
  return " ".join(sorted(x for x in flags.split() if x.startswith(vector)))
