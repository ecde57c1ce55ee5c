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
MOST_BYTES = 2**26
_ARCHIVES = {
  ".zip": "unzip {file} -d {folder}",
  **dict.fromkeys(
    (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"),
    "tar -xf {file} -C {folder}",
  ),
}


class Examples(NamedTuple):
  """One part of a data set, whole and in memory.

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
    test: examples that choose nothing.
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

  A digest covers dtype, shape and contents in their order, and neither the
  name of the data set nor its source: 'idx' read from `.gz` files or from
  unpacked ones gives the same. (TFDS keeps examples in an order of its own,
  so the same images read by 'tfds' give other digests.)

  >>> image = np.zeros([1, 2, 2, 1], np.uint8)
  >>> split = Examples(image, np.zeros([1], np.int32))
  >>> digest = digests(Dataset('tiny', split, split, 10, 'idx'))
  >>> digest['train/images'][:8], digest['test/labels'][:8]
  ('80171294', '6e5af853')

  Args:
    dataset: the data set.

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

  Args:
    path: of the file.

  Raises:
    errors.InputError: it cannot be read, is no regular file, or is too large.

  >>> read(pathlib.Path(os.devnull))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: Cannot read /dev/null (it is a device, not ...
  """
  try:
    return files.read(epath.Path(path), MOST_BYTES)
  except (OSError, ValueError) as error:
    raise errors.InputError(
      f"Cannot read {path} ({error}); put the original file there, or check "
      "its access."
    ) from error


def preparation(name: str, data_dir: str | os.PathLike[str] | None) -> str:
  """Returns the command that prepares a data set where it is looked for.

  Args:
    name: as TFDS spells it.
    data_dir: folder of prepared sets; None for the default of TFDS.

  >>> preparation("cifar10", "my data")
  "python -m lth_jax.data.prepare cifar10 --data_dir='my data'"
  """
  where = f" --data_dir={shlex.quote(str(data_dir))}" if data_dir else ""
  return f"python -m lth_jax.data.prepare {name}{where}"


def describe(folder: str | os.PathLike[str]) -> str:
  """Says what there is in place of the files of a data set, and what to do.

  Args:
    folder: where they were looked for.

  >>> describe("/nowhere")
  'There is no such folder.'
  """
  folder = pathlib.Path(folder)
  if not folder.exists():
    return "There is no such folder."
  if not folder.is_dir():
    return "That is a file: name the folder that it lies in."
  try:
    names = sorted(os.listdir(folder))
  except OSError as error:
    return f"It cannot be listed ({error}): check its access."
  for name in names:
    for ending, command in _ARCHIVES.items():
      if name.endswith(ending):
        file, where = (shlex.quote(str(x)) for x in (folder / name, folder))
        return (
          f"It holds an archive: unpack it by "
          f"`{command.format(file=file, folder=where)}`."
        )
  return f"It holds {', '.join(names[:3])}." if names else "It is empty."
