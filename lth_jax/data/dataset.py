"""What a data set is, whichever source it comes from."""

import hashlib
import os
import pathlib
import shlex
from typing import NamedTuple

import numpy as np
from etils import epath

from lth_jax import errors
from lth_jax.storage import files

# More than the largest file of MNIST, 47 MB unpacked, or of CIFAR-10, 31 MB.
MAX_BYTES = 2**26
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


class Examples(NamedTuple):
  """One part of a data set.

  Attributes:
    images: `[N, H, W, C]` uint8, 0 to 255.
    labels: `[N]` int32, 0 to num_classes - 1.
  """

  images: np.ndarray
  labels: np.ndarray


class Dataset(NamedTuple):
  """A data set for image classification.

  Attributes:
    name: as given to `load`.
    train: examples to train on; a validation split is taken from these.
    test: examples that nothing is chosen by.
    num_classes: number of classes.
    source: 'bundled', 'idx', 'cifar', 'cifar_sheets' or 'tfds'.
  """

  name: str
  train: Examples
  test: Examples
  num_classes: int
  source: str


def digests(dataset: Dataset) -> dict[str, str]:
  """Returns the SHA-256 of each array of a data set, in hexadecimal.

  A digest covers dtype, shape and contents in their order, but neither the name
  of the data set nor its source.

  >>> image = np.zeros([1, 2, 2, 1], np.uint8)
  >>> part = Examples(image, np.zeros([1], np.int32))
  >>> digest = digests(Dataset('tiny', part, part, 10, 'idx'))
  >>> digest['train/images'][:8], digest['test/labels'][:8]
  ('80171294', '6e5af853')

  Returns:
    Digests by 'train/images', 'train/labels', 'test/images', 'test/labels'.
  """
  return {
    f"{part}/{field}": _digest(getattr(getattr(dataset, part), field))
    for part in ("train", "test")
    for field in Examples._fields
  }


def _digest(array):
  array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
  header = f"{array.dtype.name} {array.shape}\n".encode()
  return hashlib.sha256(header + array.tobytes()).hexdigest()


def read(path: pathlib.Path) -> bytes:
  """Returns the contents of a file of a data set.

  >>> read(pathlib.Path(os.devnull))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: Cannot read /dev/null (it is a device, not ...

  Raises:
    errors.InputError: it cannot be read, is no regular file, or is larger than
      any file of a data set.
  """
  try:
    return files.read(epath.Path(path), MAX_BYTES)
  except (OSError, ValueError) as error:
    raise errors.InputError(
      f"Cannot read {path} ({error}); put the original file there, or check "
      "its access."
    ) from error


def default_dir() -> pathlib.Path:
  """Returns the folder that TFDS uses by default.

  >>> from unittest import mock
  >>> with mock.patch.dict(os.environ, TFDS_DATA_DIR='prepared'):
  ...   str(default_dir())
  'prepared'
  """
  folder = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  return pathlib.Path(os.path.expanduser(folder))  # fails for nobody


def preparation(name: str, folder: pathlib.Path) -> str:
  """Returns the command that puts a data set where it is looked for.

  >>> preparation("mnist", pathlib.Path("my data"))
  "python -m lth_jax.data.prepare mnist --data_dir='my data'"
  """
  where = "" if folder == default_dir() else shlex.quote(str(folder))
  command = f"python -m lth_jax.data.prepare {name}"
  return f"{command} --data_dir={where}" if where else command


def describe(folder: pathlib.Path) -> str:
  """Tells what a folder has instead of a data set, and what to do with it.

  >>> describe(pathlib.Path("/nowhere"))
  'There is no such folder.'
  """
  if not folder.exists():
    return "There is no such folder."
  if not folder.is_dir():
    return "That is a file: name the folder that it lies in."
  try:
    names = sorted(os.listdir(folder))
  except OSError as error:
    return f"It cannot be listed ({error}): check its access."
  for name in names:
    if name.endswith(_ARCHIVES):
      return f"It holds the archive '{name}': unpack it there."
  return f"It holds {', '.join(names[:3])}." if names else "It is empty."
