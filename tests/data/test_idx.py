"""MNIST and Fashion-MNIST from their original files, and their download."""

import gzip
import shutil

import numpy as np
import pytest
from helpers import hostile

from lth_jax import data
from lth_jax.data import idx, prepare


def load(folder, name="mnist"):
  return data.load(name, source="idx", data_dir=str(folder))


def test_arrays_are_those_that_were_written(tiny_mnist):
  loaded = data.load("mnist", data_dir=str(tiny_mnist))
  assert loaded.name == "mnist" and loaded.source == "idx"
  assert loaded.test.images.shape == (20, 28, 28, 1)
  assert loaded.test.images.dtype == np.uint8
  assert loaded.test.labels.dtype == np.int32
  assert loaded.train.labels.tolist() == [i % 10 for i in range(30)]
  rng = np.random.default_rng(0)
  expected = rng.integers(0, 256, [30, 28, 28])
  np.testing.assert_array_equal(loaded.train.images[..., 0], expected)


@pytest.mark.parametrize("place", ["", "mnist", "raw", "MNIST/raw"])
@pytest.mark.parametrize("spell", ["-idx", ".idx"])
@pytest.mark.parametrize(
  ("ending", "pack"),
  [
    ("", bytes),
    (".gz", lambda x: gzip.compress(x, compresslevel=1, mtime=7)),
    (".gz", bytes),
  ],
  ids=["plain", "packed again", "unpacked by a browser"],
)
def test_files_are_found_as_others_leave_them(
  tiny_mnist, tmp_path, place, spell, ending, pack
):
  folder = tmp_path / "theirs" / place
  folder.mkdir(parents=True)
  for file in idx.FILES:
    contents = gzip.decompress((tiny_mnist / f"{file}.gz").read_bytes())
    if spell == ".idx":  # as in Kaggle's archive
      (folder / file).mkdir()
    path = folder / (file.replace("-idx", spell) + ending)
    path.write_bytes(pack(contents))
  found = data.load("mnist", data_dir=str(tmp_path / "theirs"))
  assert data.digests(found) == data.digests(load(tiny_mnist))


def test_data_sets_below_one_folder_are_kept_apart(
  tiny_mnist, tmp_path, monkeypatch
):
  monkeypatch.setitem(idx.SHA256, "fashion_mnist", idx.SHA256["mnist"])
  root = tmp_path / "root"
  for name, folder in (("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")):
    assert not idx.holds(name, root)
    shutil.copytree(tiny_mnist, root / folder / "raw")
    assert load(root, name).source == "idx"


def save_npz(path, folder, save=np.savez, **changes):
  loaded = load(folder)
  arrays = {
    "x_train": loaded.train.images[..., 0],
    "y_train": loaded.train.labels.astype(np.uint8),
    "x_test": loaded.test.images[..., 0],
    "y_test": loaded.test.labels.astype(np.uint8),
  } | changes
  save(path, **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_of_keras_are_read(tiny_mnist, tmp_path, save):
  save_npz(tmp_path / "mnist.npz", tiny_mnist, save)
  found = data.load("mnist", data_dir=str(tmp_path))
  assert data.digests(found) == data.digests(load(tiny_mnist))
  assert not idx.holds("fashion_mnist", tmp_path)


@pytest.mark.parametrize(
  "array",
  [
    None,
    np.zeros((30, 28, 28), np.uint8),
    np.zeros((2, 2), float),
    np.zeros((2**40, 0), np.uint8),
    np.zeros(2**27, np.uint8),
    np.array([hostile.Trap()], object),
  ],
  ids=["missing", "other", "float", "endless", "large", "pickle"],
)
def test_other_arrays_than_those_of_keras_are_errors(
  tiny_mnist, tmp_path, array
):
  path = tmp_path / "mnist.npz"
  save_npz(path, tiny_mnist, np.savez_compressed, x_train=array)
  assert str(path) in hostile.error(load, tmp_path)


def flip(contents, position):
  contents = bytearray(contents)
  contents[position] ^= 0xFF
  return bytes(contents)


@pytest.mark.parametrize(
  ("harm", "word"),
  [
    (lambda x: x[: len(x) // 2], "cut short"),
    (lambda x: gzip.compress(gzip.decompress(x)[:-5]), "not the original"),
    (lambda x: gzip.compress(b""), "not the original"),
    (lambda x: gzip.compress(b"\x89PNG" * 9), "sha256"),
    (lambda x: b"", "not the original"),
    *((lambda x, i=i: flip(x, i), "") for i in (0, 3, 40, 9_000, -6)),
  ],
)
def test_a_damaged_file_is_named(tiny_mnist, harm, word):
  path = tiny_mnist / f"{idx.FILES[0]}.gz"
  path.write_bytes(harm(path.read_bytes()))
  message = hostile.error(load, tiny_mnist)
  assert str(path) in message and word in message and "again" in message


def test_files_of_the_other_data_set_are_told_apart(tiny_mnist):
  message = hostile.error(load, tiny_mnist, "fashion_mnist")
  assert "belongs to mnist" in message


def test_a_missing_file_is_named_in_auto_too(tiny_mnist):
  (tiny_mnist / f"{idx.FILES[2]}.gz").unlink()
  message = hostile.error(data.load, "mnist", data_dir=str(tiny_mnist))
  assert idx.FILES[2] in message and str(tiny_mnist) in message


def test_a_download_is_found_where_it_was_put(
  tiny_mnist, tmp_path, monkeypatch
):
  root = tmp_path / "root"
  monkeypatch.setitem(prepare.URLS, "mnist", f"{tiny_mnist.as_uri()}/")
  folder = prepare.download("mnist", root)
  assert [x.name for x in root.iterdir()] == [folder.name]
  found = data.load("mnist", data_dir=str(root))
  assert data.digests(found) == data.digests(load(tiny_mnist))
  shutil.rmtree(tiny_mnist)
  assert prepare.download("mnist", root) == folder  # nothing is downloaded


def test_a_download_that_fails_leaves_nothing(
  tiny_mnist, tmp_path, monkeypatch
):
  root = tmp_path / "root"
  monkeypatch.setitem(prepare.URLS, "mnist", "http://127.0.0.1:9/")
  message = hostile.error(prepare.download, "mnist", root)
  assert "127.0.0.1" in message and "--data_dir" in message
  monkeypatch.setitem(prepare.URLS, "mnist", f"{tiny_mnist.as_uri()}/")
  (tiny_mnist / f"{idx.FILES[3]}.gz").write_bytes(gzip.compress(b"other"))
  message = hostile.error(prepare.download, "mnist", root)
  assert "not the original" in message and not list(root.iterdir())
  (tmp_path / "file").write_text("")
  message = hostile.error(prepare.download, "mnist", tmp_path / "file")
  assert str(tmp_path / "file") in message
