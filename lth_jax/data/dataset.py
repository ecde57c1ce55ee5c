"""What a data set is, whichever source it comes from."""

import hashlib
import os
import pathlib
import shlex
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lth_jax import errors

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
# What people have in place of a data set: {endings: what to do}.
_REMEDIES = {
  ARCHIVES: "give that archive as --data_dir",
  (".npz",): "--dataset=npz:FILE reads arrays of your own",
  ("ubyte", "ubyte.gz", ".idx", ".idx.gz"): (
    "--dataset=idx:FOLDER reads other idx files than the originals"
  ),
  ("train", "training"): "--dataset=folder:FOLDER reads images by class",
  (
    *(".csv", ".parquet", ".arrow", ".mat", ".npy", ".pkl", ".pickle"),
    *(".pt", ".pth", ".h5", ".hdf5", ".tfrecord"),
  ): "such files are not read: save their arrays for --dataset=npz:FILE",
}

# A folder, or the inside of an archive; or a file in one.
Place = pathlib.Path | zipfile.Path


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
    source: 'bundled', 'idx', 'cifar', 'cifar_sheets', 'tfds' or 'own'.
    classes: names of the classes, in the order of their labels, if known.
  """

  name: str
  train: Examples
  test: Examples
  num_classes: int
  source: str
  classes: tuple[str, ...] = ()


def summary(dataset: Dataset) -> str:
  """Returns what a data set has, in a line.

  >>> part = Examples(np.zeros([2, 8, 8, 1], np.uint8), np.arange(2))
  >>> summary(Dataset('folder:pets', part, part, 2, 'own', ('cat', 'dog')))
  'folder:pets: 2 training and 2 test images of 8x8x1, 2 classes: cat, dog.'
  """
  size = "x".join(map(str, dataset.train.images.shape[1:]))
  shown = ", ".join(dataset.classes[:10])
  shown += ", ..." * (len(dataset.classes) > 10)
  return (
    f"{dataset.name}: {len(dataset.train.labels):,} training and "
    f"{len(dataset.test.labels):,} test images of {size}, "
    f"{dataset.num_classes} classes{': ' * bool(shown)}{shown}."
  )


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


def read(path: Place) -> bytes:
  """Returns the contents of a file of a data set.

  >>> read(pathlib.Path("/"))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: Cannot read / (... Is a directory: '/'); put ...

  Raises:
    errors.InputError: it cannot be read.
  """
  try:
    return path.read_bytes()
  except Exception as error:  # zipfile raises many types
    raise errors.InputError(
      f"Cannot read {path} ({errors.first_line(error)}); put the original "
      "file there, or check its access."
    ) from error


def walk(place: Place, depth: int = 4) -> Iterator[tuple[str, Place]]:
  """Yields (name, path) of each file below a folder, sorted by name.

  Files and folders that are hidden, as `.DS_Store` is, do not count.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   (pathlib.Path(folder) / 'train').mkdir()
  ...   for name in ('train/b.png', 'train/.a.png', 'c.txt'):
  ...     (pathlib.Path(folder) / name).touch()
  ...   [name for name, _ in walk(pathlib.Path(folder))]
  ['c.txt', 'train/b.png']

  Args:
    place: a folder, or the inside of an archive.
    depth: number of levels at most, so that a circle of links ends.

  Raises:
    errors.InputError: folders are nested deeper, or cannot be listed.
  """
  try:
    if isinstance(place, zipfile.Path):
      inside = (x for x in place.root.namelist() if x.startswith(place.at))
      names = [x.removeprefix(place.at) for x in inside if x[-1] != "/"]
    else:
      names = list(_names(place, depth))
  except OSError as error:
    raise errors.InputError(
      f"Cannot list {place} ({error}); check its access."
    ) from error
  for name in sorted(names):
    parts = name.split("/")
    if any(part.startswith((".", "__MACOSX")) for part in parts):
      continue
    if len(parts) > depth:
      raise errors.InputError(
        f"{place}/{name} lies too deep: at most FOLDER/train/CLASS/IMAGE."
      )
    yield name, place / name


def _names(folder, depth, prefix=""):
  for entry in os.scandir(folder):
    name = prefix + entry.name
    if entry.is_dir() and depth and not entry.name.startswith("."):
      yield from _names(entry.path, depth - 1, f"{name}/")
    else:
      yield name


def default_dir() -> pathlib.Path:
  """Returns the folder that TFDS uses by default.

  >>> from unittest import mock
  >>> with mock.patch.dict(os.environ, TFDS_DATA_DIR='prepared'):
  ...   str(default_dir())
  'prepared'
  """
  folder = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  return pathlib.Path(os.path.expanduser(folder))  # fails for nobody


def preparation(name: str, folder: Place) -> str:
  """Returns the command that puts a data set where it is looked for.

  >>> preparation("mnist", pathlib.Path("my data"))
  "python -m lth_jax.data.prepare mnist --data_dir='my data'"
  """
  is_usual = folder == default_dir() or isinstance(folder, zipfile.Path)
  where = "" if is_usual else shlex.quote(str(folder))
  command = f"python -m lth_jax.data.prepare {name}"
  return f"{command} --data_dir={where}" if where else command


def describe(folder: Place) -> str:
  """Tells what a folder has instead of a data set, and what to do with it.

  >>> describe(pathlib.Path("/nowhere"))
  'There is no such folder.'
  """
  if not folder.exists():
    return "There is no such folder."
  if not folder.is_dir():
    return "That is a file: name the folder that it lies in."
  try:
    names = sorted(path.name for path in folder.iterdir())
  except OSError as error:
    return f"It cannot be listed ({error}): check its access."
  for endings, remedy in _REMEDIES.items():
    for name in names:
      if name.lower().endswith(endings):
        return f"It holds '{name}': {remedy}."
  return f"It holds {', '.join(names[:3])}." if names else "It is empty."
