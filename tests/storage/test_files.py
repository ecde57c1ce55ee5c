"""Files that are complete or absent, and checksums."""

import json
import os
import threading

import pytest
from etils import epath

from lth_jax import errors
from lth_jax.storage import files, lock


@pytest.fixture
def path(tmp_path):
  path = epath.Path(tmp_path) / "x.json"
  files.write_json(path, {"a": 1})
  return path


def test_content_is_read_as_it_was_written(path):
  assert files.read_json(path) == {"a": 1}
  assert [each.name for each in path.parent.iterdir()] == ["x.json"]


def test_a_file_that_cannot_be_written_stays_as_it_was(path, monkeypatch):
  with pytest.raises(ValueError, match="JSON"):
    files.write_json(path, {"a": float("nan")})

  def fail(_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "fsync", fail)
  with pytest.raises(OSError, match="No space"):
    files.write_json(path, {"a": 2})
  assert files.read_json(path) == {"a": 1}


def test_writing_follows_no_link_in_the_place_of_the_temporary_file(path):
  other = path.parent / "other"
  other.write_text("kept")
  os.symlink(other, f"{path}.tmp")
  files.write_json(path, {"a": 2})
  assert files.read_json(path) == {"a": 2} and other.read_text() == "kept"


@pytest.mark.parametrize(
  "contents",
  [
    *(b"", b"{", b"[]", b"\0", b"\xff"),
    b"[" * 100_000,
    b'{"arm": "\\ud800"}',  # half of a character cannot be written again
    None,
  ],
)
def test_damaged_json_is_named(path, contents):
  path.unlink()
  if contents is not None:
    path.write_bytes(contents)
  with pytest.raises(files.DamagedError, match=r"x\.json is damaged"):
    files.read_json(path)


def test_a_file_that_cannot_be_read_is_not_damaged(path):
  path.unlink()
  path.mkdir()
  with pytest.raises(OSError, match="directory"):
    files.read_json(path)


def test_a_checksum_finds_every_change():
  content = {"rounds": 3, "arms": ["ticket"]}
  stored = json.loads(json.dumps(files.add_checksum(content)))
  assert files.verify_checksum(dict(reversed(stored.items()))) == content
  for damaged in (
    content,
    stored | {"rounds": 4},
    stored | {"more": 1},
    stored | {"sha256": "00"},
    {name: stored[name] for name in ("arms", "sha256")},
  ):
    with pytest.raises(ValueError, match="altered"):
      files.verify_checksum(damaged)


def hold(folder):
  return lock.hold(folder, print, threading.Event())


def test_a_workdir_has_one_writer(tmp_path):
  folder = epath.Path(tmp_path)
  refused = pytest.raises(errors.InputError, match="in use")
  with hold(folder), refused, hold(folder):
    pass
  with hold(folder) as check:
    check()


@pytest.mark.parametrize("made_again", [False, True])
def test_a_workdir_that_is_removed_while_it_is_held_is_noticed(
  tmp_path, made_again
):
  folder = epath.Path(tmp_path) / "run"
  folder.mkdir()
  with hold(folder) as check:
    folder.rmtree()
    if made_again:
      folder.mkdir()
      (folder / ".lock").write_text("")
    with pytest.raises(errors.StorageError, match="was removed"):
      check()
