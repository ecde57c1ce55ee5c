"""Marks the tests of the library: `pytest -m library`."""

import pathlib

import pytest

_FOLDER = pathlib.Path(__file__).parent


def pytest_collection_modifyitems(items):
  for item in items:
    if _FOLDER in item.path.parents:
      item.add_marker(pytest.mark.library)
