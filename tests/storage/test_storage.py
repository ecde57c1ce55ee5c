"""Stores: complete by their commit, checked when read, one writer."""

import json
import resource
import threading

import numpy as np
import pytest
from etils import epath

from lth_jax import errors
from lth_jax.config import plan
from lth_jax.runner import checkpoints
from lth_jax.storage import store

ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "none": None}


@pytest.fixture
def folder(tmp_path):
  folder = epath.Path(tmp_path) / "replicate_0/round_000/ticket"
  store.save(folder, "me", ARRAYS, {"a": 1}, {"seconds": 2.0})
  return folder


def test_what_is_saved_is_loaded(folder):
  arrays, record = store.load(folder, "me", ARRAYS)
  assert record == {"a": 1}
  assert arrays["none"] is None
  assert arrays["w"].dtype == np.float32
  np.testing.assert_array_equal(arrays["w"], ARRAYS["w"])


def test_without_a_commit_there_is_no_store(folder):
  (folder / "commit.json").unlink()
  assert not store.exists(folder)


def test_saving_again_replaces(folder):
  store.save(folder, "me", {"w": np.zeros(1)}, {"a": 2}, {})
  arrays, record = store.load(folder, "me", {"w": np.ones(1)})
  assert record == {"a": 2} and arrays["w"] == [0.0]


def test_timing_is_outside_the_digests(folder):
  (folder / "timing.json").write_text("{}")
  assert store.load_record(folder, "me") == {"a": 1}


def test_another_owner_and_another_format_are_refused(folder):
  with pytest.raises(errors.InputError, match="belongs to 'me'"):
    store.load_record(folder, "you")
  commit = json.loads((folder / "commit.json").read_text())
  (folder / "commit.json").write_text(json.dumps(commit | {"format": 99}))
  with pytest.raises(errors.InputError, match="format 99"):
    store.load_record(folder, "me")


@pytest.mark.parametrize(
  "text",
  [
    *("", "{", "[]", "{}", "\0", '{"format": 3}'),
    '{"format": 3, "owner": "me", "files": {}}',
    '{"format": 3, "owner": "me", "files": 5}',
    '{"format": 3, "owner": "me", "files": {"record.json": "00"}}',
  ],
)
def test_a_damaged_commit_is_damage(folder, text):
  (folder / "commit.json").write_text(text)
  with pytest.raises(store.DamagedError):
    store.load_record(folder, "me")


def test_a_link_is_discarded_and_what_it_shows_is_kept(folder, tmp_path):
  link = tmp_path / "link"
  link.symlink_to(folder)
  assert store.exists(epath.Path(link))
  store.discard(epath.Path(link))
  assert not link.is_symlink() and store.exists(folder)


def test_arrays_that_do_not_fit_are_damage(folder):
  for like in ({"w": np.zeros((3, 3), np.float32)}, {"v": np.zeros(1)}):
    with pytest.raises(store.DamagedError, match="does not fit"):
      store.load(folder, "me", like)


def test_a_missing_file_is_damage(folder):
  (folder / "record.json").unlink()
  with pytest.raises(store.DamagedError, match="is missing"):
    store.load_record(folder, "me")


def test_two_threads_may_save_at_once(tmp_path):
  failures = []

  def save(name):
    try:
      for index in range(6):
        folder = epath.Path(tmp_path) / name / str(index)
        store.save(folder, name, ARRAYS, {}, {})
        store.load(folder, name, ARRAYS)
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
  digests = {store.digest(tree) for tree in [base, *others]}
  assert len(digests) == 5
  assert store.digest({"w": base["w"].copy()}) == store.digest(base)


def test_json_is_whole_or_as_before(tmp_path, monkeypatch):
  path = epath.Path(tmp_path) / "x.json"
  store.write_json(path, {"a": 1})
  with pytest.raises(ValueError, match="JSON"):
    store.write_json(path, {"a": float("nan")})

  def fail(_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(store.os, "fsync", fail)
  with pytest.raises(OSError, match="No space"):
    store.write_json(path, {"a": 2})
  assert store.read_json(path) == {"a": 1}


def test_a_workdir_has_one_writer(tmp_path):
  folder = epath.Path(tmp_path)
  refused = pytest.raises(errors.InputError, match="in use")

  def lock():
    return store.lock(folder, print, threading.Event())

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
  store.save(folder, "me", {"w": np.ones(2)}, {}, {})
  monkeypatch.setattr(type(folder), "rmtree", killed)
  with pytest.raises(KeyboardInterrupt):
    store.discard(folder)
  assert folder.exists() and not store.exists(folder)


def test_trial_names():
  trial = plan.Trial(3, 7, "reinit", 1)
  assert trial.name == "replicate_3/round_007/reinit_1"
  assert plan.Trial(0, 0, "ticket").name == "replicate_0/round_000/ticket"


class Failing:
  """A checkpointer on a disk that fails."""

  def __init__(self, error):
    self.error = error

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def save(self, *_):
    raise self.error

  restore = save


def tensorstore(status, cause, number=None, place="/x"):
  """An error as TensorStore words it, with all that it was asked for."""
  text = f'{status}: Error opening "zarr" driver: Error at "{place}/d": {cause}'
  text += f" [os_error_code='{number}']" if number else ""
  return ValueError(text + ' [tensorstore_spec=\'{"driver": "zarr"}\']')


@pytest.mark.parametrize(
  ("error", "cause", "passes"),
  [
    (tensorstore("RESOURCE_EXHAUSTED", "Disk full", 28), "Disk full", False),
    (tensorstore("RESOURCE_EXHAUSTED", "Quota", 122), "Quota", False),
    (tensorstore("PERMISSION_DENIED", "Not yours", 13), "Not yours", False),
    (tensorstore("UNKNOWN", "I/O error", 5), "I/O error", False),
    (tensorstore("FAILED_PRECONDITION", "Stale", 116), "Stale", False),
    (tensorstore("NOT_FOUND", "Just gone", 2), "Just gone", False),
    (tensorstore("PERMISSION_DENIED", "403", None, "gs://b"), "403", False),
    (tensorstore("UNAUTHENTICATED", "401", None, "gs://b"), "401", False),
    (tensorstore("UNAVAILABLE", "503", None, "gs://b"), "503", True),
    (OSError(30, "Read-only"), "Read-only", False),
    (FileNotFoundError("Checkpoint not found."), "not found", False),
    (TimeoutError(110, "Timed out"), "Timed out", False),
    (RuntimeError("no thread can start"), "no thread can start", False),
  ],
  ids=str,
)
def test_a_disk_that_fails_is_said_in_one_line_and_costs_no_store(
  folder, monkeypatch, error, cause, passes
):
  monkeypatch.setattr(store, "_checkpointer", lambda: Failing(error))
  name, other = folder.name, folder.parent / "other"
  found = checkpoints.Checkpoints(folder.parent, "", "", print)

  def load(*_):
    return store.load(folder, "me", ARRAYS)

  for action in (
    lambda: store.save(other, "me", ARRAYS, {}, {}),
    lambda: checkpoints.read(found, name, load),
  ):
    with pytest.raises(errors.StorageError) as raised:
      action()
    said = str(raised.value)
    assert said.startswith(str(folder.parent)) and said.endswith(cause)
    assert "\n" not in said and raised.value.passes == passes
  assert store.exists(folder) and not store.exists(other)


@pytest.mark.parametrize(
  "error",
  [
    tensorstore("NOT_FOUND", 'Metadata at "w/.zarray" does not exist'),
    tensorstore("DATA_LOSS", "Digest mismatch"),
    tensorstore("INVALID_ARGUMENT", "Expected 2, got 3"),
    ValueError("the given item and the stored one do not match"),
    KeyError("w"),
  ],
  ids=str,
)
def test_what_orbax_says_of_content_is_damage(folder, monkeypatch, error):
  monkeypatch.setattr(store, "_checkpointer", lambda: Failing(error))
  with pytest.raises(store.DamagedError, match="does not fit") as raised:
    store.load(folder, "me", ARRAYS)
  assert "tensorstore_spec" not in str(raised.value)


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("limit", ["RLIMIT_NOFILE", "RLIMIT_FSIZE"])
def test_limits_of_the_system_are_no_damage(folder, monkeypatch, limit):
  monkeypatch.setattr("sys.unraisablehook", lambda _: None)  # it opens files
  limit, failures = getattr(resource, limit), 0
  before = resource.getrlimit(limit)
  for number in range(1, 200, 11):
    resource.setrlimit(limit, (number, before[1]))
    try:
      store.save(folder.parent / "other", "me", ARRAYS, {}, {})
      store.load(folder, "me", ARRAYS)
    except (errors.StorageError, OSError):
      failures += 1
    finally:
      resource.setrlimit(limit, before)
  assert failures and store.load(folder, "me", ARRAYS)


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_is_removed_is_not_made_again(tmp_path, again):
  workdir, stop = epath.Path(tmp_path) / "run", threading.Event()
  workdir.mkdir()
  with store.lock(workdir, print, stop) as check:
    store.save(workdir / "a", "me", ARRAYS, {}, {}, check)
    workdir.rmtree()
    if again:  # by another run
      workdir.mkdir()
      (workdir / ".lock").write_text("")
    with pytest.raises(errors.StorageError, match="was removed"):
      store.save(workdir / "b", "me", ARRAYS, {}, {}, check)
    assert not (workdir / "b").exists() and workdir.exists() == again
