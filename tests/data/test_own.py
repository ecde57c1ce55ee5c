"""Data of one's own, and archives that are not unpacked."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from helpers import hostile

from lth_jax import data
from lth_jax.config import sections
from lth_jax.data import dataset, idx, own

CODES = {"uint8": 8, "int16": 11, "int32": 12, "float32": 13}


def arrays(channels=0):
  """Twelve images of three classes to train on, six to test."""
  rng = np.random.default_rng(0)
  shape = [5, 6] + [channels] * bool(channels)
  return {
    "x_train": rng.integers(0, 256, [12, *shape], np.uint8),
    "y_train": np.arange(12) % 3,
    "x_test": rng.integers(0, 256, [6, *shape], np.uint8),
    "y_test": np.arange(6) // 2,
  }


def npz(folder, save=np.savez, **changes):
  made = arrays() | changes
  save(folder / "a.npz", **{k: v for k, v in made.items() if v is not None})
  return "npz:a.npz"


def idx_bytes(array):
  code = CODES[array.dtype.name]
  header = struct.pack(
    f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape
  )
  return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


IDX_FILES = {
  "x_train": "train-images-idx3-ubyte",
  "y_train": "train-labels-idx1-ubyte",
  "x_test": "t10k-images-idx3-ubyte",
  "y_test": "t10k-labels-idx1-ubyte",
}


def idx_files(folder, rename=str, pack=bytes, kind=np.uint8, place="set"):
  (folder / place).mkdir(parents=True, exist_ok=True)
  for name, array in arrays().items():
    array = array if array.ndim > 1 else array.astype(kind)
    file = folder / place / rename(IDX_FILES[name])
    file.write_bytes(pack(idx_bytes(array)))
  return f"idx:{place}"


def twice(folder):
  idx_files(folder)
  return idx_files(folder, lambda x: f"{x}.gz", gzip.compress)


def pictures(folder, names=("train", "test"), channels=0, root="set"):
  """Writes images; those of a class are in the order of their file names."""
  image = pytest.importorskip("PIL.Image", reason="images need Pillow")
  made = arrays(channels)
  for part, name in zip(("train", "test"), names):
    for i, (x, y) in enumerate(zip(made[f"x_{part}"], made[f"y_{part}"])):
      place = folder / root / name / "cab"[y]
      place.mkdir(parents=True, exist_ok=True)
      image.fromarray(x).save(place / f"{i:02}.png")
  (folder / root / names[0] / ".DS_Store").write_bytes(b"\0")
  (folder / root / "README.md").write_text("two parts")
  return f"folder:{root}"


def packed(ending, name, folder):
  """Packs a folder as people do, with the folder itself inside."""
  root = name.partition(":")[2]
  paths = sorted((folder / root).rglob("*"))
  if ending == ".zip":
    with zipfile.ZipFile(folder / "b.zip", "w", zipfile.ZIP_DEFLATED) as file:
      for path in paths:
        file.write(path, path.relative_to(folder))
      file.writestr("__MACOSX/set/._x", b"")
  else:
    with tarfile.open(folder / f"b{ending}", "w:gz") as file:
      file.add(folder / root, f"./{root}")
  return f"{name.partition(':')[0]}:b{ending}"


def expect(loaded, made, order_train=slice(None), order_test=slice(None)):
  for part, order in (("train", order_train), ("test", order_test)):
    found = getattr(loaded, part)
    images, labels = made[f"x_{part}"][order], made[f"y_{part}"][order]
    images = images if images.ndim == 4 else images[..., None]
    assert found.images.dtype == np.uint8 and found.labels.dtype == np.int32
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.labels, labels.reshape(-1))
  assert loaded.num_classes == 3 and loaded.source == "own"


@pytest.mark.parametrize(
  "write",
  [
    npz,
    lambda folder: npz(folder, np.savez_compressed),
    lambda folder: npz(folder, x_valid=np.zeros(3), names=np.array(["a"])),
    twice,
    lambda folder: idx_files(folder, lambda x: f"{x}.gz", gzip.compress),
    lambda folder: idx_files(folder, lambda x: x.replace("-idx", ".idx")),
    lambda folder: idx_files(folder, lambda x: f"my-{x}.IDX", kind=np.int32),
    lambda folder: packed(".zip", idx_files(folder), folder),
    lambda folder: packed(".tar.gz", twice(folder), folder),
  ],
)
def test_arrays_are_those_that_were_written(tmp_path, write):
  name = write(tmp_path)
  expect(data.load(name, data_dir=str(tmp_path)), arrays())
  expect(data.load(name, source="own", data_dir=str(tmp_path)), arrays())


def test_arrays_may_have_other_names_and_labels_two_axes(tmp_path):
  made = arrays(channels=3)
  np.savez(
    tmp_path / "m.npz",
    train_images=made["x_train"],
    train_labels=made["y_train"][:, None].astype(">u2"),
    test_images=np.asfortranarray(made["x_test"]),
    test_labels=made["y_test"].astype(np.int8),
    val_images=made["x_test"],
  )
  expect(data.load(f"npz:{tmp_path}/m.npz"), made)


@pytest.mark.parametrize("channels", [0, 3])
@pytest.mark.parametrize("names", [("train", "test"), ("Training", "testing")])
@pytest.mark.parametrize("ending", [None, ".zip", ".tgz"])
def test_images_by_class_go_round_the_classes(
  tmp_path, channels, names, ending
):
  name = pictures(tmp_path, names, channels)
  if ending:
    name = packed(ending, name, tmp_path)
  loaded = data.load(name, data_dir=str(tmp_path))
  made = arrays(channels)
  # Labels 0, 1, 2 were written to the folders c, a, b.
  renumber = np.array([2, 0, 1])
  made |= {k: renumber[made[k]] for k in ("y_train", "y_test")}
  expect(
    loaded, made, [1, 2, 0, 4, 5, 3, 7, 8, 6, 10, 11, 9], [2, 4, 0, 3, 5, 1]
  )
  assert loaded.classes == ("a", "b", "c")
  assert data.summary(loaded).endswith(
    f"12 training and 6 test images of 5x6x{channels or 1}, 3 classes: a, b, c."
  )


def test_the_kinds_are_those_of_the_flag():
  assert own.KINDS == sections.OWN_DATA


def objects(folder):
  return npz(folder, x_train=np.array([hostile.Trap()], object))


def a_pickle(folder):
  (folder / "a.npz").write_bytes(pickle.dumps(hostile.Trap()))
  return "npz:a.npz"


def cut(folder, name, file):
  path = folder / file
  path.write_bytes(path.read_bytes()[: -max(20, path.stat().st_size // 2)])
  return name


def one_array(folder):
  with open(folder / "a.npz", "wb") as file:
    np.save(file, np.zeros(3))
  return "npz:a.npz"


def is_folder(folder):
  (folder / "a.npz").mkdir()
  return "npz:a.npz"


ARRAYS = arrays()


@pytest.mark.parametrize(
  ("write", "words"),
  [
    (lambda x: "npz:b.npz", ["no b.npz in", "--data_dir", "is empty"]),
    (lambda x: npz(x) + "x", ["a.npzx", "It holds 'a.npz'"]),
    (lambda x: npz(x, x_test=None, y_test=None), ["no test images", "a sixth"]),
    (
      lambda x: npz(x, y_train=None),
      ["x_test, x_train, y_test", "train labels"],
    ),
    (lambda x: npz(x, train_images=ARRAYS["x_train"]), ["train_images", "one"]),
    (lambda x: npz(x, x_train=ARRAYS["x_train"] / 255), ["float64", "uint8"]),
    (lambda x: npz(x, x_train=ARRAYS["x_train"].astype(bool)), ["bool"]),
    (
      lambda x: npz(x, x_test=np.zeros((6, 30), np.uint8)),
      ["(6, 30)", "[N, H"],
    ),
    (lambda x: npz(x, x_test=np.zeros((0, 5, 6), np.uint8)), ["(0, 5, 6"]),
    (lambda x: npz(x, x_test=np.zeros((6, 3, 8, 8), np.uint8)), ["transpose"]),
    (lambda x: npz(x, x_test=np.zeros((6, 6, 5), np.uint8)), ["(6, 5, 1)"]),
    (lambda x: npz(x, y_train=np.eye(3)[ARRAYS["y_train"]]), ["argmax"]),
    (lambda x: npz(x, y_train=np.eye(12, dtype=int)), ["one-hot", "argmax"]),
    (lambda x: npz(x, y_train=np.arange(12.0)), ["float64", "integers"]),
    (lambda x: npz(x, y_train=np.arange(11)), ["(11,)", "12 images"]),
    (lambda x: npz(x, y_train=np.arange(12) - 1), ["from -1 to 10"]),
    (lambda x: npz(x, y_train=np.arange(12) + 2**40), ["from 1099"]),
    (lambda x: npz(x, y_train=np.arange(12) % 3 + 1), ["label 0", "gaps"]),
    (lambda x: npz(x, y_train=np.arange(12) % 3 * 2), ["label 1", "gaps"]),
    (lambda x: npz(x, y_test=np.arange(6)), ["label 5", "0 to 2"]),
    (objects, ["Python objects", "np.stack"]),
    (a_pickle, ["np.savez"]),
    (one_array, ["np.savez"]),
    (is_folder, ["no file"]),
    (lambda x: cut(x, npz(x), "a.npz"), ["damaged"]),
    (lambda x: idx_files(x).replace(":", ":no/"), ["no/set"]),
    (
      lambda x: cut(x, idx_files(x), "set/t10k-images-idx3-ubyte"),
      ["of values, not 180"],
    ),
    (lambda x: idx_files(x, pack=lambda _: b""), ["idx file", "images-idx3"]),
    (lambda x: idx_files(x, kind=np.float32), ["float32", "integers"]),
    (
      lambda x: idx_files(x, lambda y: y.replace("t10k", "dev")),
      ["dev-images"],
    ),
    (lambda x: npz(x).replace("npz", "idx", 1), ["name the folder"]),
    (lambda x: cut(x, packed(".zip", idx_files(x), x), "b.zip"), ["b.zip"]),
    (lambda x: cut(x, packed(".tgz", idx_files(x), x), "b.tgz"), ["b.tgz"]),
  ],
)
def test_what_cannot_be_used_is_named_in_one_line(tmp_path, write, words):
  name = write(tmp_path)
  message = hostile.error(data.load, name, data_dir=str(tmp_path))
  assert str(tmp_path) in message
  for word in words:
    assert word in message, message


def draw(path, size=(6, 5), mode="L", **how):
  image = pytest.importorskip("PIL.Image", reason="images need Pillow")
  path.parent.mkdir(parents=True, exist_ok=True)
  image.new(mode, size).save(path, **how)


EPS = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 5\n%%EndComments\n"


@pytest.mark.parametrize(
  ("harm", "words"),
  [
    (lambda x: draw(x / "train/a/99.png", (7, 5)), ["99.png is 7x5", "6x5"]),
    (lambda x: draw(x / "train/a/99.png", mode="RGB"), ["in RGB", "in L"]),
    (lambda x: draw(x / "test/a/00.png", (7, 5)), ["00.png is 7x5"]),
    (lambda x: draw(x / "train/a/00.png", mode="P"), ["mode P", "'RGB'"]),
    (lambda x: draw(x / "train/a/00.png", mode="I;16"), ["I;16", "8-bit"]),
    (lambda x: draw(x / "train/a/sub/1.png"), ["sub/1.png", "train/CLASS"]),
    (lambda x: draw(x / "train/1.png"), ["train/1.png", "train/CLASS"]),
    (lambda x: draw(x / "test/d/1.png"), ["class 'd'"]),
    (lambda x: (x / "train/a/notes.txt").write_text("!"), ["notes.txt is no"]),
    (lambda x: (x / "train/a/e.png").write_text(EPS), ["e.png is no"]),
    (lambda x: (x / "train/b/l").symlink_to(x / "train"), ["l"]),
    (lambda x: (x / "test").rename(x / "dev"), ["in test/CLASS/", "a sixth"]),
    (lambda x: (x / "train").rename(x / "dev"), ["in train/CLASS/"]),
  ],
)
def test_a_folder_that_does_not_fit_is_an_error(tmp_path, harm, words):
  name = pictures(tmp_path)
  harm(tmp_path / "set")
  message = hostile.error(data.load, name, data_dir=str(tmp_path))
  assert str(tmp_path) in message
  for word in words:
    assert word in message, message


@pytest.mark.parametrize(
  ("name", "source", "word"),
  [
    ("npz:a.npz", "tfds", "Source 'tfds'"),
    ("npz:a.npz", "idx", "Source 'idx'"),
    ("mnist", "own", "npz:FILE, idx:FOLDER"),
  ],
)
def test_a_source_has_its_own_names(tmp_path, name, source, word):
  message = hostile.error(
    data.load, name, source=source, data_dir=str(tmp_path)
  )
  assert word in message


@pytest.mark.parametrize("ending", dataset.ARCHIVES)
def test_an_archive_of_other_bytes_is_an_error(tmp_path, ending):
  path = tmp_path / f"b{ending}"
  for contents in (b"", b"x" * 600, gzip.compress(b"x" * 600)):
    path.write_bytes(contents)
    message = hostile.error(data.load, "mnist", data_dir=str(path))
    assert str(path) in message and "download it again" in message


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_original_files_are_read_from_an_archive(tiny_mnist, tmp_path, ending):
  packed(ending, f"x:{tiny_mnist.name}", tmp_path)
  found = data.load("mnist", data_dir=str(tmp_path / f"b{ending}"))
  expected = data.load("mnist", data_dir=str(tiny_mnist))
  assert data.digests(found) == data.digests(expected)
  message = hostile.error(
    data.load, "fashion_mnist", data_dir=str(tmp_path / f"b{ending}")
  )
  assert "belongs to mnist" in message and f"b{ending}/" in message
  for name in ("cifar10", "svhn"):
    message = hostile.error(
      data.load, name, data_dir=str(tmp_path / f"b{ending}")
    )
    assert "train-" in message or "t10k-" in message


def test_links_and_paths_of_an_archive_lead_nowhere(tmp_path):
  name = idx_files(tmp_path)
  link = tarfile.TarInfo("set/train-more-images")
  link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
  up = tarfile.TarInfo("../up")
  up.size = 1
  with tarfile.open(tmp_path / "b.tar", "w") as file:
    file.add(tmp_path / name.partition(":")[2], "set")
    file.addfile(link)
    file.addfile(up, io.BytesIO(b"x"))
  expect(data.load("idx:b.tar", data_dir=str(tmp_path)), arrays())
  assert not (tmp_path.parent / "up").exists()


@pytest.mark.parametrize(
  "contents",
  [
    b"",
    b"\0\0\x08",
    b"\0\0\x07\x01\0\0\0\0",
    b"\0\0\x08\x02\0\0\0\1\7",
    b"\0\0\x08\x02" + b"\xff" * 8 + b"\1",
  ],
)
def test_other_bytes_are_no_idx_file(contents):
  with pytest.raises(ValueError):
    idx.parse(contents)
