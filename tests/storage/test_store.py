"""Checkpoints: complete or absent, and checked when they are loaded."""

import json
import resource
import threading

import numpy as np
import orbax.checkpoint as ocp
import pytest
from etils import epath

from lth_jax import errors
from lth_jax.storage import buckets, store

ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "none": None}


def save(workdir):
  folder = workdir / "replicate_0/round_000/ticket"
  store.save(folder, "me", ARRAYS, {"a": 1}, {"seconds": 2.0})
  return folder


@pytest.fixture(params=["local", "gs"])
def folder(request, tmp_path):
  """A checkpoint on a disk, and one on an object store."""
  if request.param == "local":
    return save(epath.Path(tmp_path))
  return save(request.getfixturevalue("workdir"))


@pytest.fixture
def local(tmp_path):
  """A checkpoint on a disk."""
  return save(epath.Path(tmp_path))


def test_what_is_saved_is_loaded(folder):
  arrays, record = store.load(folder, "me", ARRAYS)
  assert record == {"a": 1}
  assert arrays["none"] is None
  assert arrays["w"].dtype == np.float32
  np.testing.assert_array_equal(arrays["w"], ARRAYS["w"])


def test_saving_again_replaces(folder):
  store.save(folder, "me", {"w": np.zeros(1)}, {"a": 2}, {})
  arrays, record = store.load(folder, "me", {"w": np.ones(1)})
  assert record == {"a": 2} and arrays["w"] == [0.0]


def test_a_folder_counts_from_its_commit_until_its_removal(folder):
  assert store.exists(folder)

  def killed():
    raise KeyboardInterrupt

  def killed_before_commit():
    if (other / "record.json").exists():
      killed()

  other = folder.parent / "other"
  with pytest.raises(KeyboardInterrupt):
    store.save(other, "me", ARRAYS, {}, {}, killed_before_commit)
  assert (other / "arrays").exists() and not store.exists(other)
  with pytest.raises(KeyboardInterrupt):
    store.discard(folder, killed)
  assert store.load(folder, "me", ARRAYS)
  store.discard(folder)
  store.discard(folder, killed)  # nothing is there
  assert not folder.exists()


def test_a_kill_while_a_checkpoint_is_removed_leaves_none(folder, monkeypatch):
  def killed(_):
    raise KeyboardInterrupt

  monkeypatch.setattr(type(folder), "rmtree", killed)
  with pytest.raises(KeyboardInterrupt):
    store.discard(folder)
  assert folder.exists() and not store.exists(folder)


def test_a_link_is_discarded_and_its_target_is_kept(local, tmp_path):
  link = epath.Path(tmp_path) / "link"
  (tmp_path / "link").symlink_to(local)
  assert store.exists(link)
  store.discard(link)
  assert not (tmp_path / "link").is_symlink() and store.exists(local)


def test_timing_is_outside_the_digests(folder):
  (folder / "timing.json").write_text("{}")
  assert store.load_record(folder, "me") == {"a": 1}


def test_another_owner_and_another_format_are_refused(folder):
  with pytest.raises(errors.InputError, match="belongs to 'me'"):
    store.load_record(folder, "you")
  path = folder / "commit.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
  with pytest.raises(errors.InputError, match="format 99"):
    store.load_record(folder, "me")


@pytest.mark.parametrize(
  "text",
  [
    *("", "[]", "{}", '{"format": 3}'),
    '{"format": 3, "owner": "me", "files": {}}',
    '{"format": 3, "owner": "me", "files": 5}',
    '{"format": 3, "owner": "me", "files": {"record.json": "00"}}',
  ],
)
def test_a_damaged_commit_is_found(local, text):
  (local / "commit.json").write_text(text)
  with pytest.raises(store.DamagedError, match=r"commit\.json"):
    store.load_record(local, "me")


def files_below(folder):
  """Lists files at any depth; a glob of epath does not do that on gs://."""
  for path in buckets.children(folder):
    if path.is_dir():
      yield from files_below(path)
    else:
      yield path


def test_every_altered_or_missing_file_is_found(folder):
  paths = [x for x in files_below(folder) if x.name != "commit.json"]
  paths = [x for x in paths if x.name != "timing.json"]
  assert len(paths) > 4
  for path in paths:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(store.DamagedError, match=f"{path.name} is altered"):
      store.load_record(folder, "me")
    path.unlink()
    with pytest.raises(store.DamagedError, match=f"{path.name} is missing"):
      store.load_record(folder, "me")
    path.write_bytes(content)
  store.load_record(folder, "me")


def test_arrays_of_another_structure_are_damage(folder):
  for like in ({"w": np.zeros((3, 3), np.float32)}, {"v": np.zeros(1)}):
    with pytest.raises(store.DamagedError, match="does not fit"):
      store.load(folder, "me", like)


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
  assert len({store.digest(tree) for tree in [base, *others]}) == 5
  assert store.digest({"w": base["w"].copy()}) == store.digest(base)


class Failing:
  """A checkpointer on a disk or a store that fails."""

  def __init__(self, error):
    self.error = error

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def save(self, *_):
    raise self.error

  restore = save


@pytest.fixture
def fail(monkeypatch):
  """A function that lets Orbax raise an error."""
  return lambda error: monkeypatch.setattr(
    ocp, "Checkpointer", lambda *_, **__: Failing(error)
  )


def tensorstore(status, cause, number=None, place="/x"):
  """An error as TensorStore words it, with all that it was asked for."""
  text = f'{status}: Error opening "zarr" driver: Error at "{place}/d": {cause}'
  text += f" [os_error_code='{number}']" if number else ""
  return ValueError(text + ' [tensorstore_spec=\'{"driver": "zarr"}\']')


@pytest.mark.parametrize(
  ("error", "cause", "passes"),
  [
    (tensorstore("RESOURCE_EXHAUSTED", "Disk full", 28), "Disk full", False),
    (tensorstore("UNKNOWN", "I/O error", 5), "I/O error", False),
    (tensorstore("NOT_FOUND", "Just gone", 2), "Just gone", False),
    (tensorstore("PERMISSION_DENIED", "403", None, "gs://b"), "403", False),
    (tensorstore("UNAUTHENTICATED", "401", None, "gs://b"), "401", False),
    (tensorstore("UNAVAILABLE", "503", None, "gs://b"), "503", True),
    (OSError(30, "Read-only"), "Read-only", False),
    (FileNotFoundError("Checkpoint not found."), "not found", False),
    (RuntimeError("no thread can start"), "no thread can start", False),
  ],
  ids=str,
)
def test_a_failure_of_the_disk_or_the_store_is_not_damage(
  local, fail, error, cause, passes
):
  fail(error)
  other = local.parent / "other"
  for action in (
    lambda: store.save(other, "me", ARRAYS, {}, {}),
    lambda: store.load(local, "me", ARRAYS),
  ):
    with pytest.raises(errors.StorageError) as raised:
      action()
    message = str(raised.value)
    assert message.startswith(str(local.parent)) and message.endswith(cause)
    assert "\n" not in message and raised.value.passes == passes
  assert store.exists(local) and not store.exists(other)


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
def test_an_error_about_content_is_damage(local, fail, error):
  fail(error)
  with pytest.raises(store.DamagedError, match="does not fit") as raised:
    store.load(local, "me", ARRAYS)
  assert "tensorstore_spec" not in str(raised.value)


class RefusedError(Exception):
  """An error as gcsfs raises it."""

  __module__ = "gcsfs.retry"

  def __init__(self, code):
    super().__init__(f"error {code}")
    self.code = code


@pytest.mark.parametrize(
  ("code", "passes"),
  [
    *((400, False), (401, False), (403, False), (408, True), (429, True)),
    *((500, True), (503, True), (None, True)),
  ],
)
def test_a_refused_request_does_not_pass_and_a_failed_one_does(code, passes):
  failure = buckets.explain(RefusedError(code))
  assert failure == buckets.Failure(f"error {code}", passes)


def test_other_errors_are_not_explained():
  for error in (KeyError("w"), ValueError("INVALID_ARGUMENT: 2"), OSError(5)):
    assert buckets.explain(error) is None


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("limit", ["RLIMIT_NOFILE", "RLIMIT_FSIZE"])
def test_limits_of_the_system_are_not_damage(local, monkeypatch, limit):
  monkeypatch.setattr("sys.unraisablehook", lambda _: None)  # it opens files
  limit, failures = getattr(resource, limit), 0
  before, threads = resource.getrlimit(limit), set(threading.enumerate())
  for number in range(1, 200, 11):
    resource.setrlimit(limit, (number, before[1]))
    try:
      store.save(local.parent / "other", "me", ARRAYS, {}, {})
      store.load(local, "me", ARRAYS)
    except (errors.StorageError, OSError):
      failures += 1
    finally:
      resource.setrlimit(limit, before)
  assert failures and store.load(local, "me", ARRAYS)
  # Those of a save that has failed may not keep the process at its exit.
  assert {x for x in threading.enumerate() if not x.daemon} <= threads
