"""Commands are started from the top of the clone, where flagfiles are found."""

import pytest
from helpers import commands


@pytest.fixture(autouse=True, scope="module")
def in_a_clone():
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(commands.ROOT)
    yield
