"""Bad input: its error is one line, and nothing waits or is unpickled."""

import contextlib
import signal

import pytest

from lth_jax import errors


def error(function, *args, **kwargs):
  """Returns the message of the InputError that a call raises."""
  with pytest.raises(errors.InputError) as info:
    function(*args, **kwargs)
  message = str(info.value)
  assert "\n" not in message
  return message


@contextlib.contextmanager
def within(seconds):
  """Ends a call that waits for ever, such as opening a FIFO."""

  def fail(*_):
    raise TimeoutError

  before = signal.signal(signal.SIGALRM, fail)
  signal.alarm(seconds)
  try:
    yield
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Trap:
  """Fails the test in which it is unpickled."""

  def __reduce__(self):
    return pytest.fail, ("unpickled",)
