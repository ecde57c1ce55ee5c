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
    times = [_times(commit) for commit in records.committed(workdir)]
    duration = progress.duration(sum(each.seconds for each in times))
    last = max(each.finished for each in times)
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
  times = [_times(commit) for commit in records.committed(workdir)]
  begun = min(each.began for each in times)
  about = {
    "seconds": round(sum(each.seconds for each in times)),
    "environment": environment,
  }
  return about | ({"begun": claims.timestamp(begun)} if begun > 0 else {})


class _Times(NamedTuple):
  """Of a training: beginning and end in seconds since 1970, 0 if unknown."""

  began: float
  seconds: float
  finished: float


def _times(commit: epath.Path) -> _Times:
  return parsing.load(
    commit.with_name("timing.json"),
    _parse_times,
    f"remove {commit.parent} and start the run again, which trains it",
    version=None,
  )


def _parse_times(content: Mapping[str, Any]) -> _Times:
  seconds, finished = content["seconds"], content.get("finished", 0)
  # Before 2026-11-28 a training had no record of its beginning, and `seconds`
  # are those since the last start of the run.
  began = content.get("began") or max(0, finished - seconds)
  found = _Times(began, seconds, finished)
  if not all(0 <= each < _LATEST for each in found):
    raise ValueError("no times of a training")
  return found


def _row(environment: Mapping[str, Any]) -> tuple[str, ...]:
  def shown(name: str) -> str:
    return str(environment.get(name) or tables.DASH)

  commit = environment.get("commit")
  code = f"lth_jax {shown('lth_jax')}" + f", commit {commit}" * bool(commit)
  versions = ", ".join(f"{name} {shown(name)}" for name in _VERSIONS)
  device = f"{shown('device_kind')}, {shown('cpus')} CPUs"
  return shown("began"), shown("command"), code, versions, device
