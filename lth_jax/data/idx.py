"""MNIST and Fashion-MNIST from a folder of their original files.

The IDX format: two zero bytes, 8 for unsigned bytes, the number of axes, each
axis as a big-endian 32-bit integer, then the contents. Keras keeps the arrays
of MNIST in one `.npz` instead, which is written as IDX before it is checked.
"""

import gzip
import hashlib
import io
import math
import os
import pathlib
import tokenize
import zipfile
import zlib

import numpy as np

from lth_jax import errors
from lth_jax.data import dataset

FILES = (
  "train-images-idx3-ubyte",
  "train-labels-idx1-ubyte",
  "t10k-images-idx3-ubyte",
  "t10k-labels-idx1-ubyte",
)

# Of the unpacked files, in the order of FILES: the same images may come in
# other gzip wrappings (Debian's dataset-fashion-mnist has another header).
# Taken from files whose .gz have the sha256 registered in tensorflow-datasets.
SHA256 = {
  "mnist": (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
  ),
  "fashion_mnist": (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
  ),
}
NAMES = tuple(SHA256)

# Folders below --data_dir; the others are those of torchvision and Keras.
_PLACES = {
  "mnist": ("", "raw", "MNIST/raw"),
  "fashion_mnist": ("", "raw", "FashionMNIST/raw", "fashion-mnist"),
}
# Of Keras; its arrays in the order of FILES.
_NPZ = {"mnist": "mnist.npz"}
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# What reading a packed file raises that is not as it was written.
_DAMAGED = (
  *(EOFError, KeyError, MemoryError, NotImplementedError, OSError),
  *(OverflowError, RuntimeError, SyntaxError, ValueError),
  *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def load(name: str, data_dir: str | os.PathLike[str] | None) -> dataset.Dataset:
  """Loads MNIST or Fashion-MNIST in the original order, checksums checked.

  >>> load('mnist', '/nowhere')
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: No file train-images-idx3-ubyte.gz in /nowhere; ...

  Args:
    name: 'mnist' or 'fashion_mnist'.
    data_dir: folder of the four files, each as `.gz` or unpacked, also with a
      dot before `idx`; or of Keras' `mnist.npz`; or torchvision's folder.

  Raises:
    errors.InputError: an unknown name, or a file that is missing, cut short,
      of another format, or not the original.
  """
  if name not in NAMES:
    raise errors.InputError(
      f"Source 'idx' has no data set '{name}'; it has {', '.join(NAMES)}."
    )
  if data_dir is None:
    raise errors.InputError(
      f"Source 'idx' needs --data_dir, the folder of the four original .gz "
      f"files of {name}."
    )
  train_images, train_labels, test_images, test_labels = (
    _array(name, pathlib.Path(data_dir), file) for file in FILES
  )
  return dataset.Dataset(
    name=name,
    train=dataset.Examples(
      train_images[..., None], train_labels.astype(np.int32)
    ),
    test=dataset.Examples(test_images[..., None], test_labels.astype(np.int32)),
    num_classes=10,
    source="idx",
  )


def holds(name: str, data_dir: str | os.PathLike[str] | None) -> bool:
  """Whether a folder has at least one of a data set's original files.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   pathlib.Path(folder, 'train-images-idx3-ubyte.gz').touch()
  ...   holds('mnist', folder), holds('mnist_10k', folder)
  (True, False)

  Args:
    name: name of the data set.
    data_dir: the folder; its files may be packed or not, and are not read.
  """
  if name not in NAMES or data_dir is None:
    return False
  folder = pathlib.Path(data_dir)
  return any(
    path.exists() for file in FILES for path in _paths(name, folder, file)
  )


def _array(name, folder, file):
  path = _path(name, folder, file)
  if path.name == _NPZ.get(name):
    contents = _npz_contents(path, file)
  else:
    contents = _contents(path)
  array = _decode(contents, path, 3 if "idx3" in file else 1)
  digest = hashlib.sha256(contents).hexdigest()
  position = FILES.index(file)
  if digest == SHA256[name][position]:
    return array
  owners = [n for n in NAMES if SHA256[n][position] == digest]
  found = f"it belongs to {owners[0]}" if owners else "wrong sha256"
  raise errors.InputError(
    f"{path} is not the original file of {name} ({found}, "
    f"{digest} unpacked); get the original."
  )


def _paths(name, folder, file):
  """All paths under which a file may be found."""
  for place in _PLACES[name]:
    for spelled in (file, file.replace("-idx", ".idx")):
      for suffix in (".gz", ""):
        yield folder / place / (spelled + suffix)
  if name in _NPZ:
    yield folder / _NPZ[name]


def _path(name, folder, file):
  found = [path for path in _paths(name, folder, file) if path.exists()]
  if not found:
    raise errors.InputError(
      f"No file {file}.gz in {folder}; --data_dir (of prepare: --from_dir) "
      f"must be the folder of the four original files of {name}. "
      f"{dataset.describe(folder)}"
    )
  # Kaggle's archive has folders of the files' names beside the files.
  return min(found, key=lambda path: not path.is_file())


def _contents(path):
  """An IDX file, unpacked; browsers unpack some and keep the name."""
  contents = dataset.read(path)
  if contents[:2] != b"\x1f\x8b":
    return contents
  try:
    with gzip.GzipFile(fileobj=io.BytesIO(contents)) as file:
      return _bounded(file)
  except _DAMAGED as error:
    raise _unreadable(path, error) from error


def _npz_contents(path, file):
  """The IDX file of an array in a `.npz`."""
  try:
    packed = zipfile.ZipFile(io.BytesIO(dataset.read(path)))
    with packed.open(f"{_ARRAYS[FILES.index(file)]}.npy") as member:
      contents = _bounded(member)
    array = np.load(io.BytesIO(contents), allow_pickle=False)
    sizes = np.array(array.shape, ">u4").tobytes()
  except _DAMAGED as error:
    raise _unreadable(path, error) from error
  return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def _bounded(file):
  contents = file.read(dataset.MOST_BYTES + 1)
  if len(contents) > dataset.MOST_BYTES:
    raise ValueError(f"it unpacks to more than {dataset.MOST_BYTES:,} bytes")
  return contents


def _unreadable(path, error):
  if isinstance(error, errors.InputError):
    return error
  reason = "cut short" if isinstance(error, EOFError) else f"damaged ({error})"
  return errors.InputError(f"{path} is {reason}; download it again.")


def _decode(contents, path, num_axes):
  start = 4 + 4 * num_axes
  if contents[:4] != bytes([0, 0, 8, num_axes]) or len(contents) < start:
    raise errors.InputError(
      f"{path} is not an IDX file of unsigned bytes with {num_axes} axes "
      f"(it starts with {contents[:4].hex() or 'nothing'}); download it again."
    )
  shape = tuple(int(n) for n in np.frombuffer(contents, ">u4", num_axes, 4))
  expected = start + math.prod(shape)
  if len(contents) != expected:
    raise errors.InputError(
      f"{path} is cut short or altered ({len(contents):,} bytes unpacked, "
      f"{expected:,} by its header); download it again."
    )
  return np.frombuffer(contents, np.uint8, offset=start).reshape(shape)
