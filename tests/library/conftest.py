"""Marks the tests of the library: `pytest -m library` takes about a minute."""

import pathlib

import pytest

_FOLDER = pathlib.Path(__file__).parent
# All of optax, all meshes, all layers of four libraries: mostly compiling.
_LONG = ("test_optax.py", "test_sharding.py", "test_weights.py")


def pytest_collection_modifyitems(items):
  for item in items:
    if _FOLDER in item.path.parents and item.path.name not in _LONG:
      item.add_marker(pytest.mark.library)
