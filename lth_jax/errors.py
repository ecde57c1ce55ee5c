"""The one exception that is meant for a person, not for a debugger."""


class InputError(ValueError):
  """Bad input from outside: a flag, a file, a folder, a damaged run.

  Its message is one line that says what is wrong, where, and what to do. The
  commands print it without a traceback and exit with a code that is not 0.
  """


def first_line(error: Exception) -> str:
  """Returns the first line of what an error says, to be put into a sentence.

  Args:
    error: of any kind; one that says nothing gives the name of its class.

  >>> first_line(ValueError("no such axis.")), first_line(MemoryError())
  ('no such axis', 'MemoryError')
  """
  return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
