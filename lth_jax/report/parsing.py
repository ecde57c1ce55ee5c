"""Parses the JSON files of a run; damage is an error that names the remedy."""

from collections.abc import Callable
from typing import Any, TypeVar

from etils import epath

from lth_jax import errors
from lth_jax.storage import files

FORMAT = 3
# Raised by parsing a file that is not as it was written.
MALFORMED = (
  *(KeyError, TypeError, ValueError, AttributeError, OverflowError),
  *(IndexError, RecursionError),
)
_T = TypeVar("_T")


def load(
  path: epath.Path,
  parse: Callable[[Any], _T],
  remedy: str,
  version: int | None = FORMAT,
) -> _T:
  """Reads and parses a JSON file.

  Args:
    path: of the file.
    parse: takes the content; an exception of `MALFORMED` means damage.
    remedy: what the user can do about a damaged file.
    version: the format that the file must have, None for a file without one.

  Raises:
    errors.InputError: the file is damaged, or has another format.
  """
  try:
    content = files.parse(files.read(path).decode())
    if version is not None and content["format"] != version:
      raise errors.InputError(
        f"format {content['format']!r}, but this version reads format "
        f"{version}; use the version of lth_jax that wrote the run."
      )
    return parse(content)
  except errors.InputError as error:
    raise errors.InputError(f"{path}: {error}") from error
  except (*MALFORMED, OSError) as error:
    raise errors.InputError(
      f"{path}: damaged ({cause(error)}); {remedy}."
    ) from error


def cause(error: Exception) -> str:
  """Returns one line that tells why a file could not be parsed.

  Args:
    error: the exception; a KeyError is about the field that is missing.
  """
  text = f"no {error}" if isinstance(error, KeyError) else str(error)
  return " ".join(text.split())
