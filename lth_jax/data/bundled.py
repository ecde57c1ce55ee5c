"""The subset of MNIST that comes with the package: see mnist_10k.md."""

import importlib.resources
import lzma

import numpy as np

from lth_jax import errors
from lth_jax.data import dataset

NAMES = ("mnist_10k",)
NUM_TRAIN = 10_000
NUM_TEST = 2_000


def load(name: str, folder: dataset.Place | None = None) -> dataset.Dataset:
  """Loads 10,000 training and 2,000 test images of MNIST.

  >>> test = load('mnist_10k').test
  >>> test.images.shape, test.images.dtype, test.labels[:5]
  ((2000, 28, 28, 1), dtype('uint8'), array([1, 4, 1, 0, 7], dtype=int32))

  Raises:
    errors.InputError: the packed file is missing or damaged.
  """
  del folder
  path = importlib.resources.files("lth_jax.data") / f"{name}.xz"
  try:  # the file has a checksum of its own
    contents = lzma.decompress(path.read_bytes())
  except (OSError, EOFError, lzma.LZMAError) as error:
    raise errors.InputError(
      f"Cannot read the bundled {path} ({error}); install lth_jax again."
    ) from error
  ends = np.cumsum([NUM_TRAIN * 784, NUM_TRAIN, NUM_TEST * 784])
  train_images, train_labels, test_images, test_labels = np.split(
    np.frombuffer(contents, np.uint8), ends
  )
  return dataset.Dataset(
    name=name,
    train=_examples(train_images, train_labels),
    test=_examples(test_images, test_labels),
    num_classes=10,
    source="bundled",
  )


def holds(name: str, folder: dataset.Place) -> bool:
  """Returns True: a bundled set is always there.

  >>> import pathlib
  >>> holds('mnist_10k', pathlib.Path('/nowhere'))
  True
  """
  del name, folder
  return True


def _examples(images, labels):
  images = images.reshape(-1, 28, 28, 1)
  return dataset.Examples(images, labels.astype(np.int32))
