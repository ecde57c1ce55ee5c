"""How the records of a run came about: when, on what, in how much time."""

from typing import Any

from etils import epath

from lth_jax import errors
from lth_jax.report import claims, parsing, records
from lth_jax.storage import files


def read(workdir: epath.Path) -> dict[str, Any]:
  """Returns facts about a run that are not in its records.

  Returns:
    `seconds` of training, all trials added up; the last `environment`; and
    `begun`, the time at which the first trial began, unless a trial is older
    than its record of that (before 2026-11-27).

  Raises:
    InputError: a file is missing or damaged.
  """
  path = workdir / "env.json"
  remedy = "remove it and start the run again, which writes it again"
  try:
    environment = _parse(path)["environments"][-1]
    seconds, begins = 0.0, []
    for commit in records.committed(workdir):
      path = commit.parent / "timing.json"
      remedy = f"remove {path.parent} and start the run again, which trains it"
      timing = _parse(path)
      seconds += timing["seconds"]
      begins.append(timing.get("finished", 0) - timing["seconds"])
  except (*parsing.MALFORMED, OSError) as error:
    raise errors.InputError(
      f"{path}: damaged ({parsing.cause(error)}); {remedy}."
    ) from error
  about = {"seconds": round(seconds), "environment": environment}
  if min(begins) > 0:
    about["begun"] = claims.timestamp(min(begins))
  return about


def _parse(path: epath.Path) -> Any:
  return files.parse(files.read(path).decode())
