"""How the records of a run came about: when, how, on what, in how much time."""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from etils import epath

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.parallel import progress
from lth_jax.report import claims, environments, parsing, records, tables

_LATEST = 2**40  # seconds, far from any date
_HEADER = ("Began", "Command", "Code", "Versions", "Device")
_VERSIONS = ("jax", "flax", "optax", "numpy", "python")


class Provenance(NamedTuple):
  """What a page tells of how its run was made.

  Attributes:
    run_id: of the config, as in config.json.
    duration: of training, all trials added up, such as "1:02:03"; "" if a
      time is missing or damaged.
    ended: time at which the last training ended, "" likewise.
    table: a row for each start by another command, with other code or on
      another machine.
  """

  run_id: str
  duration: str
  ended: str
  table: tables.Table


def describe(workdir: epath.Path, run: records.Run) -> Provenance:
  """Returns what is known of how a run was made; no number depends on it.

  Raises:
    InputError: env.json is damaged.
  """
  duration = ended = ""
  with contextlib.suppress(errors.InputError):
    timings = [_timing(commit) for commit in records.committed(workdir)]
    duration = progress.duration(sum(seconds for seconds, _ in timings))
    last = max(end for _, end in timings)
    ended = claims.timestamp(last) if last else ""
  path = workdir / "env.json"
  found = environments.read(path) if path.exists() else []
  return Provenance(
    run_id=configs.run_id(run.typed_config),
    duration=duration,
    ended=ended,
    table=tables.Table(_HEADER, tuple(map(_row, found))),
  )


def read(workdir: epath.Path) -> dict[str, Any]:
  """Returns facts about a run that are not in its records.

  Returns:
    `seconds` of training, all trials added up; the last `environment` without
    its command, which names folders; and `begun`, the time at which the first
    trial began, unless a trial is older than its record of that (before
    2026-11-27).

  Raises:
    InputError: a file is missing or damaged.
  """
  environment = environments.read(workdir / "env.json")[-1]
  environment.pop("command", None)
  timings = [_timing(commit) for commit in records.committed(workdir)]
  begun = min(end - seconds for seconds, end in timings)
  about = {
    "seconds": round(sum(seconds for seconds, _ in timings)),
    "environment": environment,
  }
  return about | ({"begun": claims.timestamp(begun)} if begun > 0 else {})


def _timing(commit: epath.Path) -> tuple[float, float]:
  """Returns the seconds of a training, and its end in seconds since 1970."""
  return parsing.load(
    commit.with_name("timing.json"),
    _parse_timing,
    f"remove {commit.parent} and start the run again, which trains it",
    version=None,
  )


def _parse_timing(content: Mapping[str, Any]) -> tuple[float, float]:
  seconds, finished = content["seconds"], content.get("finished", 0)
  if not (0 <= seconds < _LATEST and 0 <= finished < _LATEST):
    raise ValueError("no times of a training")
  return seconds, finished


def _row(environment: Mapping[str, Any]) -> tuple[str, ...]:
  def shown(name: str) -> str:
    return str(environment.get(name) or tables.DASH)

  commit = environment.get("commit")
  code = f"lth_jax {shown('lth_jax')}" + f", commit {commit}" * bool(commit)
  versions = ", ".join(f"{name} {shown(name)}" for name in _VERSIONS)
  device = f"{shown('device_kind')}, {shown('cpus')} CPUs"
  return shown("began"), shown("command"), code, versions, device
