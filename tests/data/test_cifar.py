"""CIFAR-10 and CIFAR-100 from original files, and CIFAR-10 from sheets."""

import hashlib
import io
import pathlib
import pickle
import shutil
import struct
import sys
import tarfile
import tempfile

import numpy as np
import pytest
from helpers import hostile

from lth_jax import data
from lth_jax.data import cifar, sheets

REAL = pathlib.Path(__file__).parents[3] / "shared" / "data" / "cifar10"
TILES = 10  # along a side of a tiny sheet
BATCH = TILES**2
BINARY = [f"{file}.bin" for file in cifar.FILES["cifar10"]]


@pytest.fixture
def examples(monkeypatch):
  """Images and labels of a small CIFAR-10: batches of 100."""
  monkeypatch.setattr(cifar, "BATCH_SIZE", BATCH)
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, [6 * BATCH, 32, 32, 3], np.uint8)
  labels = np.concatenate(
    [rng.permutation(np.arange(n) % 10) for n in (5 * BATCH, BATCH)]
  )
  return images, labels.astype(np.uint8)


def _write_binary(folder, images, labels, batch):
  folder.mkdir(parents=True, exist_ok=True)
  for i, file in enumerate(BINARY):
    contents = io.BytesIO()
    for image, label in zip(
      images[i * batch : (i + 1) * batch], labels[i * batch : (i + 1) * batch]
    ):
      contents.write(bytes([label]))
      for channel in range(3):
        contents.write(image[:, :, channel].tobytes())
    (folder / file).write_bytes(contents.getvalue())


@pytest.fixture
def binary(examples, tmp_path):
  _write_binary(tmp_path / "binary", *examples, BATCH)
  return tmp_path / "binary"


def _python_2(pixels, labels, *, coarse=None):
  """A batch as Python 2 pickled it, protocol 2; of CIFAR-100 if `coarse`."""

  def text(value):
    return b"U" + bytes([len(value)]) + value

  def numbers(name, values):
    return text(name) + b"]q\x05(" + b"".join(b"K%c" % x for x in values) + b"e"

  parts = [
    b"\x80\x02}q\x01(" + text(b"batch_label") + text(b"training batch 1 of 5"),
    numbers(b"labels" if coarse is None else b"fine_labels", labels),
    b"" if coarse is None else numbers(b"coarse_labels", coarse),
    text(b"data") + b"cnumpy.core.multiarray\n_reconstruct\nq\x07",
    b"cnumpy\nndarray\nq\x08K\x00\x85" + text(b"b") + b"\x87R(K\x01M",
    struct.pack("<H", len(labels)) + b"M\x00\x0c\x86cnumpy\ndtype\n",
    text(b"u1")
    + b"K\x00K\x01\x87R(K\x03"
    + text(b"|")
    + b"NNNK\x00K\x00tb\x89",
    b"T" + struct.pack("<I", pixels.nbytes) + pixels.tobytes() + b"tb",
    text(b"filenames") + b"](" + text(b"leptodactylus.png") * len(labels),
    b"eu.",
  ]
  return b"".join(parts)


@pytest.fixture
def pickles(examples, tmp_path, monkeypatch):
  """A function that writes six batches to a folder, and makes them known."""
  images, labels = examples
  pixels = images.transpose(0, 3, 1, 2).reshape(len(images), -1)

  def write(place=""):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for i, file in enumerate(cifar.FILES["cifar10"]):
      part = slice(i * BATCH, (i + 1) * BATCH)
      contents = _python_2(pixels[part], labels[part])
      (folder / file).write_bytes(contents)
      digest = hashlib.md5(contents).hexdigest()
      monkeypatch.setitem(cifar.MD5, file, digest)

  return write


@pytest.mark.parametrize(
  "place",
  [
    "",
    "cifar-10-batches-py",
    "cifar10/cifar-10-batches-py",
    "cifar-10-batches-py-target/cifar-10-batches-py",
  ],
)
def test_pickles_are_read_in_their_order(pickles, tmp_path, examples, place):
  pickles(place)
  loaded = data.load("cifar10", data_dir=str(tmp_path))
  assert loaded.source == "cifar"
  _assert_holds(loaded, *examples)


@pytest.mark.parametrize("given", ["", "cifar-10-python.tar.gz"])
def test_an_archive_is_read_as_it_was_downloaded(
  pickles, tmp_path, examples, given
):
  pickles("cifar-10-batches-py")
  with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as packed:
    packed.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
  shutil.rmtree(tmp_path / "cifar-10-batches-py")
  before = sorted(tmp_path.iterdir())
  loaded = data.load("cifar10", data_dir=str(tmp_path / given))
  _assert_holds(loaded, *examples)
  assert sorted(tmp_path.iterdir()) == before
  (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b cut")
  assert "cifar-10-python.tar.gz" in _error(tmp_path / given)


@pytest.fixture
def hundred(monkeypatch):
  """Images, coarse and fine labels of a small CIFAR-100."""
  monkeypatch.setattr(cifar, "BATCH_SIZE", BATCH)
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, [6 * BATCH, 32, 32, 3], np.uint8)
  labels = [rng.permutation(np.arange(n) % 100) for n in (5 * BATCH, BATCH)]
  labels = np.concatenate(labels).astype(np.uint8)
  return images, labels % 20, labels


def _hundred_files(hundred):
  """(name, planes, coarse labels, fine labels) of each file of CIFAR-100."""
  images, coarse, fine = hundred
  planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
  yield "train", *(x[: 5 * BATCH] for x in (planes, coarse, fine))
  yield "test", *(x[5 * BATCH :] for x in (planes, coarse, fine))


@pytest.mark.parametrize("place", ["", "cifar-100-binary"])
def test_cifar100_is_read_from_binary_files(hundred, tmp_path, place):
  (tmp_path / place).mkdir(exist_ok=True)
  for file, planes, coarse, fine in _hundred_files(hundred):
    records = np.concatenate([coarse[:, None], fine[:, None], planes], axis=1)
    (tmp_path / place / f"{file}.bin").write_bytes(records.tobytes())
  loaded = data.load("cifar100", data_dir=str(tmp_path))
  _assert_holds(loaded, hundred[0], hundred[2], "cifar100", 100)
  path = tmp_path / place / "test.bin"
  path.write_bytes(path.read_bytes()[3074:] + bytes([0, 100] + [0] * 3072))
  message = hostile.error(data.load, "cifar100", data_dir=str(tmp_path))
  assert str(path) in message and "label 100" in message


@pytest.mark.parametrize(
  "place", ["", "cifar-100-python", "cifar-100-python-target/cifar-100-python"]
)
def test_cifar100_is_read_from_pickles(hundred, tmp_path, monkeypatch, place):
  folder = tmp_path / place
  folder.mkdir(parents=True, exist_ok=True)
  for file, planes, coarse, fine in _hundred_files(hundred):
    contents = _python_2(planes, fine, coarse=coarse)
    (folder / file).write_bytes(contents)
    monkeypatch.setitem(cifar.MD5, file, hashlib.md5(contents).hexdigest())
  loaded = data.load("cifar100", data_dir=str(tmp_path))
  _assert_holds(loaded, hundred[0], hundred[2], "cifar100", 100)
  (folder / "test").write_bytes(pickle.dumps(hostile.Trap()))
  message = hostile.error(data.load, "cifar100", data_dir=str(tmp_path))
  assert str(folder / "test") in message and "md5" in message


def test_a_folder_named_as_a_file_of_cifar100_is_none(tmp_path):
  (tmp_path / "train").mkdir()
  message = hostile.error(data.load, "cifar100", data_dir=str(tmp_path))
  assert "No data set 'cifar100'" in message and "folder:FOLDER" in message


@pytest.mark.parametrize("change", ["empty", "trap", "saved again", "cut"])
def test_a_pickle_that_is_no_original_is_an_error(pickles, tmp_path, change):
  pickles()
  path = tmp_path / "data_batch_2"
  pixels = np.zeros((BATCH, 3072), np.uint8)
  again = {b"labels": [1] * BATCH, b"data": np.asfortranarray(pixels)}
  path.write_bytes({
    "empty": b"",
    "trap": pickle.dumps(hostile.Trap()),
    "saved again": pickle.dumps(again, 2),
    "cut": path.read_bytes()[:-100],
  }[change])  # fmt: skip
  message = _error(tmp_path)
  assert str(path) in message and "download it again" in message


@pytest.fixture
def tiled(examples, tmp_path, monkeypatch):
  image = pytest.importorskip("PIL.Image", reason="sheets need Pillow")
  folder = tmp_path / "sheets"
  folder.mkdir()
  images, labels = examples
  np.save(folder / "labels.npy", labels)
  for i, file in enumerate(sheets.FILES[:6]):
    sheet = image.new("RGB", (32 * TILES, 32 * TILES))
    for j in range(BATCH):
      place = 32 * (j % TILES), 32 * (j // TILES)
      sheet.paste(image.fromarray(images[i * BATCH + j]), place)
    sheet.save(folder / file, lossless=True, quality=0)
  for file in sheets.FILES:
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    monkeypatch.setitem(sheets.SHA256, file, digest)
  return folder


def _error(folder, source="auto"):
  return hostile.error(
    data.load, "cifar10", source=source, data_dir=str(folder)
  )


def _assert_holds(loaded, images, labels, name="cifar10", num_classes=10):
  assert loaded.name == name and loaded.num_classes == num_classes
  for split, part in (
    (loaded.train, slice(0, 5 * BATCH)),
    (loaded.test, slice(5 * BATCH, None)),
  ):
    assert split.images.dtype == np.uint8 and split.labels.dtype == np.int32
    np.testing.assert_array_equal(split.images, images[part])
    np.testing.assert_array_equal(split.labels, labels[part])


@pytest.mark.parametrize("place", ["", "cifar-10-batches-bin"])
def test_binary_files_are_read_in_their_order(tmp_path, examples, place):
  _write_binary(tmp_path / place, *examples, BATCH)
  loaded = data.load("cifar10", data_dir=str(tmp_path))
  assert loaded.source == "cifar"
  _assert_holds(loaded, *examples)


def test_sheets_are_read_in_their_order(tiled, binary, examples):
  loaded = data.load("cifar10", data_dir=str(tiled))
  assert loaded.source == "cifar_sheets"
  _assert_holds(loaded, *examples)
  there = data.load("cifar10", data_dir=str(binary))
  assert data.digests(loaded) == data.digests(there)


def test_originals_come_before_sheets_even_if_incomplete(tiled, binary):
  (binary / "test_batch.bin").rename(tiled / "test_batch.bin")
  message = _error(tiled)
  assert "No file data_batch_1.bin" in message and str(tiled) in message


def test_a_missing_or_unreadable_file_is_named(tiled, binary):
  for folder, file in (
    (binary, "data_batch_3.bin"),
    (tiled, "test_batch.webp"),
    (tiled, "labels.npy"),
  ):
    (folder / file).rename(folder / "elsewhere")
    for source in ("auto", "cifar"):
      message = _error(folder, source)
      assert f"No file {file}" in message and str(folder) in message
    (folder / file).mkdir()
    message = _error(folder)
    assert str(folder / file) in message and "access" in message
    (folder / file).rmdir()
    (folder / "elsewhere").rename(folder / file)


def test_a_record_has_3073_bytes_and_a_batch_10000_records(tmp_path):
  for file in BINARY:
    (tmp_path / file).write_bytes(b"")
  assert "30,730,000" in _error(tmp_path)


def test_a_binary_file_of_another_size_is_an_error(binary):
  path = binary / "data_batch_2.bin"
  whole = path.read_bytes()
  for contents in (b"", whole[:-1], whole + b"\0"):
    path.write_bytes(contents)
    message = _error(binary)
    assert str(path) in message and f"{len(contents):,} bytes" in message


def test_an_impossible_label_is_an_error(binary):
  path = binary / "test_batch.bin"
  contents = bytearray(path.read_bytes())
  contents[7 * 3073] = 10
  path.write_bytes(contents)
  message = _error(binary)
  assert str(path) in message and "label 10" in message


def test_an_empty_stretch_or_a_file_twice_is_an_error(binary):
  path = binary / "data_batch_4.bin"
  whole = path.read_bytes()
  middle = len(whole) // 2
  hole = whole[:middle] + bytes(len(whole) - middle)
  other = (binary / "data_batch_5.bin").read_bytes()
  for contents in (hole, other):
    path.write_bytes(contents)
    message = _error(binary)
    assert str(binary) in message and "should have 50" in message


def test_an_altered_sheet_is_an_error(tiled):
  for file in sheets.FILES:
    path = tiled / file
    whole = path.read_bytes()
    for contents in (b"", whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]):
      path.write_bytes(contents)
      message = _error(tiled)
      assert str(path) in message and "sha256" in message
    path.write_bytes(whole)


def test_labels_are_not_unpickled(tiled, monkeypatch):
  path = tiled / "labels.npy"
  np.save(path, np.array([hostile.Trap()], object))
  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  monkeypatch.setitem(sheets.SHA256, "labels.npy", digest)
  with pytest.raises(ValueError, match="allow_pickle=False"):
    sheets.read(tiled)


def test_only_sheets_need_pillow(tiled, binary, monkeypatch):
  monkeypatch.setitem(sys.modules, "PIL", None)
  data.load("cifar10", data_dir=str(binary))
  message = _error(tiled)
  assert "pip install --upgrade pillow" in message and "PIL" in message


def test_the_real_sheets_and_binary_files_made_of_them():
  pytest.importorskip("PIL.Image", reason="sheets need Pillow")
  if not REAL.exists():
    pytest.skip("the sheets of CIFAR-10 are not next to this checkout")
  loaded = data.load("cifar10", data_dir=str(REAL))
  train, test = loaded.train, loaded.test
  assert train.images.shape == (50_000, 32, 32, 3)
  assert test.images.shape == (10_000, 32, 32, 3)
  assert train.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
  assert test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
  # The constants that everyone standardises CIFAR-10 by.
  pixels = train.images.reshape(-1, 3)
  np.testing.assert_allclose(
    pixels.mean(0) / 255, [0.4914, 0.4822, 0.4465], atol=6e-5
  )
  np.testing.assert_allclose(
    pixels.std(0) / 255, [0.2470, 0.2435, 0.2616], atol=6e-5
  )
  images = np.concatenate([train.images, test.images])
  labels = np.concatenate([train.labels, test.labels])
  with tempfile.TemporaryDirectory() as folder:
    _write_binary(pathlib.Path(folder), images, labels, 10_000)
    again = data.load("cifar10", data_dir=folder)
  assert again.source == "cifar"
  assert data.digests(again) == data.digests(loaded)
