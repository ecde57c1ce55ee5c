"""The exceptions of the commands, with messages for people."""

import difflib
from collections.abc import Iterable


class _OneLineError(Exception):
  """An exception whose message is all that a person needs."""

  def _render_traceback_(self) -> list[str]:
    # What a notebook shows of it.
    return [f"{type(self).__name__}: {self}"]


class InputError(_OneLineError, ValueError):
  """Wrong input: a flag, a file, a folder, a damaged run.

  Its message is one line: what is wrong, where, and what to do. The commands
  print it without a traceback and exit with a code that is not 0.
  """


class StorageError(_OneLineError):
  """A disk or an object store failed; results stored before are intact.

  Its message is one line: where it failed, and the system's own message.

  Attributes:
    passes: whether a later attempt may succeed without anybody's help.
  """

  def __init__(self, message: str, passes: bool = False):
    super().__init__(message)
    self.passes = passes


class StoppedError(_OneLineError):
  """The run was asked to stop; its results so far are stored."""

  def __str__(self) -> str:
    return "Stopped; what was done is stored. Run the same again to go on."


def first_line(error: BaseException) -> str:
  """Returns the first line of an error's message, or the name of its class.

  >>> first_line(ValueError("no such axis.")), first_line(MemoryError())
  ('no such axis', 'MemoryError')
  """
  return (str(error) or type(error).__name__).splitlines()[0].rstrip(".:")


def unknown(what: str, name: str, known: Iterable[str]) -> str:
  """Returns the message for a name that is not known.

  Args:
    what: kind of the named thing, such as "field".
    name: the given name.
    known: the known names; a similar one is suggested.

  >>> unknown("field", "sede", ["seed", "steps"])
  "Unknown field: 'sede'; did you mean 'seed'? known are seed, steps."
  """
  known = list(known)
  close = difflib.get_close_matches(name, known, n=1)
  hint = f"did you mean '{close[0]}'? " if close else ""
  return f"Unknown {what}: {name!r}; {hint}known are {', '.join(known)}."
