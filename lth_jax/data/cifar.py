"""CIFAR-10 from a folder of its original files, or of lossless sheets.

The binary version (cs.toronto.edu/~kriz/cifar.html) is six files of 10,000
records: a byte for the label, then the red, green and blue values of 32x32
pixels, 1,024 bytes each. It has no published checksums, so sizes and labels are
checked, and that all classes have one size, as in CIFAR-10.

The Python version, which torchvision keeps, has the same images and labels as
six pickles. Only the original files are read, known by their checksums, and
they are not unpickled: of the stream of opcodes, the one string as long as all
pixels is taken, and the numbers that follow the string 'labels'.

`lth_jax.data.sheets` describes the sheets.
"""

import hashlib
import os
import pathlib
import pickletools

import numpy as np

from lth_jax import errors
from lth_jax.data import dataset, sheets

NAMES = ("cifar10",)
# Images in each of the six files.
BATCH_SIZE = 10_000
# {file: MD5}, as torchvision lists them.
PICKLES = {
  "data_batch_1": "c99cafc152244af753f735de768cd75f",
  "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
  "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
  "data_batch_4": "634d18415352ddfa80567beed471001a",
  "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
  "test_batch": "40351d587109b95175f43aff81a1287e",
}
BINARY_FILES = tuple(f"{name}.bin" for name in PICKLES)

_NUM_CLASSES = 10
_SIDE = 32  # pixels
_IMAGE_BYTES = 3 * _SIDE**2


def load(name: str, folder: pathlib.Path) -> dataset.Dataset:
  """Loads CIFAR-10.

  >>> load('cifar10', pathlib.Path('/nowhere'))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: No CIFAR-10 in /nowhere: ...

  Args:
    name: 'cifar10'.
    folder: has the six `.bin` files, or `cifar-10-batches-bin` with them; or
      the six pickles, or `cifar-10-batches-py` with them; or the sheets. All
      may also lie in `cifar10` below it.

  Returns:
    50,000 training and 10,000 test images `[N, 32, 32, 3]`, red, green, blue;
    of source 'cifar', or 'cifar_sheets' if read from sheets.

  Raises:
    errors.InputError: a file is missing, damaged, or not of CIFAR-10; or Pillow
      is not installed and needed for sheets.
  """
  found = _find(folder)
  if found is None:
    raise errors.InputError(
      f"No CIFAR-10 in {folder}: --data_dir must be the folder of the six .bin "
      "files of its binary version or the one that has cifar-10-batches-py. "
      f"{dataset.describe(folder)} Or prepare it for --source=tfds by "
      f"`{dataset.preparation(name, folder)}`."
    )
  place, files, read = found
  for file in files:
    if not (place / file).exists():
      raise errors.InputError(
        f"No file {file} in {place}; --data_dir must have all of "
        f"{', '.join(files)}."
      )
  images, labels = read(place)
  return dataset.Dataset(
    name=name,
    train=_examples(images[:-BATCH_SIZE], labels[:-BATCH_SIZE], place),
    test=_examples(images[-BATCH_SIZE:], labels[-BATCH_SIZE:], place),
    num_classes=_NUM_CLASSES,
    source="cifar_sheets" if read is sheets.read else "cifar",
  )


def holds(name: str, folder: str | os.PathLike[str]) -> bool:
  """Returns whether a folder has at least one file of CIFAR-10, in any form.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   pathlib.Path(folder, 'test_batch.bin').touch()
  ...   holds('cifar10', folder), holds('cifar100', folder)
  (True, False)
  """
  return name in NAMES and _find(pathlib.Path(folder)) is not None


def _find(folder):
  """Returns the place, the files that it should have, and their reader."""
  for parent in (folder, folder / "cifar10"):
    for place, files, read in (
      ("", BINARY_FILES, _read_binary),
      ("cifar-10-batches-bin", BINARY_FILES, _read_binary),
      ("", PICKLES, _read_pickles),
      ("cifar-10-batches-py", PICKLES, _read_pickles),
      ("", sheets.FILES, sheets.read),
    ):
      if any((parent / place / file).exists() for file in files):
        return parent / place, files, read
  return None


def _examples(images, labels, folder):
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
  """Returns `[N, 32, 32, 3]`, given the planes of each image `[N, 3072]`."""
  planes = planes.reshape(-1, 3, _SIDE, _SIDE)
  return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _records(path):
  contents = dataset.read(path)
  size = 1 + _IMAGE_BYTES
  expected = size * BATCH_SIZE
  if len(contents) != expected:
    raise errors.InputError(
      f"{path} is cut short or not of CIFAR-10's binary version "
      f"({len(contents):,} bytes, not {expected:,}); download it again."
    )
  records = np.frombuffer(contents, np.uint8).reshape(-1, size)
  if records[:, 0].max() >= _NUM_CLASSES:
    raise errors.InputError(
      f"{path} is not of CIFAR-10 (it has label {records[:, 0].max()}, not 0 "
      f"to {_NUM_CLASSES - 1}); download it again."
    )
  return records


def _read_pickles(folder):
  planes, labels = zip(*(_pickled(folder / file) for file in PICKLES))
  return _images(np.concatenate(planes)), np.concatenate(labels)


def _pickled(path):
  """Returns planes `[10000, 3072]` and labels `[10000]`; unpickles nothing."""
  contents = dataset.read(path)
  digest = hashlib.md5(contents, usedforsecurity=False).hexdigest()
  if digest != PICKLES[path.name]:
    raise errors.InputError(
      f"{path} is not the original file of CIFAR-10's Python version (wrong "
      f"md5 {digest}, {len(contents):,} bytes); download it again."
    )
  text, pixels, labels = b"", b"", []
  for opcode, value, _ in pickletools.genops(contents):
    if isinstance(value, str):
      text = value.encode("latin-1")
      pixels = text if len(text) == _IMAGE_BYTES * BATCH_SIZE else pixels
    elif opcode.name == "BININT1" and text == b"labels":
      labels.append(value)
  planes = np.frombuffer(pixels, np.uint8).reshape(-1, _IMAGE_BYTES)
  return planes, np.array(labels, np.uint8)
