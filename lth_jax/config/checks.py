"""The base class of a config's sections, and checks of their fields."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import (
  Any,
  Literal,
  NamedTuple,
  get_args,
  get_origin,
  get_type_hints,
)

from lth_jax import errors


class Range(NamedTuple):
  """Values that a field may have.

  Attributes:
    allows: returns whether a value is in the range.
    text: completes the sentence "must be ...".
  """

  allows: Callable[[Any], bool]
  text: str


def at_least(low: int) -> Range:
  """Returns the range of the numbers from `low` on."""
  return Range(lambda value: value >= low, f"at least {low}")


def within(low: int, high: int) -> Range:
  """Returns the range of the numbers from `low` to `high`."""
  return Range(lambda value: low <= value <= high, f"in [{low}, {high}]")


FRACTION = Range(lambda value: 0 <= value < 1, "in [0, 1)")
SEED = Range(lambda seed: 0 <= seed < 2**32, "in [0, 2**32)")
INDEX = Range(lambda index: 0 <= index < 2**31, "in [0, 2**31)")
# Bounds at which a positive number is one in float32, too.
POSITIVE_FLOAT = Range(
  lambda value: 1e-37 <= value <= 1e38, "a positive number, from 1e-37 to 1e38"
)
ZERO_OR_FLOAT = Range(
  lambda value: value == 0 or POSITIVE_FLOAT.allows(value),
  "0 or positive, from 1e-37 to 1e38",
)


def words(value: str | tuple[str, ...]) -> tuple[str, ...]:
  """Returns the names in a field's value."""
  return (value,) if isinstance(value, str) else value


_WORDS = Range(
  lambda value: (
    all(word.isidentifier() for word in words(value))
    and are_distinct(words(value))
    and len(value) > 0
  ),
  "names with commas between, each once",
)


def field(default: Any, help: str, range: Range | None = None) -> Any:
  """Returns a field of a section, with its help text and range."""
  metadata = {"help": help, "range": range}
  return dataclasses.field(default=default, metadata=metadata)


def choice(default: Any, help: str, names: Sequence[str]) -> Any:
  """Returns a field for a name, or names: built-in ones, or one's own.

  One's own are names of functions in `--module`. Which of them exist is known
  when the run begins.
  """
  help = f"{help} One of {', '.join(names)}, or a function of --module."
  metadata = {"help": help, "range": _WORDS, "names": tuple(names)}
  return dataclasses.field(default=default, metadata=metadata)


class Section:
  """Base of the sections: checks the fields when a section is made."""

  def __post_init__(self):
    for faults in (_wrong_fields(self), self._conflicts()):
      for fault in faults:
        # Texts of a stranger's config.json may have line breaks.
        raise errors.InputError(" ".join(fault.splitlines()))

  def _conflicts(self) -> Iterator[str]:
    """Yields a message for each pair of fields that contradict each other."""
    yield from ()


def are_distinct(items: tuple) -> bool:
  """Returns whether no item occurs twice."""
  return len(set(items)) == len(items)


@functools.cache
def types(section: type) -> dict[str, Any]:
  """Returns {field name: type} of a section."""
  return get_type_hints(section)


def show(value: Any) -> Any:
  """Returns a field's value as its flag is written: lists with commas."""
  many = isinstance(value, tuple | list)
  return ",".join(map(str, value)) if many else value


def _wrong_fields(section: Any) -> Iterator[str]:
  """Yields a message for each field whose value no run can have."""
  kinds = types(type(section))
  for entry in dataclasses.fields(section):
    name, kind = entry.name, kinds[entry.name]
    value, allowed = getattr(section, name), entry.metadata["range"]
    if not _fits(value, kind):
      yield f"--{name} cannot be {value!r}."
    elif get_origin(kind) is Literal and value not in get_args(kind):
      yield errors.unknown(f"value of --{name}", value, get_args(kind))
    elif allowed and value is not None and not allowed.allows(value):
      yield f"--{name}={show(value)}: must be {allowed.text}."


def _fits(value: Any, kind: Any) -> bool:
  """Returns whether a value has a field's type; choices are any strings."""
  if get_origin(kind) is Literal:
    return isinstance(value, str)
  if get_origin(kind) is tuple:
    item = get_args(kind)[0]
    return isinstance(value, tuple) and all(_fits(x, item) for x in value)
  if get_args(kind):  # X | None
    return any(_fits(value, choice) for choice in get_args(kind))
  if isinstance(value, bool):
    return kind is bool
  return isinstance(value, (int, float) if kind is float else kind)
