"""Finished runs, trained once a session."""

import shutil

import pytest
from helpers import commands


@pytest.fixture(scope="session")
def younger(tmp_path_factory):
  """A run of one round; not to be changed."""
  folder = tmp_path_factory.mktemp("younger")
  commands.run(folder, "--rounds=1")
  return folder


@pytest.fixture(scope="session")
def undisturbed(younger, tmp_path_factory):
  """The same run after it has grown to two rounds; not to be changed."""
  folder = tmp_path_factory.mktemp("undisturbed")
  shutil.copytree(younger, folder, dirs_exist_ok=True)
  commands.run(folder)
  return folder


@pytest.fixture
def copied(undisturbed, tmp_path):
  return shutil.copytree(undisturbed, tmp_path / "run")
