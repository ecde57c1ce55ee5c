"""Stores: complete by their commit, checked when read, one writer."""

import json
import threading

import numpy as np
import pytest
from etils import epath

from lth_jax import errors, lanes, storage

ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "none": None}


@pytest.fixture
def folder(tmp_path):
  folder = epath.Path(tmp_path) / "replicate_0/round_000/ticket"
  storage.save(folder, "me", ARRAYS, {"a": 1}, {"seconds": 2.0})
  return folder


def test_what_is_saved_is_loaded(folder):
  arrays, record = storage.load(folder, "me", ARRAYS)
  assert record == {"a": 1}
  assert arrays["none"] is None
  assert arrays["w"].dtype == np.float32
  np.testing.assert_array_equal(arrays["w"], ARRAYS["w"])


def test_without_a_commit_there_is_no_store(folder):
  (folder / "commit.json").unlink()
  assert not storage.exists(folder)


def test_saving_again_replaces(folder):
  storage.save(folder, "me", {"w": np.zeros(1)}, {"a": 2}, {})
  arrays, record = storage.load(folder, "me", {"w": np.ones(1)})
  assert record == {"a": 2} and arrays["w"] == [0.0]


def test_timing_is_outside_the_digests(folder):
  (folder / "timing.json").write_text("{}")
  assert storage.load_record(folder, "me") == {"a": 1}


def test_another_owner_and_another_format_are_refused(folder):
  with pytest.raises(errors.InputError, match="belongs to 'me'"):
    storage.load_record(folder, "you")
  commit = json.loads((folder / "commit.json").read_text())
  (folder / "commit.json").write_text(json.dumps(commit | {"format": 99}))
  with pytest.raises(errors.InputError, match="format 99"):
    storage.load_record(folder, "me")


@pytest.mark.parametrize(
  "text",
  [
    *("", "{", "[]", "{}", "\0", '{"format": 2}'),
    '{"format": 2, "owner": "me", "files": {}}',
    '{"format": 2, "owner": "me", "files": 5}',
    '{"format": 2, "owner": "me", "files": {"record.json": "00"}}',
  ],
)
def test_a_damaged_commit_is_damage(folder, text):
  (folder / "commit.json").write_text(text)
  with pytest.raises(storage.DamagedError):
    storage.load_record(folder, "me")


def test_a_link_is_discarded_and_what_it_shows_is_kept(folder, tmp_path):
  link = tmp_path / "link"
  link.symlink_to(folder)
  assert storage.exists(epath.Path(link))
  storage.discard(epath.Path(link))
  assert not link.is_symlink() and storage.exists(folder)


def test_arrays_that_do_not_fit_are_damage(folder):
  for like in ({"w": np.zeros((3, 3), np.float32)}, {"v": np.zeros(1)}):
    with pytest.raises(storage.DamagedError, match="does not fit"):
      storage.load(folder, "me", like)


def test_a_missing_file_is_damage(folder):
  (folder / "record.json").unlink()
  with pytest.raises(storage.DamagedError, match="is missing"):
    storage.load_record(folder, "me")


def test_two_threads_may_save_at_once(tmp_path):
  failures = []

  def save(name):
    try:
      for index in range(6):
        folder = epath.Path(tmp_path) / name / str(index)
        storage.save(folder, name, ARRAYS, {}, {})
        storage.load(folder, name, ARRAYS)
    except Exception as error:
      failures.append(error)

  threads = [threading.Thread(target=save, args=(name,)) for name in "ab"]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(120)
  assert not failures and not any(t.is_alive() for t in threads)


def test_digest_tells_names_types_shapes_and_bits_apart():
  base = {"w": np.zeros((2, 3), np.float32)}
  others = [
    {"v": base["w"]},
    {"w": base["w"].astype(np.float64)},
    {"w": base["w"].reshape(3, 2)},
    {"w": -base["w"]},
  ]
  digests = {storage.digest(tree) for tree in [base, *others]}
  assert len(digests) == 5
  assert storage.digest({"w": base["w"].copy()}) == storage.digest(base)


def test_json_is_whole_or_as_before(tmp_path, monkeypatch):
  path = epath.Path(tmp_path) / "x.json"
  storage.write_json(path, {"a": 1})
  with pytest.raises(ValueError, match="JSON"):
    storage.write_json(path, {"a": float("nan")})

  def fail(_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(storage.os, "fsync", fail)
  with pytest.raises(OSError, match="No space"):
    storage.write_json(path, {"a": 2})
  assert storage.read_json(path) == {"a": 1}


def test_a_workdir_has_one_writer(tmp_path):
  folder = epath.Path(tmp_path)
  refused = pytest.raises(errors.InputError, match="in use")

  def lock():
    return storage.lock(folder, print, threading.Event())

  with lock(), refused, lock():
    pass
  with lock():
    pass


def test_a_kill_while_a_store_is_removed_leaves_no_half_of_one(
  tmp_path, monkeypatch
):
  def killed(_):
    raise KeyboardInterrupt

  folder = epath.Path(tmp_path) / "ticket"
  storage.save(folder, "me", {"w": np.ones(2)}, {}, {})
  monkeypatch.setattr(type(folder), "rmtree", killed)
  with pytest.raises(KeyboardInterrupt):
    storage.discard(folder)
  assert folder.exists() and not storage.exists(folder)


def test_lane_names():
  lane = lanes.Lane(3, 7, "reinit", 1)
  assert lane.name == "replicate_3/round_007/reinit_1"
  assert lanes.Lane(0, 0, "ticket").name == "replicate_0/round_000/ticket"
