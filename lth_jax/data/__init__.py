"""Image data sets, whole and in memory, as NumPy arrays.

Four sources, and never a silent change from one to another:

* 'bundled': `mnist_10k`, a subset of MNIST that comes with the package;
* 'idx': `mnist` and `fashion_mnist` from a folder of their original files, as
  they are published or as torchvision, Keras and Kaggle leave them;
* 'cifar': `cifar10` from a folder of its original files, binary or pickled, or
  of lossless sheets;
* 'tfds': any image-classification set that `python -m lth_jax.data.prepare`
  has prepared.

Splits and the order of batches are in `lth_jax.data.order`, what happens to a
batch in `lth_jax.data.augment` and `lth_jax.data.scaling`.
"""

import os

import numpy as np

from lth_jax import errors
from lth_jax.data import bundled, cifar, idx, tfds
from lth_jax.data.dataset import Dataset as Dataset
from lth_jax.data.dataset import Examples as Examples
from lth_jax.data.dataset import describe, preparation
from lth_jax.data.dataset import digests as digests

# What has `holds` and `load`, both of a name and a data_dir; 'auto' takes the
# first that holds a data set.
_READERS = {"bundled": bundled, "idx": idx, "cifar": cifar, "tfds": tfds}
SOURCES = ("auto", *_READERS)

_ORIGINALS = dict.fromkeys(idx.NAMES, ".gz files")
_ORIGINALS |= dict.fromkeys(cifar.NAMES, ".bin files")


def load(
  name: str, *, source: str = "auto", data_dir: str | None = None
) -> Dataset:
  """Loads a data set.

  `source='auto'` takes the bundled set if `name` is one, else the original
  files if `data_dir` holds any, else what TFDS prepared in `data_dir` (by
  default in the folder that TFDS uses), else it is an error.

  Examples are in the order of their source. TFDS shuffles when it prepares,
  so `source='tfds'` gives MNIST in another order, and with other `digests`,
  than `source='idx'`.

  >>> data = load('mnist_10k')
  >>> data.train.images.shape, data.test.labels.shape, data.num_classes
  ((10000, 28, 28, 1), (2000,), 10)

  Args:
    name: 'mnist_10k', 'mnist', 'fashion_mnist', 'cifar10', or the TFDS name of
      a set, also with its configuration and version: 'emnist/letters:3.1.0'.
    source: one of 'auto', 'bundled', 'idx', 'cifar', 'tfds'.
    data_dir: folder of the original files for 'idx' and 'cifar', or the folder
      above, if the files are in one named as the data set; folder of
      prepared sets for 'tfds', by default `$TFDS_DATA_DIR` or
      `~/tensorflow_datasets`. Not looked at for a bundled set.

  Raises:
    errors.InputError: the source or name is unknown, there is no such data,
      or a file is damaged.
  """
  if source not in SOURCES:
    raise errors.InputError(
      f"Unknown source '{source}'; choose one of {', '.join(SOURCES)}."
    )
  if data_dir is not None:
    data_dir = _own_folder(name, os.path.expanduser(data_dir))
  if source == "auto":
    source = _find(name, data_dir)
  loaded = _READERS[source].load(name, data_dir)
  return loaded._replace(
    train=Examples(*map(_align, loaded.train)),
    test=Examples(*map(_align, loaded.test)),
  )


def _own_folder(name: str, data_dir: str) -> str:
  """Returns `<data_dir>/<name>` if the original files of a data set are there.

  So one folder can hold several data sets.
  """
  own = os.path.join(data_dir, name)
  return own if idx.holds(name, own) or cifar.holds(name, own) else data_dir


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


def _find(name, data_dir):
  for source, reader in _READERS.items():
    if reader.holds(name, data_dir):
      return source
  folder = data_dir or tfds.default_dir()
  original = (
    f"(1) give the folder of the original {name} {_ORIGINALS[name]} by "
    "--data_dir, "
    if name in _ORIGINALS
    else f"(1) only {', '.join(_ORIGINALS)} can be read from a --data_dir of "
    "original files, "
  )
  extra = "" if name in idx.NAMES else " and TensorFlow"
  subset = (
    " A subset of MNIST is bundled: --dataset=mnist_10k of "
    "experiments.mnist_lenet."
    if name not in cifar.NAMES
    else ""
  )
  raise errors.InputError(
    f"No data set '{name}' in {folder}. {describe(folder)} Two ways to "
    f"get it: {original}"
    f"(2) prepare it once by `{preparation(name, data_dir)}` "
    f"(needs `{tfds.INSTALL}`{extra}).{subset}"
  )
