"""MNIST and Fashion-MNIST from a folder of their original files.

The IDX format: two zero bytes, 8 for unsigned bytes, the number of axes, each
axis as a big-endian 32-bit integer, then the contents.
"""

import gzip
import hashlib
import os
import pathlib
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


def load(name: str, data_dir: str | os.PathLike[str] | None) -> dataset.Dataset:
  """Loads MNIST or Fashion-MNIST in the original order, checksums checked.

  >>> load('mnist', '/nowhere')
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: No file train-images-idx3-ubyte.gz in /nowhere; ...

  Args:
    name: 'mnist' or 'fashion_mnist'.
    data_dir: folder of the four files, each as `.gz` or unpacked.

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
    train=dataset.Split(train_images[..., None], train_labels.astype(np.int32)),
    test=dataset.Split(test_images[..., None], test_labels.astype(np.int32)),
    num_classes=10,
    source="idx",
  )


def holds(name: str, data_dir: str | os.PathLike[str]) -> bool:
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
  folder = pathlib.Path(data_dir)
  return name in NAMES and any(
    (folder / (file + suffix)).exists()
    for file in FILES
    for suffix in (".gz", "")
  )


def _array(name, folder, file):
  path = _path(name, folder, file)
  contents = _contents(path)
  array = _decode(contents, path)
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


def _path(name, folder, file):
  for path in (folder / f"{file}.gz", folder / file):
    if path.exists():
      return path
  raise errors.InputError(
    f"No file {file}.gz in {folder}; --data_dir must be the folder of the "
    f"four original files of {name}."
  )


def _contents(path):
  try:
    contents = path.read_bytes()
    return gzip.decompress(contents) if path.suffix == ".gz" else contents
  except EOFError as error:
    raise errors.InputError(
      f"{path} is cut short; download it again."
    ) from error
  except (OSError, zlib.error) as error:
    raise errors.InputError(
      f"Cannot read {path} ({error}); download it again or check its access."
    ) from error


def _decode(contents, path):
  num_axes = 3 if "idx3" in path.name else 1
  start = 4 + 4 * num_axes
  if contents[:4] != bytes([0, 0, 8, num_axes]) or len(contents) < start:
    raise errors.InputError(
      f"{path} is not an IDX file of unsigned bytes with {num_axes} axes "
      f"(it starts with {contents[:4].hex() or 'nothing'}); download it again."
    )
  shape = tuple(int(n) for n in np.frombuffer(contents, ">u4", num_axes, 4))
  expected = start + int(np.prod(shape, dtype=np.int64))
  if len(contents) != expected:
    raise errors.InputError(
      f"{path} is cut short or altered ({len(contents):,} bytes unpacked, "
      f"{expected:,} by its header); download it again."
    )
  return np.frombuffer(contents, np.uint8, offset=start).reshape(shape)
