"""Image data sets, whole and in memory, as NumPy arrays.

Five sources; one is never replaced by another silently:

* 'own': data of one's own, as arrays, idx files or images by class;
* 'bundled': `mnist_10k`, a subset of MNIST that comes with the package;
* 'idx': `mnist` and `fashion_mnist` from their original files, as they are
  published or as torchvision, Keras and Kaggle leave them;
* 'cifar': `cifar10` and `cifar100` from their original files, binary or
  pickled, or `cifar10` from lossless sheets;
* 'tfds': any image-classification set that TFDS has prepared.

`python -m lth_jax.data.prepare` downloads or prepares them. Splits and the
order of batches are in `lth_jax.data.order`, what happens to the images of a
batch in `lth_jax.data.augment` and `lth_jax.data.scaling`.
"""

import pathlib
import types

import numpy as np

from lth_jax import errors
from lth_jax.data import archives, bundled, cifar, idx, own, tfds
from lth_jax.data.dataset import Dataset as Dataset
from lth_jax.data.dataset import Examples as Examples
from lth_jax.data.dataset import default_dir, describe, preparation
from lth_jax.data.dataset import digests as digests
from lth_jax.data.dataset import summary as summary

# Each reader has NAMES (None: any name), `holds(name, folder)` and
# `load(name, folder)`. 'auto' takes the first that holds a data set.
_READERS: dict[str, types.ModuleType] = {
  "own": own,
  "bundled": bundled,
  "idx": idx,
  "cifar": cifar,
  "tfds": tfds,
}
SOURCES = ("auto", *_READERS)


def load(
  name: str, *, source: str = "auto", data_dir: str | None = None
) -> Dataset:
  """Loads a data set.

  `source='auto'` takes data of one's own or the bundled set if `name` is one,
  else original files in `data_dir`, else what TFDS has prepared there.

  Examples are in the order of their source. TFDS shuffles when it prepares, so
  'tfds' gives MNIST in another order, and with other `digests`, than 'idx'.

  >>> data = load('mnist_10k')
  >>> data.train.images.shape, data.test.labels.shape, data.num_classes
  ((10000, 28, 28, 1), (2000,), 10)

  Args:
    name: 'npz:FILE', 'idx:FOLDER', 'folder:FOLDER', 'mnist_10k', 'mnist',
      'fashion_mnist', 'cifar10', 'cifar100', or the TFDS name of a set, also
      with its configuration and version: 'emnist/letters:3.1.0'.
    source: one of 'auto', 'own', 'bundled', 'idx', 'cifar', 'tfds'.
    data_dir: folder of the files or of prepared sets, or an archive of the
      former; by default the current one for data of one's own, else
      `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

  Raises:
    errors.InputError: the source or name is unknown, there is no such data, or
      a file is damaged.
  """
  if source not in SOURCES:
    raise errors.InputError(
      f"Unknown source '{source}'; choose one of {', '.join(SOURCES)}."
    )
  usual = default_dir() if own.kind(name) is None else pathlib.Path()
  folder = pathlib.Path(data_dir).expanduser() if data_dir else usual
  folder = archives.opened(folder)
  reader = _find(name, folder) if source == "auto" else _READERS[source]
  if not _knows(reader, name):
    known = reader.NAMES or ("what TFDS prepared",)
    raise errors.InputError(
      f"Source '{source}' has no data set '{name}'; it has {', '.join(known)}."
    )
  return checked(reader.load(name, folder))


def checked(dataset: Dataset) -> Dataset:
  """Returns a data set whose arrays are as training needs them.

  >>> part = Examples(np.zeros([1, 2, 2, 1], np.uint8), np.zeros([1], np.int32))
  >>> checked(Dataset('tiny', part, part, 1, 'own')).train.images.shape
  (1, 2, 2, 1)

  Raises:
    errors.InputError: it has anything but labelled images.
  """
  _check(dataset)
  return dataset._replace(
    train=Examples(*map(_align, _arrays(dataset.train))),
    test=Examples(*map(_align, _arrays(dataset.test))),
  )


def _check(dataset: Dataset) -> None:
  if not isinstance(dataset, Dataset):
    raise errors.InputError(
      f"The data set is a {type(dataset).__name__}; it must be a "
      "lth_jax.data.Dataset."
    )
  for images, labels in map(_arrays, (dataset.train, dataset.test)):
    types = images.dtype, labels.dtype
    if (
      types != (np.uint8, np.int32)
      or images.ndim != 4
      or labels.shape != images.shape[:1]
      or not np.isin(labels, np.arange(dataset.num_classes)).all()
    ):
      is_number = labels.size and labels.dtype.kind in "iuf"
      found = f" from {labels.min()} to {labels.max()}" if is_number else ""
      raise errors.InputError(
        f"Data set '{dataset.name}' has images {types[0]} {images.shape} and "
        f"labels {types[1]} {labels.shape}{found}; needed are uint8 [N, H, W, "
        f"C], 0 to 255, and int32 [N] from 0 to {dataset.num_classes - 1}."
      )


def _arrays(part: Examples) -> Examples:
  return Examples(*map(np.asarray, part))


def _align(array: np.ndarray) -> np.ndarray:
  """Copies an array to an address that JAX's host devices use in place.

  They want a multiple of 64 bytes, else each makes a copy of its own.
  """
  buffer = np.empty(array.nbytes + 64, np.uint8)
  begin = -buffer.ctypes.data % 64
  aligned = buffer[begin : begin + array.nbytes].view(array.dtype)
  aligned = aligned.reshape(array.shape)
  aligned[...] = array
  return aligned


def _knows(reader, name):
  if own.kind(name):
    return reader is own
  return reader.NAMES is None or name in reader.NAMES


def _find(name, folder):
  for reader in _READERS.values():
    if _knows(reader, name) and reader.holds(name, folder):
      return reader
  original = (*idx.NAMES, *cifar.NAMES)
  first = (
    f"(1) give the folder of the original files of {name} by --data_dir"
    if name in original
    else f"(1) only {', '.join(original)} can be read from original files"
  )
  subset = (
    ""
    if name in cifar.NAMES
    else " A subset of MNIST is bundled: --dataset=mnist_10k of "
    "experiments.mnist_lenet."
  )
  raise errors.InputError(
    f"No data set '{name}' in {folder}. {describe(folder)} Two ways to get it: "
    f"{first}, (2) run `{preparation(name, folder)}` once. Data of your own: "
    f"--dataset={', '.join(own.NAMES)}.{subset}"
  )
