"""Finding a data set, and the bundled one."""

import importlib.resources
import importlib.util
import pathlib

import numpy as np
import pytest
from helpers import hostile

from lth_jax import data, errors
from lth_jax.data import bundled, cifar, idx, sheets

BINARY = [f"{file}.bin" for file in cifar.FILES["cifar10"]]
ROOT = pathlib.Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "mnist"
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def shares(counts, total):
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
    (loaded.train, TRAIN_COUNTS),
    (loaded.test, TEST_COUNTS),
  ):
    assert split.images.dtype == np.uint8 and split.images.max() == 255
    assert split.labels.dtype == np.int32
    expected = shares(counts, split.labels.size)
    assert np.bincount(split.labels).tolist() == expected


def test_bundled_is_what_the_tool_picks_from_the_originals():
  if not REAL.exists():
    pytest.skip("the original MNIST files are not next to this checkout")
  spec = importlib.util.spec_from_file_location(
    "bundle_mnist", ROOT / "tools" / "bundle_mnist.py"
  )
  tool = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(tool)
  original, subset = (
    data.load("mnist", data_dir=str(REAL)),
    data.load(*_BUNDLED),
  )
  assert np.bincount(original.train.labels).tolist() == TRAIN_COUNTS
  assert np.bincount(original.test.labels).tolist() == TEST_COUNTS
  for whole, some in zip(original[1:3], subset[1:3]):
    picked = tool.pick(whole.labels, some.labels.size)
    np.testing.assert_array_equal(whole.images[picked], some.images)
    np.testing.assert_array_equal(whole.labels[picked], some.labels)


_BUNDLED = ("mnist_10k",)


@pytest.mark.parametrize("where", [100, 800_000, -100])
def test_a_damaged_bundle_is_an_error(monkeypatch, tmp_path, where):
  path = importlib.resources.files("lth_jax.data") / "mnist_10k.xz"
  contents = bytearray(path.read_bytes())
  contents[where] ^= 1
  (tmp_path / path.name).write_bytes(contents)
  monkeypatch.setattr(importlib.resources, "files", lambda _: tmp_path)
  assert "install lth_jax again" in hostile.error(data.load, "mnist_10k")


def test_arrays_lie_where_devices_use_them_in_place():
  for part in data.load("mnist_10k")[1:3]:
    assert all(array.ctypes.data % 64 == 0 for array in part)


def test_digests_cover_type_shape_contents_and_order():
  images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
  labels = np.array([1, 0], np.int32)

  def digest(images, labels, source="idx"):
    split = data.Examples(images, labels)
    return data.digests(data.Dataset("any", split, split, 2, source))

  base = digest(images, labels)
  assert len(base) == 4
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


@pytest.mark.parametrize(
  ("name", "source", "word"),
  [
    ("mnits", "bundled", "mnist_10k"),
    ("mnist_10k", "idx", "fashion_mnist"),
    ("svhn", "cifar", "cifar100"),
    ("mnist", "web", "auto"),
    ("mnits", "auto", "mnist_10k"),
    ("mnist_10k", "tfds", "prepare"),
    *(("mnist", source, "--data_dir") for source in ("idx", "auto")),
    *(("cifar10", source, "--data_dir") for source in ("cifar", "auto")),
  ],
)
def test_unknown_names_and_missing_data_are_errors(
  tmp_path, monkeypatch, name, source, word
):
  message = hostile.error(
    data.load, name, source=source, data_dir=str(tmp_path)
  )
  assert word in message
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  default = hostile.error(data.load, name, source=source)
  assert default == message.replace(f" --data_dir={tmp_path}`", "`")


@pytest.mark.parametrize("source", ["auto", "own"])
@pytest.mark.parametrize(
  ("name", "own"), [("mnist", "idx"), ("cifar10", "cifar"), ("svhn", "tfds")]
)
def test_an_error_names_the_command_that_gets_the_data(
  tmp_path, name, own, source
):
  source = own if source == "own" else source
  message = hostile.error(
    data.load, name, source=source, data_dir=str(tmp_path)
  )
  assert f"lth_jax.data.prepare {name} --data_dir={tmp_path}`" in message


@pytest.mark.parametrize(
  ("names", "words"),
  [
    (["a b.zip"], ["'a b.zip': give that archive as --data_dir"]),
    (["cifar-10.tar.gz", "notes"], ["'cifar-10.tar.gz': give that archive"]),
    (["train.csv", "test.csv"], ["holds 'test.csv'", "--dataset=npz:FILE"]),
    ([], ["empty"]),
    (None, ["no such folder"]),
    ("file", ["name the folder"]),
  ],
)
@pytest.mark.parametrize(
  ("source", "name"),
  [("auto", "svhn"), ("idx", "fashion_mnist"), ("cifar", "cifar10")],
)
def test_an_error_tells_what_is_there_instead(
  tmp_path, names, words, source, name
):
  folder = tmp_path / "data"
  if names == "file":
    folder.write_text("")
  elif names is not None:
    folder.mkdir()
    for file in names:
      (folder / file).write_bytes(b"")
  message = hostile.error(data.load, name, source=source, data_dir=str(folder))
  assert all(word in message for word in words)


@pytest.mark.parametrize(
  ("name", "file", "others"),
  [
    ("mnist", f"{idx.FILES[0]}.gz", ()),
    ("mnist", "mnist.npz", ()),
    (
      "cifar10",
      "data_batch_1.bin",
      [f"{x}.bin" for x in cifar.FILES["cifar10"]],
    ),
    ("cifar10", "data_batch_1", cifar.FILES["cifar10"]),
    ("cifar10", "data_batch_1.webp", sheets.FILES),
    ("emnist", "emnist/3.0.1/dataset_info.json", ()),
    (
      "emnist",
      "emnist/3.0.1/emnist.array_record-0",
      ("emnist/3.0.1/dataset_info.json",),
    ),
  ],
)
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path, name, file, others):
  path = tmp_path / file
  path.parent.mkdir(parents=True, exist_ok=True)
  for other in others:
    (tmp_path / other).write_bytes(b"")
  path.unlink(missing_ok=True)
  path.mkdir()
  message = hostile.error(data.load, name, data_dir=str(tmp_path))
  assert str(tmp_path) in message and (
    "irectory" in message or name == "emnist"
  )


@pytest.mark.parametrize(
  ("images", "labels"),
  [
    (np.zeros((4, 8, 8, 1), np.float32), [0, 1, 2, 0]),
    (np.zeros((4, 8, 8), np.uint8), [0, 1, 2, 0]),
    (np.zeros((4, 8, 8, 1), np.uint8), [0, 1, 2]),
    (np.zeros((4, 8, 8, 1), np.uint8), [0, 1, 2, 3]),
    (np.zeros((4, 8, 8, 1), np.uint8), [0, 1, 2, -1]),
  ],
)
def test_a_reader_that_returns_other_arrays_is_an_error(
  monkeypatch, images, labels
):
  part = data.Examples(images, np.array(labels, np.int32))
  loaded = data.Dataset("mnist_10k", part, part, 3, "made")
  monkeypatch.setattr(bundled, "load", lambda *_: loaded)
  with pytest.raises(errors.InputError, match=r"uint8 \[N, H, W, C\]"):
    data.load("mnist_10k")
