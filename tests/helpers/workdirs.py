"""What a workdir holds, to compare two of them."""

import contextlib
import os
import pathlib

from etils import epath

from lth_jax import data
from lth_jax.runner import build, workdir
from lth_jax.storage import store as store_lib


def commits(folder):
  """{name of a trial or rewind point: when it was committed}."""
  return {
    str(path.parent.relative_to(folder)): stat.st_mtime_ns
    for path, stat in stats_of(folder).items()
    if path.name == "commit.json" and ".step_" not in path.parent.name
  }


def content_of(folder):
  """{name: bytes} of a run's files, {name: digest} of its arrays."""
  content = {}
  for path in sorted(folder.rglob("*")):
    name = str(path.relative_to(folder))
    if path.name in ("commit.json", "timing.json"):
      content[name] = None  # times, and digests of Orbax's random file names
    elif path.is_file() and "arrays" not in path.parts:
      content[name] = path.read_bytes()
  like = _like(folder)
  for name in commits(folder):
    store = epath.Path(folder / name)
    owner = store_lib.read_json(store / "commit.json")["owner"]
    arrays, record = store_lib.load(store, owner, like)
    assert store_lib.digest(arrays["params"]) == record["digests"]["params"]
    content[f"{name}/arrays"] = store_lib.digest(arrays)
  return content


def _like(folder):
  config = workdir.read_config(epath.Path(folder))
  dataset = data.load(config.data.dataset, source="bundled", data_dir=None)
  start = build.initial_start(build.make(config, dataset), 0)
  return {"params": start.params, "stats": start.stats, "masks": start.masks}


def check_equal(content, expected):
  assert content.keys() - expected.keys() == set()
  assert expected.keys() - content.keys() == set()
  assert [n for n, value in content.items() if value != expected[n]] == []


def stats_of(folder):
  """{path: stat} of all below a folder, while another process changes it."""
  stats = {}
  for parent, folders, files in os.walk(folder):
    if ".timing" in folders:  # what is timed before a run is no phase of it
      folders.remove(".timing")
    for name in folders + files:
      path = pathlib.Path(parent, name)
      with contextlib.suppress(FileNotFoundError):
        stats[path] = path.stat()
  return stats
