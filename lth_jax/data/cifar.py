"""CIFAR-10 and CIFAR-100 from a folder of their original files.

The binary version (cs.toronto.edu/~kriz/cifar.html) is files of records: the
label (of CIFAR-100, a byte for the coarse label comes first, and is not read),
then the red, green and blue values of 32x32 pixels, 1,024 bytes each. It has no
published checksums, so sizes and labels are checked, and that all classes have
one size, as in the originals.

The Python version, which torchvision and Keras keep, has the same images and
labels as pickles. Only the original files are read, known by their checksums,
and they are not unpickled: of the stream of opcodes, the one string as long as
all pixels is taken, and the numbers that follow the string 'labels'
('fine_labels').

CIFAR-10 may also come as lossless sheets, see `lth_jax.data.sheets`.
"""

import hashlib
import pathlib
import pickletools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from lth_jax import errors
from lth_jax.data import archives, dataset, sheets

# Images in a file; a training file of CIFAR-100 has five times as many.
BATCH_SIZE = 10_000
# MD5 of the pickles, as torchvision lists them.
MD5 = {
  "data_batch_1": "c99cafc152244af753f735de768cd75f",
  "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
  "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
  "data_batch_4": "634d18415352ddfa80567beed471001a",
  "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
  "test_batch": "40351d587109b95175f43aff81a1287e",
  "train": "16019d7e3df5f24257cddd939b257f8d",
  "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
# Of the pickles, the test images last; a binary file is named `<file>.bin`.
FILES = {
  "cifar10": tuple(MD5)[:6],
  "cifar100": tuple(MD5)[6:],
}
NAMES = tuple(FILES)

_NUM_CLASSES = {"cifar10": 10, "cifar100": 100}
_LABELS = {"cifar10": b"labels", "cifar100": b"fine_labels"}
# In which folders the files of the binary and the Python version come, and in
# which archives these.
_BINARY = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}
_PYTHON = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
_ARCHIVES = {
  "cifar10": ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"),
  "cifar100": ("cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"),
}
_SIDE = 32  # pixels
_IMAGE_BYTES = 3 * _SIDE**2

# (name, folder) -> images `[N, 32, 32, 3]`, labels `[N]`, the test images last
_Read = Callable[[str, dataset.Place], tuple[np.ndarray, np.ndarray]]


class _Form(NamedTuple):
  """Where a data set may lie, in which files, and what reads them."""

  place: dataset.Place
  files: tuple[str, ...]
  read: _Read


def load(name: str, folder: dataset.Place) -> dataset.Dataset:
  """Loads CIFAR-10 or CIFAR-100, the latter with its 100 fine labels.

  >>> load('cifar10', pathlib.Path('/nowhere'))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: No cifar10 in /nowhere: ...

  Args:
    name: 'cifar10' or 'cifar100'.
    folder: has the `.bin` files, or the pickles, or the folder or the archive
      that they come in, or sheets. All may also lie in a folder `name` below
      it.

  Returns:
    50,000 training and 10,000 test images `[N, 32, 32, 3]`, red, green, blue;
    of source 'cifar', or 'cifar_sheets' if read from sheets.

  Raises:
    errors.InputError: a file is missing, damaged, or not of that data set; or
      Pillow is not installed and needed for sheets.
  """
  form = _find(name, folder)
  if form is None:
    raise errors.InputError(
      f"No {name} in {folder}: --data_dir must be the folder of the .bin "
      f"files of its binary version or the one that has {_PYTHON[name]}. "
      f"{dataset.describe(folder)} Or prepare it for --source=tfds by "
      f"`{dataset.preparation(name, folder)}`."
    )
  for file in form.files:
    if not (form.place / file).exists():
      raise errors.InputError(
        f"No file {file} in {form.place}; --data_dir must have all of "
        f"{', '.join(form.files)}."
      )
  images, labels = form.read(name, form.place)
  _check_balance(name, labels, form.place)
  parts = slice(-BATCH_SIZE), slice(-BATCH_SIZE, None)
  train, test = (dataset.Examples(images[x], labels[x]) for x in parts)
  return dataset.Dataset(
    name=name,
    train=train,
    test=test,
    num_classes=_NUM_CLASSES[name],
    source="cifar_sheets" if form.read is _read_sheets else "cifar",
  )


def holds(name: str, folder: dataset.Place) -> bool:
  """Returns whether a folder has at least one file of CIFAR, in any form.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   place = pathlib.Path(folder)
  ...   (place / 'test_batch.bin').touch()
  ...   holds('cifar10', place), holds('cifar100', place)
  (True, False)
  """
  if name not in NAMES:
    return False
  return any(_has(form) for form in _forms(name, folder)) or any(
    path.exists() for path in _packed(name, folder)
  )


def _find(name, folder) -> _Form | None:
  for form in _forms(name, folder):
    if _has(form):
      return form
  for path in _packed(name, folder):
    if path.exists():
      return _find(name, archives.opened(path))
  return None


def _has(form) -> bool:
  # Folders of images may be named as a file of CIFAR-100: `train`.
  return any((form.place / file).is_file() for file in form.files)


def _forms(name, folder) -> Iterator[_Form]:
  binary = tuple(f"{file}.bin" for file in FILES[name])
  for parent in (folder, folder / name):
    for place in ("", _BINARY[name]):
      yield _Form(parent / place, binary, _read_binary)
    python = _PYTHON[name]
    for place in ("", python, f"{python}-target/{python}"):  # Keras 3: the last
      yield _Form(parent / place, FILES[name], _read_pickles)
    if name == "cifar10":
      yield _Form(parent, sheets.FILES, _read_sheets)


def _packed(name, folder) -> Iterator[pathlib.Path]:
  """Yields where archives may lie; an archive is not looked for in another."""
  if isinstance(folder, pathlib.Path):
    for parent in (folder, folder / name):
      yield from (parent / file for file in _ARCHIVES[name])


def _check_balance(name, labels, place):
  for part in labels[:-BATCH_SIZE], labels[-BATCH_SIZE:]:
    counts = np.bincount(part, minlength=_NUM_CLASSES[name])
    if counts.min() != counts.max():
      raise errors.InputError(
        f"The files in {place} are not those of {name}: a class has "
        f"{counts.min():,} to {counts.max():,} images in a split, and should "
        f"have {part.size // _NUM_CLASSES[name]:,}; download them again."
      )


def _read_sheets(name, folder):
  del name
  images, labels = sheets.read(folder)
  return images, labels.astype(np.int32)


def _read_binary(name, folder):
  planes, labels = zip(
    *(_records(name, folder / f"{file}.bin") for file in FILES[name])
  )
  return _images(planes), np.concatenate(labels).astype(np.int32)


def _images(planes):
  """Returns `[N, 32, 32, 3]`, given the planes of each file `[n, 3072]`."""
  planes = np.concatenate(planes).reshape(-1, 3, _SIDE, _SIDE)
  return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _size(file):
  return 5 * BATCH_SIZE if file in ("train", "train.bin") else BATCH_SIZE


def _records(name, path):
  """Returns planes `[n, 3072]` and labels `[n]` of a binary file."""
  contents = dataset.read(path)
  size = (2 if name == "cifar100" else 1) + _IMAGE_BYTES
  expected = size * _size(path.name)
  if len(contents) != expected:
    raise errors.InputError(
      f"{path} is cut short or not of {name}'s binary version "
      f"({len(contents):,} bytes, not {expected:,}); download it again."
    )
  records = np.frombuffer(contents, np.uint8).reshape(-1, size)
  labels = records[:, -_IMAGE_BYTES - 1]
  if labels.max() >= _NUM_CLASSES[name]:
    raise errors.InputError(
      f"{path} is not of {name} (it has label {labels.max()}, not 0 to "
      f"{_NUM_CLASSES[name] - 1}); download it again."
    )
  return records[:, -_IMAGE_BYTES:], labels


def _read_pickles(name, folder):
  planes, labels = zip(*(_pickled(name, folder / file) for file in FILES[name]))
  return _images(planes), np.concatenate(labels)


def _pickled(name, path):
  """Returns planes `[n, 3072]` and labels `[n]`; unpickles nothing."""
  contents = dataset.read(path)
  digest = hashlib.md5(contents, usedforsecurity=False).hexdigest()
  if digest != MD5[path.name]:
    raise errors.InputError(
      f"{path} is not the original file of {name}'s Python version (wrong "
      f"md5 {digest}, {len(contents):,} bytes); download it again."
    )
  text, pixels, labels = b"", b"", []
  for opcode, value, _ in pickletools.genops(contents):
    if isinstance(value, str):
      text = value.encode("latin-1")
      is_pixels = len(text) == _IMAGE_BYTES * _size(path.name)
      pixels = text if is_pixels else pixels
    elif opcode.name == "BININT1" and text == _LABELS[name]:
      labels.append(value)
  planes = np.frombuffer(pixels, np.uint8).reshape(-1, _IMAGE_BYTES)
  return planes, np.array(labels, np.int32)
