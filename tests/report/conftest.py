"""Fixtures of the tests of reports."""

import pytest
from helpers import drawings


@pytest.fixture
def shown(monkeypatch):
  """{name of a figure: what it shows}, once it is drawn."""
  return drawings.keep(monkeypatch)
