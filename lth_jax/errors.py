"""The one exception that is meant for a person, not for a debugger."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
  """Bad input from outside: a flag, a file, a folder, a damaged run.

  Its message is one line that says what is wrong, where, and what to do. The
  commands print it without a traceback and exit with a code that is not 0.
  """


class StorageError(Exception):
  """A disk or an object store failed; what was stored before stays.

  Its message is one line: where, and the cause in the words of who failed.

  Attributes:
    passes: whether the same may succeed later, without anybody's help.
  """

  def __init__(self, message: str, passes: bool = False):
    super().__init__(message)
    self.passes = passes


class StoppedError(Exception):
  """The run was asked to stop; what was done is stored."""


def first_line(error: Exception) -> str:
  """Returns the first line of what an error says, to be put into a sentence.

  Args:
    error: of any kind; one that says nothing gives the name of its class.

  >>> first_line(ValueError("no such axis.")), first_line(MemoryError())
  ('no such axis', 'MemoryError')
  """
  return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def unknown(what: str, name: str, known: Iterable[str]) -> str:
  """Returns the message for a name that is none of those that are known.

  Args:
    what: is named, such as "field".
    name: as it was given.
    known: what it might have been; one that is close is suggested.

  >>> unknown("field", "sede", ["seed", "steps"])
  "Unknown field: 'sede'; did you mean 'seed'? known are seed, steps."
  """
  known = list(known)
  close = difflib.get_close_matches(name, known, n=1)
  hint = f"did you mean '{close[0]}'? " if close else ""
  return f"Unknown {what}: '{name}'; {hint}known are {', '.join(known)}."
