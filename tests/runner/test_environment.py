"""What env.json records of code and machine."""

import json
import pathlib
import re

from etils import epath

import lth_jax
from lth_jax.parallel.devices import Layout
from lth_jax.runner import environment
from lth_jax.storage import files


def test_version_and_commit_are_recorded(monkeypatch, tmp_path):
  found = environment.describe()
  assert found["lth_jax"] == lth_jax.__version__
  root = pathlib.Path(lth_jax.__file__).parents[1]
  if (root / ".git").exists():
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", found["commit"])
  installed = tmp_path / "site-packages" / "lth_jax" / "__init__.py"
  monkeypatch.setattr(lth_jax, "__file__", str(installed))
  assert environment.describe()["commit"] is None


def test_each_change_is_noted_and_recorded_once(tmp_path):
  folder, notes = epath.Path(tmp_path), []
  path = tmp_path / "env.json"

  def record(trials, resumed=True):
    notes.extend(environment.record(folder, Layout(trials), resumed))
    return json.loads(path.read_text())["environments"]

  assert len(record(4, resumed=False)) == 1
  assert len(record(4)) == 1 and not notes
  assert len(record(8)) == 2
  assert "trials_per_device was 4, is 8" in notes.pop()
  assert environment.layouts(folder) == [Layout(4), Layout(8)]
  seen = record(8)
  changed = [seen[0], seen[1] | {"processor": "abacus"}]
  files.write_json(path, files.add_checksum({"environments": changed}))
  assert len(record(8)) == 3 and "processor was abacus" in notes.pop()
  path.unlink()
  assert len(record(8)) == 1 and "env.json is gone" in notes.pop()
