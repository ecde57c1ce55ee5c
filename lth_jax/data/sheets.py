"""CIFAR-10 as lossless sheets: 103 MB instead of 184.

Each of the six files of CIFAR-10 is a WebP image of 100x100 tiles, image i in
row i // 100 and column i % 100; all labels are in `labels.npy`. **They are not
the original bits**: 98 images (77 for training, 21 for testing; 93 ships and 5
horses) were only found as JPEGs of quality 75. `from_jpeg.csv` in the same
folder lists them; it is not read.
"""

import hashlib
import io

import numpy as np

from lth_jax import errors
from lth_jax.data import dataset

# There is one set of sheets; computed from it.
SHA256 = {
  "data_batch_1.webp": (
    "7edae47e4a796cb80b20744ed331dbdf6df5db63de0e4e65dafe993f756baf99"
  ),
  "data_batch_2.webp": (
    "2285d1b22db69340e350641a3e0173139f19d0307d8f1a3ffce2f48bce720e08"
  ),
  "data_batch_3.webp": (
    "2745e286b5c4b5c00ce4b1daa311342eca0e87a5830c9994c8a36199c600b6d3"
  ),
  "data_batch_4.webp": (
    "dbdf64b5aae1c70a261e6df392d1fade5143c4883d41f7b9b50beb586982338e"
  ),
  "data_batch_5.webp": (
    "b3ca4bdfc1545e03d4ff24863876635117de7db77aa088c22f55c74279e23193"
  ),
  "test_batch.webp": (
    "53213d6ac8bd325e0f17227d6bc7f0a9222393cd3d7e4d65c97b655c3810072a"
  ),
  "labels.npy": (
    "0066c48b0955bbc1b1ba22a9133f597afe1d5ed01235d0f4f28340c9f8eb5a3c"
  ),
}
FILES = tuple(SHA256)
_SIDE = 32  # pixels of a tile


def read(folder: dataset.Place) -> tuple[np.ndarray, np.ndarray]:
  """Returns the images `[60000, 32, 32, 3]` and labels `[60000]` of sheets.

  Raises:
    errors.InputError: a file is damaged, or Pillow is missing or too old.
  """
  *paths, labels = (folder / file for file in FILES)
  images = np.concatenate([_tiles(path) for path in paths])
  return images, np.load(io.BytesIO(_checked(labels)), allow_pickle=False)


def _tiles(path):
  try:
    import PIL.Image

    sheet = np.asarray(PIL.Image.open(io.BytesIO(_checked(path))))
  except (ImportError, OSError) as error:  # missing, or reads no WebP
    raise errors.InputError(
      f"Reading {path} needs Pillow with WebP ({error}): `pip install "
      "--upgrade pillow`."
    ) from error
  rows, columns = (size // _SIDE for size in sheet.shape[:2])
  tiles = sheet.reshape(rows, _SIDE, columns, _SIDE, 3).swapaxes(1, 2)
  return tiles.reshape(-1, _SIDE, _SIDE, 3)


def _checked(path):
  contents = dataset.read(path)
  digest = hashlib.sha256(contents).hexdigest()
  if digest != SHA256[path.name]:
    raise errors.InputError(
      f"{path} is cut short or altered (wrong sha256 {digest}, "
      f"{len(contents):,} bytes); copy it again."
    )
  return contents
