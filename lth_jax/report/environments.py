"""The environments that a run was trained in, as its env.json has them."""

from typing import Any

from etils import epath

from lth_jax.report import parsing
from lth_jax.storage import files


def read(path: epath.Path) -> list[dict[str, Any]]:
  """Returns the environments of an env.json, in the order of their use.

  Raises:
    InputError: the file is missing or damaged.
  """
  return parsing.load(
    path,
    _parse,
    "remove it and start the run again, which writes it again",
    version=None,
  )


def software(path: epath.Path) -> tuple[str, ...]:
  """Returns the versions of lth_jax in an env.json; none without the file.

  Raises:
    InputError: the file is damaged.
  """
  found = read(path) if path.exists() else []
  return tuple(dict.fromkeys(filter(None, map(_version, found))))


def _parse(content: dict[str, Any]) -> list[dict[str, Any]]:
  stored = files.verify_checksum(content)
  found = [dict(each) for each in stored["environments"]]
  if not found:
    raise ValueError("no environment")
  return found


def _version(environment: dict[str, Any]) -> str:
  if "lth_jax" not in environment:  # of a run of an older version
    return ""
  parts = f"lth_jax {environment['lth_jax']}", environment.get("commit")
  return ", commit ".join(filter(None, parts))
