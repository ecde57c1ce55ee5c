"""CIFAR-10 from a folder: its original binary files, or lossless sheets.

The binary version (cs.toronto.edu/~kriz/cifar.html) is six files of 10,000
records: a byte for the label, then the red, green and blue values of 32x32
pixels, 1,024 bytes each. It comes without checksums, so that what is checked is
sizes, labels and that all classes are of one size, as they are in CIFAR-10.

The Python version, which torchvision keeps, has the same images and labels as
six pickles. Only the original files are read, known by their checksums, and
they are not unpickled: of the stream of their opcodes, the one string as long
as all pixels is taken, and the numbers that follow the string 'labels'.

Sheets (103 MB, not 184) are a lossless WebP image of 100x100 tiles for each of
the six files, image i in row i // 100 and column i % 100, and all labels in
`labels.npy`. **They are not the original bits**: 98 images (77 for training, 21
for testing; 93 ships and 5 horses) were only found as JPEGs of quality 75. The
`from_jpeg.csv` beside them lists which; it is not read.
"""

import hashlib
import io
import os
import pathlib
import pickletools

import numpy as np

from lth_jax import errors
from lth_jax.data import dataset

NAMES = ("cifar10",)
BINARY_FILES = (
  "data_batch_1.bin",
  "data_batch_2.bin",
  "data_batch_3.bin",
  "data_batch_4.bin",
  "data_batch_5.bin",
  "test_batch.bin",
)

# MD5, as torchvision and others list them.
PICKLES = {
  "data_batch_1": "c99cafc152244af753f735de768cd75f",
  "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
  "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
  "data_batch_4": "634d18415352ddfa80567beed471001a",
  "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
  "test_batch": "40351d587109b95175f43aff81a1287e",
}
PICKLE_FILES = tuple(PICKLES)

# Of the sheets, computed from the files themselves: there is one set of them.
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
SHEET_FILES = tuple(SHA256)

_NUM_CLASSES = 10
_PIXELS = 32  # along a side of an image
_TILES = 100  # along a side of a sheet; a batch is _TILES**2 images


def load(name: str, data_dir: str | os.PathLike[str] | None) -> dataset.Dataset:
  """Loads CIFAR-10 in the original order.

  The original files are read if there are any, else the sheets, whose 98
  images that differ (see the top of this module) give other `digests`.

  >>> load('cifar10', '/nowhere')
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: No CIFAR-10 in /nowhere: ...

  Args:
    name: 'cifar10'.
    data_dir: folder of the six `.bin` files, or the one that has them in
      `cifar-10-batches-bin`; or likewise of the six pickles, in
      `cifar-10-batches-py`; or folder of the six sheets and `labels.npy`, which
      take Pillow to read.

  Returns:
    50,000 training and 10,000 test images `[N, 32, 32, 3]`, red, green, blue;
    of source 'cifar', or 'cifar_sheets' if read from the sheets.

  Raises:
    errors.InputError: an unknown name; a file that is missing, cut short, of
      another format, or damaged; or Pillow is not installed.
  """
  if name not in NAMES:
    raise errors.InputError(
      f"Source 'cifar' has no data set '{name}'; it has {', '.join(NAMES)}."
    )
  if data_dir is None:
    raise errors.InputError(
      "Source 'cifar' needs --data_dir, the folder of the six original .bin "
      "files of CIFAR-10."
    )
  found = _find(pathlib.Path(data_dir))
  if found is None:
    raise errors.InputError(
      f"No CIFAR-10 in {data_dir}: --data_dir must be the folder of the six "
      ".bin files of its binary version or the one that has "
      f"cifar-10-batches-py. {dataset.describe(data_dir)} Or prepare it for "
      f"--source=tfds by `{dataset.preparation(name, data_dir)}`."
    )
  folder, files, read = found
  for file in files:
    if not (folder / file).exists():
      raise errors.InputError(
        f"No file {file} in {folder}; --data_dir must have all of "
        f"{', '.join(files)}."
      )
  images, labels = read(folder)
  num_test = _TILES**2
  return dataset.Dataset(
    name=name,
    train=_split(images[:-num_test], labels[:-num_test], folder),
    test=_split(images[-num_test:], labels[-num_test:], folder),
    num_classes=_NUM_CLASSES,
    source="cifar_sheets" if files == SHEET_FILES else "cifar",
  )


def holds(name: str, data_dir: str | os.PathLike[str] | None) -> bool:
  """Whether a folder has at least one of a data set's files, in any form.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   pathlib.Path(folder, 'test_batch.bin').touch()
  ...   holds('cifar10', folder), holds('cifar100', folder)
  (True, False)

  Args:
    name: name of the data set.
    data_dir: the folder, as for `load`; its files are not read.
  """
  if name not in NAMES or data_dir is None:
    return False
  return _find(pathlib.Path(data_dir)) is not None


def _find(folder):
  """Returns the folder, the files that it should have, and their reader."""
  for place, files, read in (
    ("", BINARY_FILES, _read_binary),
    ("cifar-10-batches-bin", BINARY_FILES, _read_binary),
    ("", PICKLE_FILES, _read_pickles),
    ("cifar-10-batches-py", PICKLE_FILES, _read_pickles),
    ("", SHEET_FILES, _read_sheets),
  ):
    if any((folder / place / file).exists() for file in files):
      return folder / place, files, read
  return None


def _split(images, labels, folder):
  counts = np.bincount(labels, minlength=_NUM_CLASSES)
  if counts.min() != counts.max():
    raise errors.InputError(
      f"The files in {folder} are not those of CIFAR-10: a class has "
      f"{counts.min():,} to {counts.max():,} images in a split, and should "
      f"have {labels.size // _NUM_CLASSES:,}; download them again."
    )
  return dataset.Examples(images, labels.astype(np.int32))


def _read_binary(folder):
  records = np.concatenate([_records(folder / file) for file in BINARY_FILES])
  return _images(records[:, 1:]), records[:, 0]


def _images(planes):
  """`[N, 32, 32, 3]` of the planes of each image, `[N, 3072]`."""
  planes = planes.reshape(-1, 3, _PIXELS, _PIXELS)
  return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _records(path):
  contents = dataset.read(path)
  size = 1 + 3 * _PIXELS**2
  expected = size * _TILES**2
  if len(contents) != expected:
    raise errors.InputError(
      f"{path} is cut short or not of CIFAR-10's binary version "
      f"({len(contents):,} bytes, not {expected:,}); download it again."
    )
  records = np.frombuffer(contents, np.uint8).reshape(-1, size)
  _check_labels(records[:, 0], path)
  return records


def _check_labels(labels, path):
  if labels.max() >= _NUM_CLASSES:
    raise errors.InputError(
      f"{path} is not of CIFAR-10 (it has label {labels.max()}, not 0 to "
      f"{_NUM_CLASSES - 1}); download it again."
    )


def _read_pickles(folder):
  pixels, labels = zip(*(_pickled(folder / file) for file in PICKLE_FILES))
  return _images(np.concatenate(pixels)), np.concatenate(labels)


def _pickled(path):
  """Pixels `[10000, 3072]` and labels `[10000]`; nothing is unpickled."""
  contents = dataset.read(path)
  digest = hashlib.md5(contents, usedforsecurity=False).hexdigest()
  if digest != PICKLES[path.name]:
    raise errors.InputError(
      f"{path} is not the original file of CIFAR-10's Python version (wrong "
      f"md5 {digest}, {len(contents):,} bytes); download it again."
    )
  size, text = 3 * _PIXELS**2, b""
  pixels, labels = b"", []
  for opcode, value, _ in pickletools.genops(contents):
    if isinstance(value, str):
      text = value.encode("latin-1")
      pixels = text if len(text) == size * _TILES**2 else pixels
    elif opcode.name == "BININT1" and text == b"labels":
      labels.append(value)
  labels = np.array(labels, np.uint8)
  return np.frombuffer(pixels, np.uint8).reshape(-1, size), labels


def _read_sheets(folder):
  *sheets, labels = (folder / file for file in SHEET_FILES)
  images = np.concatenate([_tiles(path) for path in sheets])
  return images, np.load(io.BytesIO(_checked(labels)), allow_pickle=False)


def _tiles(path):
  try:
    import PIL.Image
  except ImportError as error:
    raise errors.InputError(
      f"Reading {path} takes Pillow, which is not installed ({error}): "
      "`pip install pillow`."
    ) from error
  try:
    sheet = np.asarray(PIL.Image.open(io.BytesIO(_checked(path))))
  except OSError as error:
    raise errors.InputError(
      f"The Pillow here cannot decode {path} ({error}); get one that reads "
      "WebP: `pip install --upgrade pillow`."
    ) from error
  tiles = sheet.reshape(_TILES, _PIXELS, _TILES, _PIXELS, 3).swapaxes(1, 2)
  return tiles.reshape(-1, _PIXELS, _PIXELS, 3)


def _checked(path):
  contents = dataset.read(path)
  digest = hashlib.sha256(contents).hexdigest()
  if digest != SHA256[path.name]:
    raise errors.InputError(
      f"{path} is cut short or altered (wrong sha256 {digest}, "
      f"{len(contents):,} bytes); copy it again."
    )
  return contents
