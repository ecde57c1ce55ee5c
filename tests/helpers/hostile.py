"""Bad input: its error is one line, and nothing is unpickled."""

import pytest

from lth_jax import errors


def error(function, *args, **kwargs):
  """Returns the message of the InputError that a call raises."""
  with pytest.raises(errors.InputError) as info:
    function(*args, **kwargs)
  message = str(info.value)
  assert "\n" not in message
  return message


class Trap:
  """Fails the test in which it is unpickled."""

  def __reduce__(self):
    return pytest.fail, ("unpickled",)
