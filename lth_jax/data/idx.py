"""MNIST and Fashion-MNIST from a folder of their original files.

The IDX format: two zero bytes, the type of the values (8 for unsigned bytes),
the number of axes, each axis as a big-endian 32-bit integer, then the values,
big-endian. Keras keeps the arrays of MNIST in one `.npz` instead; an array is
written as IDX before it is checked.
"""

import gzip
import hashlib
import io
import math
import zipfile

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
# The types of values, of yann.lecun.com/exdb/mnist.
_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}

# Folders below --data_dir: that of `prepare`, those of torchvision and Debian.
_PLACES = {
  "mnist": ("", "mnist", "raw", "MNIST/raw"),
  "fashion_mnist": (
    *("", "fashion_mnist", "raw", "FashionMNIST/raw", "fashion-mnist"),
  ),
}
# Of Keras; its arrays in the order of FILES.
_NPZ = "mnist.npz"
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load(name: str, folder: dataset.Place) -> dataset.Dataset:
  """Loads MNIST or Fashion-MNIST in the original order; checks all checksums.

  >>> import pathlib
  >>> load('mnist', pathlib.Path('/nowhere'))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: No file train-images-idx3-ubyte.gz in /nowhere; ...

  Args:
    name: 'mnist' or 'fashion_mnist'.
    folder: has the four files, each as `.gz` or unpacked, also with a dot
      before `idx`; or Keras' `mnist.npz`; or torchvision's folder.

  Raises:
    errors.InputError: a file is missing, damaged, or not the original.
  """
  train_images, train_labels, test_images, test_labels = (
    _array(name, _path(name, folder, file), file) for file in FILES
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


def holds(name: str, folder: dataset.Place) -> bool:
  """Returns whether a folder has at least one file of a data set.

  >>> import pathlib, tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   place = pathlib.Path(folder)
  ...   (place / 'train-images-idx3-ubyte.gz').touch()
  ...   holds('mnist', place), holds('mnist_10k', place)
  (True, False)
  """
  return name in NAMES and any(
    path.exists() for file in FILES for path in _paths(name, folder, file)
  )


def parse(contents: bytes) -> np.ndarray:
  """Returns the array of an IDX file, in the byte order of this machine.

  >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
  array([7, 9], dtype=uint8)

  Raises:
    ValueError: it is no such file, or has more or fewer values than it says.
  """
  if len(contents) < 4 or contents[:2] != b"\0\0" or contents[2] not in _TYPES:
    raise ValueError("it does not begin as an idx file")
  kind, num_axes = np.dtype(_TYPES[contents[2]]), contents[3]
  begin = 4 + 4 * num_axes
  shape = [int(size) for size in np.frombuffer(contents[4:begin], ">u4")]
  values, expected = len(contents) - begin, math.prod(shape) * kind.itemsize
  if len(shape) != num_axes or values != expected:
    raise ValueError(f"it has {values:,} bytes of values, not {expected:,}")
  array = np.frombuffer(contents, kind, offset=begin).reshape(shape)
  return array.astype(kind.newbyteorder("="), copy=False)


def unpack(contents: bytes) -> bytes:
  """Returns the contents of a file that may be packed by gzip.

  >>> unpack(gzip.compress(b"abc")), unpack(b"abc")
  (b'abc', b'abc')

  Raises:
    EOFError, OSError, zlib.error: it is damaged.
  """
  if contents[:2] != b"\x1f\x8b":  # browsers unpack some and keep the name
    return contents
  return gzip.decompress(contents)


def _paths(name, folder, file):
  """Yields all paths under which a file may be found."""
  for place in _PLACES[name]:
    for spelled in (file, file.replace("-idx", ".idx")):
      for suffix in (".gz", ""):
        yield folder / place / (spelled + suffix)
  if name == "mnist":
    yield folder / _NPZ


def _path(name, folder, file):
  found = [path for path in _paths(name, folder, file) if path.exists()]
  if not found:
    raise errors.InputError(
      f"No file {file}.gz in {folder}; --data_dir must be the folder of the "
      f"four original files of {name}. {dataset.describe(folder)} Or run "
      f"`{dataset.preparation(name, folder)}` once."
    )
  # Kaggle's archive has folders of the files' names next to the files.
  return min(found, key=lambda path: not path.is_file())


def _array(name, path, file):
  position = FILES.index(file)
  packed = dataset.read(path)
  try:
    if path.name == _NPZ:
      contents = _from_npz(packed, _ARRAYS[position])
    else:
      contents = unpack(packed)
  except Exception as error:  # gzip, zipfile and NumPy raise many types
    reason = f"damaged ({errors.first_line(error)})"
    if isinstance(error, EOFError):
      reason = "cut short"
    raise errors.InputError(
      f"{path} is {reason}; download it again."
    ) from error
  digest = hashlib.sha256(contents).hexdigest()
  if digest != SHA256[name][position]:
    owners = [x for x in NAMES if SHA256[x][position] == digest]
    found = f"it belongs to {owners[0]}" if owners else "wrong sha256"
    raise errors.InputError(
      f"{path} is not the original file of {name} ({found}, {digest}, "
      f"{len(contents):,} bytes unpacked); download it again, or read other "
      "data by --dataset=idx:FOLDER."
    )
  return parse(contents)


def _from_npz(contents, name):
  """Returns an array of a `.npz` as an IDX file."""
  packed = zipfile.ZipFile(io.BytesIO(contents))
  with packed.open(f"{name}.npy") as member:
    return _to_idx(np.load(member, allow_pickle=False))


def _to_idx(array):
  sizes = np.array(array.shape, ">u4").tobytes()
  return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
