"""The subset of MNIST that comes with the package: see mnist_10k.md."""

import hashlib
import importlib.resources
import lzma
import os

import numpy as np

from lth_jax import errors
from lth_jax.data import dataset

NAMES = ("mnist_10k",)
NUM_TRAIN = 10_000
NUM_TEST = 2_000

_SHA256 = "2cc7b436f5e58f0019108c38a73f8fd9ba418b4ff584c2b56581aaab2f4bdd5f"


def load(
  name: str, data_dir: str | os.PathLike[str] | None = None
) -> dataset.Dataset:
  """Loads a bundled data set, its checksum checked.

  >>> test = load('mnist_10k').test
  >>> test.images.shape, test.images.dtype, test.labels[:5]
  ((2000, 28, 28, 1), dtype('uint8'), array([1, 4, 1, 0, 7], dtype=int32))

  Args:
    name: 'mnist_10k': 10,000 training and 2,000 test images of MNIST.
    data_dir: not looked at.

  Raises:
    errors.InputError: an unknown name, or the packed file is damaged.
  """
  del data_dir
  if not holds(name):
    raise errors.InputError(
      f"No data set '{name}' is bundled; there is {', '.join(NAMES)}."
    )
  contents = np.frombuffer(_contents(f"{name}.xz"), np.uint8)
  ends = np.cumsum([NUM_TRAIN * 784, NUM_TRAIN, NUM_TEST * 784])
  train_images, train_labels, test_images, test_labels = np.split(
    contents, ends
  )
  return dataset.Dataset(
    name=name,
    train=_split(train_images, train_labels),
    test=_split(test_images, test_labels),
    num_classes=10,
    source="bundled",
  )


def holds(name: str, data_dir: str | os.PathLike[str] | None = None) -> bool:
  """Whether a data set is bundled.

  Args:
    name: name of the data set.
    data_dir: not looked at.

  >>> holds('mnist_10k'), holds('mnist')
  (True, False)
  """
  del data_dir
  return name in NAMES


def _split(images, labels):
  images = images.reshape(-1, 28, 28, 1)
  return dataset.Examples(images, labels.astype(np.int32))


def _contents(file):
  path = importlib.resources.files("lth_jax.data") / file
  try:
    contents = lzma.decompress(path.read_bytes())
  except (OSError, EOFError, lzma.LZMAError) as error:
    raise errors.InputError(
      f"Cannot read the bundled {path} ({error}); install lth_jax again."
    ) from error
  if hashlib.sha256(contents).hexdigest() != _SHA256:
    raise errors.InputError(
      f"The bundled {path} has a wrong sha256; install lth_jax again."
    )
  return contents
