"""What env.json records of code and machine."""

import datetime
import html
import json
import pathlib
import re
import shlex
import sys

from etils import epath
from helpers import runs

import lth_jax
from lth_jax import report
from lth_jax.parallel.devices import Layout
from lth_jax.report import provenance
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


def test_the_page_tells_how_its_run_was_made(tmp_path):
  runs.run(tmp_path, rounds=0)
  (entry,) = json.loads((tmp_path / "env.json").read_text())["environments"]
  assert entry["command"] == shlex.join(sys.orig_argv)
  began = datetime.datetime.fromisoformat(entry["began"])
  now = datetime.datetime.now(datetime.UTC)
  assert now - datetime.timedelta(minutes=5) < began <= now
  page = html.unescape(report.write(tmp_path).read_text())
  config = json.loads((tmp_path / "config.json").read_text())
  timings = tmp_path.glob("replicate_*/round_*/*/timing.json")
  finished = max(json.loads(x.read_text())["finished"] for x in timings)
  ended = datetime.datetime.fromtimestamp(finished, datetime.UTC)
  for text in (
    *(config["run_id"], entry["began"], entry["command"]),
    *(entry["commit"] or "", f"jax {entry['jax']}", entry["device_kind"]),
    ended.strftime("%Y-%m-%dT%H:%M:%SZ"),
  ):
    assert text in page
  about = provenance.read(epath.Path(tmp_path))
  # Collected records are published; a command names folders.
  assert "command" not in about["environment"]
  (tmp_path / "env.json").unlink()
  assert config["run_id"] in report.write(tmp_path).read_text()
