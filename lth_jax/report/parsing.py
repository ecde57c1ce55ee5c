"""Parses the JSON files of a run; damage is an error that names the remedy."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from etils import epath

from lth_jax import errors
from lth_jax.storage import files

# Raised by parsing a file that is not as it was written.
MALFORMED = (
  *(KeyError, TypeError, ValueError, AttributeError, ArithmeticError),
  *(IndexError, RecursionError),
)
_LARGEST = 2**53  # of all that is counted: float64 holds it exactly
_COUNTS = ("replicate", "round", "draw", "counted", "step", "test_steps")
_FRACTIONS = ("density", "test_accuracy", "train_accuracy", "valid_accuracy")
# The largest value of a field; the smallest is 0.
_LIMITS = {
  **dict.fromkeys((*_COUNTS, "valid_steps"), _LARGEST),
  **dict.fromkeys((*_FRACTIONS, "test_curve"), 1),
}
_T = TypeVar("_T")


def load(
  path: epath.Path,
  parse: Callable[[Any], _T],
  remedy: str,
  version: int | None = files.FORMAT,
) -> _T:
  """Reads and parses a JSON file.

  Args:
    path: of the file.
    parse: takes the content; an exception of `MALFORMED` means damage.
    remedy: what the user can do about a damaged file.
    version: the format that the file must have, None for a file without one.

  Raises:
    errors.InputError: the file is missing, damaged, or has another format.
    OSError: it cannot be read, which tells nothing about its content.
  """
  try:
    content = files.parse(path.read_bytes().decode())
    if version is not None and content["format"] != version:
      raise errors.InputError(
        f"format {content['format']!r}, but this version reads format "
        f"{version}; use the version of lth_jax that wrote the run."
      )
    return parse(content)
  except errors.InputError as error:
    raise errors.InputError(f"{path}: {error}") from error
  except (*MALFORMED, FileNotFoundError) as error:
    raise errors.InputError(
      f"{path}: damaged ({cause(error)}); {remedy}."
    ) from error


def cause(error: Exception) -> str:
  """Returns one line that tells why a file could not be parsed."""
  text = f"no {error}" if isinstance(error, KeyError) else str(error)
  return " ".join(text.split())


def check_numbers(result: Any) -> None:
  """Checks that a training can give the numbers of a `records.Result`.

  Checksums do not show what a stranger wrote, and a report may be of his run.

  Raises:
    ValueError: names the number, or the arm is no text.
  """
  if not isinstance(result.arm, str):
    raise ValueError("arm is no text")
  for name in ("replicate", "round", "draw", "counted"):
    if not isinstance(getattr(result, name), int):
      raise ValueError(f"{name} is no whole number")
  for group in (result, result.early_stop, result.end):
    for name, limit in _LIMITS.items():
      values = np.asarray(getattr(group, name, ()), float)
      if (values < 0).any() or (values > limit).any():
        raise ValueError(f"{name} is outside [0, {limit:g}]")
  if not result.density > 0:
    raise ValueError("density is not positive")
  for kind in ("test", "valid"):
    steps, curve = (getattr(result, f"{kind}_{x}") for x in ("steps", "curve"))
    if len(steps) != len(curve):
      raise ValueError(f"{kind}_steps and {kind}_curve differ in length")
