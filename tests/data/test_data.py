import contextlib
import gzip
import hashlib
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest

from lth_jax import data, errors
from lth_jax.data import bundle, bundled, cifar, idx, prepare, tfds

REPOSITORY = pathlib.Path(__file__).parents[2]
REAL = pathlib.Path(__file__).parents[3] / "shared" / "data" / "mnist"
MNIST_TRAIN_COUNTS = [
  5923,
  6742,
  5958,
  6131,
  5842,
  5421,
  5918,
  6265,
  5851,
  5949,
]
MNIST_TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def _idx_bytes(array):
  header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
  return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
  """A folder of four small IDX files that pass for MNIST."""
  rng = np.random.default_rng(0)
  folder = tmp_path / "tiny"
  folder.mkdir()
  arrays = (
    rng.integers(0, 256, [30, 28, 28]),
    np.arange(30) % 10,
    rng.integers(0, 256, [20, 28, 28]),
    np.arange(20) // 2,
  )
  contents = [_idx_bytes(array) for array in arrays]
  for file, content in zip(idx.FILES, contents):
    (folder / f"{file}.gz").write_bytes(gzip.compress(content))
  digests = tuple(hashlib.sha256(content).hexdigest() for content in contents)
  monkeypatch.setitem(idx.SHA256, "mnist", digests)
  return folder


def _error(function, *args, **kwargs):
  with pytest.raises(errors.InputError) as info:
    function(*args, **kwargs)
  message = str(info.value)
  assert "\n" not in message
  return message


def _examples(split):
  return sorted((image.tobytes(), int(label)) for image, label in zip(*split))


def _shares(counts, total):
  """Largest remainder, one seat at a time."""
  exact = [total * count / sum(counts) for count in counts]
  sizes = [int(e) for e in exact]
  order = sorted(range(len(counts)), key=lambda i: sizes[i] - exact[i])
  for i in order[: total - sum(sizes)]:
    sizes[i] += 1
  return sizes


def test_bundled_has_the_shapes_types_and_proportions_of_mnist():
  loaded = data.load("mnist_10k")
  assert loaded.source == "bundled" and loaded.num_classes == 10
  assert loaded.train.images.shape == (10_000, 28, 28, 1)
  assert loaded.test.images.shape == (2_000, 28, 28, 1)
  for split, counts in (
    (loaded.train, MNIST_TRAIN_COUNTS),
    (loaded.test, MNIST_TEST_COUNTS),
  ):
    assert split.images.dtype == np.uint8 and split.images.max() == 255
    assert split.labels.dtype == np.int32
    shares = _shares(counts, split.labels.size)
    assert np.bincount(split.labels).tolist() == shares


def test_bundled_file_is_small():
  file = pathlib.Path(bundled.__file__).with_name("mnist_10k.xz")
  assert file.stat().st_size < 2_000_000


def test_bundled_equals_what_bundle_picks_from_the_originals():
  if not REAL.exists():
    pytest.skip("the original MNIST files are not beside this checkout")
  original = data.load("mnist", data_dir=str(REAL))
  assert original.source == "idx"
  assert np.bincount(original.train.labels).tolist() == MNIST_TRAIN_COUNTS
  assert np.bincount(original.test.labels).tolist() == MNIST_TEST_COUNTS
  subset = data.load("mnist_10k")
  for part in ("train", "test"):
    whole, some = getattr(original, part), getattr(subset, part)
    picked = bundle.pick(whole.labels, some.labels.size, bundle.SEED)
    assert (np.diff(picked) > 0).all()
    np.testing.assert_array_equal(whole.images[picked], some.images)
    np.testing.assert_array_equal(whole.labels[picked], some.labels)


def test_pick_takes_other_examples_by_another_seed():
  labels = np.arange(1000) % 7
  one, other = (bundle.pick(labels, 100, seed) for seed in (0, 1))
  assert one.tolist() != other.tolist()
  sizes = _shares(np.bincount(labels).tolist(), 100)
  assert np.bincount(labels[one]).tolist() == sizes


def test_damaged_bundle_is_an_error(monkeypatch):
  monkeypatch.setattr(bundled, "_SHA256", "0" * 64)
  assert "sha256" in _error(data.load, "mnist_10k")


def test_idx_reads_what_was_written(tiny):
  loaded = data.load("mnist", data_dir=str(tiny))
  assert loaded.name == "mnist" and loaded.source == "idx"
  assert loaded.train.images.shape == (30, 28, 28, 1)
  assert loaded.test.images.dtype == np.uint8
  assert loaded.test.labels.dtype == np.int32
  assert loaded.train.labels.tolist() == [i % 10 for i in range(30)]
  rng = np.random.default_rng(0)
  expected = rng.integers(0, 256, [30, 28, 28])
  np.testing.assert_array_equal(loaded.train.images[..., 0], expected)


def test_unpacked_and_repacked_files_have_the_same_digests(tiny):
  packed = data.digests(data.load("mnist", data_dir=str(tiny)))
  for file in idx.FILES[:3]:
    path = tiny / f"{file}.gz"
    (tiny / file).write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()
  path = tiny / f"{idx.FILES[3]}.gz"
  contents = gzip.decompress(path.read_bytes())
  path.write_bytes(gzip.compress(contents, compresslevel=1, mtime=7))
  assert data.digests(data.load("mnist", data_dir=str(tiny))) == packed


def _arrays(tiny):
  contents = [(tiny / f"{file}.gz").read_bytes() for file in idx.FILES]
  return [gzip.decompress(content) for content in contents]


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("spell", ["-idx", ".idx"])
@pytest.mark.parametrize(
  ("ending", "pack"),
  [("", bytes), (".gz", gzip.compress), (".gz", bytes)],
  ids=["plain", "packed", "unpacked by a browser"],
)
def test_files_are_found_as_others_leave_them(
  tiny, tmp_path, place, spell, ending, pack
):
  folder = tmp_path / "theirs" / place
  folder.mkdir(parents=True)
  for file, contents in zip(idx.FILES, _arrays(tiny)):
    if spell == ".idx":  # as in Kaggle's archive
      (folder / file).mkdir()
    path = folder / (file.replace("-idx", spell) + ending)
    path.write_bytes(pack(contents))
  loaded = data.load("mnist", data_dir=str(tmp_path / "theirs"))
  assert loaded.source == "idx"
  there = data.load("mnist", data_dir=str(tiny))
  assert data.digests(loaded) == data.digests(there)


def test_data_sets_of_one_root_are_kept_apart(tiny, tmp_path, monkeypatch):
  monkeypatch.setitem(idx.SHA256, "fashion_mnist", idx.SHA256["mnist"])
  tiny.rename(tmp_path / "raw")
  root = tmp_path / "root"
  for name, folder in (("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")):
    assert not idx.holds(name, root)
    (root / folder).mkdir(parents=True)
    shutil.copytree(tmp_path / "raw", root / folder / "raw")
    assert data.load(name, data_dir=str(root)).source == "idx"


def _save_npz(path, tiny, save=np.savez, **changes):
  loaded = data.load("mnist", data_dir=str(tiny))
  labels = loaded.train.labels, loaded.test.labels
  arrays = {
    "x_train": loaded.train.images[..., 0],
    "y_train": labels[0].astype(np.uint8),
    "x_test": loaded.test.images[..., 0],
    "y_test": labels[1].astype(np.uint8),
  } | changes
  save(path, **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_of_keras_are_read(tiny, tmp_path, save):
  _save_npz(tmp_path / "mnist.npz", tiny, save)
  loaded = data.load("mnist", data_dir=str(tmp_path))
  there = data.load("mnist", data_dir=str(tiny))
  assert data.digests(loaded) == data.digests(there)
  assert "No data set" in _error(
    data.load, "fashion_mnist", data_dir=str(tmp_path)
  )


class _Trap:
  def __reduce__(self):
    return pytest.fail, ("unpickled",)


@pytest.mark.parametrize(
  "array",
  [
    None,
    np.zeros((30, 28, 28), np.uint8),
    np.zeros((2, 2), float),
    np.zeros((2**40, 0), np.uint8),
    np.zeros(2**27, np.uint8),
    np.array([_Trap()], object),
  ],
  ids=["missing", "other", "float", "endless", "large", "pickle"],
)
def test_other_arrays_than_those_of_keras_are_errors(tiny, tmp_path, array):
  path = tmp_path / "mnist.npz"
  _save_npz(path, tiny, np.savez_compressed, x_train=array)
  assert str(path) in _error(data.load, "mnist", data_dir=str(tmp_path))


def _header(*shape):
  return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)


@pytest.mark.parametrize(
  ("contents", "word"),
  [
    (_header(2**31, 2**31, 4), "by its header"),  # 2^64, 0 in 64 bits
    (_header(2**31, 2**31, 4) + b"1234", "by its header"),
    (_header(2**32 - 1, 2**32 - 1, 2**32 - 1), "by its header"),
    (_header(0, 0, 0), "original"),
    (_header(2**13, 2**7, 2**7) + bytes(2**27), "unpacks to more"),
  ],
  ids=["wraps", "wraps to less", "huge", "empty", "bomb"],
)
def test_a_hostile_file_is_an_error(tiny, contents, word):
  path = tiny / f"{idx.FILES[0]}.gz"
  path.write_bytes(gzip.compress(contents))
  message = _error(data.load, "mnist", data_dir=str(tiny))
  assert str(path) in message and word in message


def test_digests_cover_type_shape_contents_and_order():
  images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
  labels = np.array([1, 0], np.int32)

  def digest(images, labels, source="idx"):
    split = data.Examples(images, labels)
    return data.digests(data.Dataset("any", split, split, 2, source))

  base = digest(images, labels)
  assert set(base) == {
    "train/images",
    "train/labels",
    "test/images",
    "test/labels",
  }
  assert digest(images, labels, "tfds") == base
  assert digest(np.asfortranarray(images), labels.astype(">i4")) == base
  for changed in (
    images[::-1],
    images.reshape(2, 4, 3, 1),
    images.view(np.int8),
  ):
    other = digest(changed, labels)
    assert other["train/images"] != base["train/images"]
    assert other["train/labels"] == base["train/labels"]


def test_file_cut_short_is_an_error(tiny):
  path = tiny / f"{idx.FILES[0]}.gz"
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  message = _error(data.load, "mnist", data_dir=str(tiny))
  assert str(path) in message and "cut short" in message
  path.write_bytes(gzip.compress(gzip.decompress(whole)[:-5]))
  message = _error(data.load, "mnist", data_dir=str(tiny))
  assert str(path) in message and "cut short" in message
  path.write_bytes(b"")
  assert str(path) in _error(data.load, "mnist", data_dir=str(tiny))


def test_altered_gzip_is_an_error(tiny):
  path = tiny / f"{idx.FILES[0]}.gz"
  for position in (0, 3, 40, 9_000, -6):
    altered = bytearray(path.read_bytes())
    altered[position] ^= 0xFF
    other = tiny.parent / "altered"
    other.mkdir(exist_ok=True)
    for file in idx.FILES:
      packed = (tiny / f"{file}.gz").read_bytes()
      (other / f"{file}.gz").write_bytes(packed)
    (other / path.name).write_bytes(altered)
    assert path.name in _error(data.load, "mnist", data_dir=str(other))


def test_wrong_checksum_is_an_error(tiny):
  path = tiny / f"{idx.FILES[3]}.gz"
  path.write_bytes(gzip.compress(_idx_bytes(np.zeros(20))))
  message = _error(data.load, "mnist", data_dir=str(tiny))
  assert str(path) in message and "sha256" in message


def test_files_of_the_other_data_set_are_told_apart(tiny):
  message = _error(data.load, "fashion_mnist", data_dir=str(tiny))
  assert "belongs to mnist" in message


@pytest.mark.parametrize(
  "contents", [b"", b"\0\0", b"\0\0\x08\x01\0\0\0\x01\x05", b"\x89PNG" * 9]
)
def test_file_of_another_format_is_an_error(tiny, contents):
  path = tiny / f"{idx.FILES[0]}.gz"
  path.write_bytes(gzip.compress(contents))
  message = _error(data.load, "mnist", data_dir=str(tiny))
  assert str(path) in message and "IDX" in message


def test_missing_file_is_an_error_also_in_auto(tiny):
  (tiny / f"{idx.FILES[2]}.gz").unlink()
  message = _error(data.load, "mnist", data_dir=str(tiny))
  assert idx.FILES[2] in message and str(tiny) in message


@pytest.mark.parametrize(
  ("make", "kind"),
  [
    (pathlib.Path.mkdir, "irectory"),
    (os.mkfifo, "a FIFO"),
    (lambda path: path.symlink_to("/dev/zero"), "a device"),
  ],
)
@pytest.mark.parametrize(
  ("name", "file", "others"),
  [
    ("mnist", f"{idx.FILES[0]}.gz", ()),
    ("mnist", "mnist.npz", ()),
    ("cifar10", cifar.BINARY_FILES[0], cifar.BINARY_FILES),
    ("cifar10", cifar.PICKLE_FILES[0], cifar.PICKLE_FILES),
    ("cifar10", cifar.SHEET_FILES[0], cifar.SHEET_FILES),
    ("emnist", "emnist/3.0.1/dataset_info.json", ()),
    (
      "emnist",
      "emnist/3.0.1/emnist.array_record-0",
      ("emnist/3.0.1/dataset_info.json",),
    ),
  ],
)
def test_what_is_no_file_is_an_error(tmp_path, name, file, others, make, kind):
  path = tmp_path / file
  path.parent.mkdir(parents=True, exist_ok=True)
  for other in others:
    (tmp_path / other).write_bytes(b"")
  path.unlink(missing_ok=True)
  make(path)
  with _seconds(20):
    message = _error(data.load, name, data_dir=str(tmp_path))
  assert str(tmp_path) in message
  assert kind in message or (kind, name) == ("irectory", "emnist")


@contextlib.contextmanager
def _seconds(number):
  """Ends what waits for ever, such as opening a FIFO."""

  def fail(*_):
    raise TimeoutError

  before = signal.signal(signal.SIGALRM, fail)
  signal.alarm(number)
  try:
    yield
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
  ("names", "words"),
  [
    (["archive.zip"], ["archive", "unzip", "archive.zip"]),
    (["a b.zip"], ["unzip", "a b.zip'"]),
    (["cifar-10-binary.tar.gz"], ["archive", "tar -xf", "-C"]),
    (["cifar-10-python.tar.gz", "notes"], ["tar -xf"]),
    (["train.csv", "test.csv"], ["holds test.csv, train.csv"]),
    ([], ["empty"]),
    (None, ["no such folder"]),
  ],
)
@pytest.mark.parametrize(
  ("source", "name"),
  [
    *(("auto", name) for name in ("mnist", "cifar10", "svhn")),
    ("idx", "fashion_mnist"),
    ("cifar", "cifar10"),
  ],
)
def test_what_is_there_instead_is_said(tmp_path, names, words, source, name):
  folder = tmp_path / "data"
  if names is not None:
    folder.mkdir()
    for file in names:
      (folder / file).write_bytes(b"")
  message = _error(data.load, name, source=source, data_dir=str(folder))
  assert all(word in message for word in words)


def test_a_file_as_data_dir_is_an_error(tiny, tmp_path):
  _save_npz(tmp_path / "mnist.npz", tiny)
  message = _error(data.load, "mnist", data_dir=str(tmp_path / "mnist.npz"))
  assert "name the folder" in message


def test_no_data_names_the_three_ways(tmp_path, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  for data_dir in (None, str(tmp_path)):
    message = _error(data.load, "mnist", data_dir=data_dir)
    assert "--data_dir" in message
    assert "python -m lth_jax.data.prepare mnist" in message
    assert "--dataset=mnist_10k" in message
    assert str(tmp_path) in message


@pytest.mark.parametrize(
  ("name", "source"), [("mnist", "auto"), ("cifar10", "cifar"), ("x", "tfds")]
)
def test_advice_prepares_data_where_they_are_looked_for(tmp_path, name, source):
  message = _error(data.load, name, source=source, data_dir=str(tmp_path))
  assert f"prepare {name} --data_dir={tmp_path}`" in message


def test_unknown_names_and_sources_are_errors(tmp_path):
  assert "mnist_10k" in _error(data.load, "mnits", source="bundled")
  assert "fashion_mnist" in _error(
    data.load, "mnist_10k", source="idx", data_dir=str(tmp_path)
  )
  assert "--data_dir" in _error(data.load, "mnist", source="idx")
  assert "auto" in _error(data.load, "mnist", source="web")
  message = _error(data.load, "mnits", data_dir=str(tmp_path))
  assert "mnits" in message and "mnist_10k" in message
  assert "prepare" in _error(
    data.load, "mnist_10k", source="tfds", data_dir=str(tmp_path)
  )


def _pretend(folder, **info):
  folder.mkdir(parents=True)
  (folder / "dataset_info.json").write_text(json.dumps(info))


def test_find_takes_the_newest_complete_version(tmp_path):
  for version in ("3.0.9", "3.0.10", "incomplete.AB_4.0.0"):
    _pretend(tmp_path / "mnist" / version)
  assert tfds.find("mnist", tmp_path) == tmp_path / "mnist" / "3.0.10"
  assert tfds.find("mnist:3.0.9", tmp_path) == tmp_path / "mnist" / "3.0.9"
  assert tfds.find("mnist:9.9.9", tmp_path) is None
  assert tfds.find("cifar10", tmp_path) is None


def test_find_asks_for_a_configuration(tmp_path):
  _pretend(tmp_path / "emnist" / "letters" / "3.1.0")
  assert "emnist/letters" in _error(tfds.find, "emnist", tmp_path)
  found = tfds.find("emnist/letters", tmp_path)
  assert found == tmp_path / "emnist" / "letters" / "3.1.0"


def test_tfrecord_is_an_error_that_names_the_command(tmp_path):
  _pretend(tmp_path / "mnist" / "3.0.1", fileFormat="tfrecord")
  _pretend(tmp_path / "cifar10" / "3.0.2")  # before TFDS recorded the format
  for name in ("mnist", "cifar10"):
    for function in (tfds.load, prepare.prepare):
      message = _error(function, name, tmp_path)
      assert f"python -m lth_jax.data.prepare {name}" in message
      assert "TensorFlow" in message


def test_description_cut_short_is_an_error(tmp_path):
  folder = tmp_path / "mnist" / "3.0.1"
  folder.mkdir(parents=True)
  (folder / "dataset_info.json").write_text("{")
  assert "damaged" in _error(data.load, "mnist", data_dir=str(tmp_path))


def test_missing_tensorflow_datasets_is_an_error(tmp_path, tiny, monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
  _pretend(tmp_path / "mnist" / "3.0.1", fileFormat="array_record")
  message = _error(data.load, "mnist", data_dir=str(tmp_path))
  assert "pip install -e '.[tfds]'" in message
  message = _error(prepare.prepare, "mnist", tmp_path / "new", tiny)
  assert "pip install -e '.[tfds]'" in message
  assert not (tmp_path / "new").exists()


def test_prepare_command_prints_one_line(tmp_path):
  command = [sys.executable, "-m", "lth_jax.data.prepare", "mnist"]
  done = subprocess.run(
    [*command, f"--from_dir={tmp_path}", f"--data_dir={tmp_path / 'out'}"],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
  assert not (tmp_path / "out").exists()


def test_unreachable_host_is_an_error(monkeypatch):
  monkeypatch.setitem(prepare.URLS, "mnist", "http://127.0.0.1:9/")
  message = _error(prepare.fetch, "mnist", None)
  assert "127.0.0.1" in message and "--from_dir" in message


@pytest.fixture
def library():
  for package in ("importlib_resources", "PIL", "tensorflow_datasets"):
    pytest.importorskip(package, reason="needs `pip install -e '.[tfds]'`")
  return tfds.import_library()


def _store(library, data_dir, keys=("image", "label"), **sizes):
  """Writes images of the given sizes by split, with a builder of our own."""
  import PIL.Image

  features = library.features

  class Builder(library.core.GeneratorBasedBuilder, skip_registration=True):
    name = "shapes"
    VERSION = library.core.Version("1.0.0")

    def _info(self):
      image = features.Image(shape=(None, None, 1))
      spec = {"image": image, "label": features.ClassLabel(num_classes=3)}
      return library.core.DatasetInfo(
        builder=self,
        features=features.FeaturesDict(spec),
        supervised_keys=keys,
      )

    def _split_generators(self, dl_manager):
      return {part: self._generate_examples(sizes[part]) for part in sizes}

    def _generate_examples(self, sizes):
      for i, size in enumerate(sizes):
        image = PIL.Image.fromarray(np.full(size, i, np.uint8))
        yield i, {"image": image, "label": i % 3 if size[0] > 1 else -1}

  Builder(data_dir=data_dir, file_format="array_record").download_and_prepare()


def test_prepared_mnist_holds_the_same_examples(library, tiny, tmp_path):
  out = tmp_path / "out"
  folder = prepare.prepare("mnist", str(out), str(tiny))
  assert folder == out / "mnist" / "3.0.1"
  original = data.load("mnist", data_dir=str(tiny))
  loaded = data.load("mnist", data_dir=str(out))
  assert loaded.source == "tfds" and loaded.num_classes == 10
  for one, other in zip(
    (original.train, original.test), (loaded.train, loaded.test)
  ):
    assert one.images.shape == other.images.shape
    assert other.images.dtype == np.uint8 and other.labels.dtype == np.int32
    assert _examples(one) == _examples(other)
  again = prepare.prepare("mnist", str(out))  # No need of files or a network.
  assert again == folder
  assert "tensorflow" not in sys.modules


def test_damaged_array_record_is_an_error(library, tiny, tmp_path):
  folder = prepare.prepare("mnist", str(tmp_path / "out"), str(tiny))
  file = next(folder.glob("*-test.array_record*"))
  whole = file.read_bytes()
  middle = whole.rindex(b"IDAT")
  for contents in (
    whole[: len(whole) // 2],
    whole[:middle] + b"\0" * 50 + whole[middle + 50 :],
  ):
    file.write_bytes(contents)
    message = _error(data.load, "mnist", data_dir=str(tmp_path / "out"))
    assert "'test'" in message and str(folder) in message


def test_any_set_of_one_size_is_read(library, tmp_path):
  _store(library, tmp_path, train=[(5, 6)] * 7, test=[(5, 6)] * 4)
  loaded = data.load("shapes", data_dir=str(tmp_path))
  assert loaded.train.images.shape == (7, 5, 6, 1)
  assert loaded.num_classes == 3
  values = loaded.test.images[:, 0, 0, 0]
  assert sorted(values.tolist()) == list(range(4))
  np.testing.assert_array_equal(values % 3, loaded.test.labels)


def test_sets_that_do_not_fit_are_errors(library, tmp_path):
  one = [(5, 6)] * 2
  two = [(5, 6), (5, 7)]
  for folder, part, stored in (
    ("sizes", "differing sizes", {"train": two, "test": one}),
    ("splits", "one size", {"train": one, "test": [(7, 7)]}),
    ("parts", "split 'test'", {"train": one, "validation": one}),
    ("labels", "without a label", {"train": one, "test": [(1, 6)]}),
    ("keys", "supervised keys", {"keys": None, "train": one, "test": one}),
  ):
    _store(library, tmp_path / folder, **stored)
    message = _error(data.load, "shapes", data_dir=str(tmp_path / folder))
    assert part in message and str(tmp_path / folder) in message


def test_folder_that_cannot_be_written_is_an_error(library, tiny, tmp_path):
  (tmp_path / "file").write_text("")
  out = tmp_path / "file" / "out"
  assert str(out) in _error(prepare.prepare, "mnist", str(out), str(tiny))


def test_other_sets_need_tensorflow_to_prepare(library, tmp_path):
  if importlib.util.find_spec("tensorflow"):
    pytest.skip("TensorFlow is installed")
  message = _error(prepare.prepare, "cifar10", str(tmp_path))
  assert "pip install tensorflow" in message
