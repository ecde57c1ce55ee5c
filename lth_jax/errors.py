"""The one exception that is meant for a person, not for a debugger."""


class InputError(ValueError):
  """Bad input from outside: a flag, a file, a folder, a damaged run.

  Its message is one line that says what is wrong, where, and what to do. The
  commands print it without a traceback and exit with a code that is not 0.
  """
