"""Data of one's own: arrays in a `.npz`, idx files, or images by class.

A data set is named `npz:FILE`, `idx:FOLDER` or `folder:FOLDER`; a folder may
also be an archive that is not unpacked. Each has images and labels for training
and for testing. No code of such a file is run.
"""

import re
import zipfile
from collections.abc import Iterable
from typing import NoReturn

import numpy as np

from lth_jax import errors
from lth_jax.data import archives, dataset, idx, pictures

NAMES = ("npz:FILE", "idx:FOLDER", "folder:FOLDER")
KINDS = tuple(name.partition(":")[0] for name in NAMES)

# What the words in the names of arrays and of idx files mean.
_WORDS = {
  **dict.fromkeys(("train", "training"), "train"),
  **dict.fromkeys(("test", "testing", "t10k"), "test"),
  **dict.fromkeys(("x", "image", "images", "imgs", "data"), "images"),
  **dict.fromkeys(("y", "label", "labels", "target", "targets"), "labels"),
}
_PARTS = [("train", "images"), ("train", "labels"), ("test", "images")]
_PARTS += [("test", "labels")]


def kind(name: str) -> str | None:
  """Returns the kind of a data set of one's own, or None for any other name.

  >>> kind('npz:digits.npz'), kind('emnist/letters:3.1.0')
  ('npz', None)
  """
  found, colon, _ = name.partition(":")
  return found if colon and found in KINDS else None


def holds(name: str, folder: dataset.Place) -> bool:
  """Returns whether a name is of this reader, which tells what is missing.

  >>> import pathlib
  >>> holds('folder:shapes', pathlib.Path('/nowhere'))
  True
  """
  del folder
  return kind(name) is not None


def load(name: str, folder: dataset.Place) -> dataset.Dataset:
  """Loads a data set of one's own.

  >>> import pathlib, tempfile
  >>> images, labels = np.zeros([2, 8, 8], np.uint8), np.arange(2)
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   np.savez(
  ...     f'{folder}/tiny.npz', x_train=images, y_train=labels,
  ...     x_test=images, y_test=labels,
  ...   )
  ...   load('npz:tiny.npz', pathlib.Path(folder)).train.images.shape
  (2, 8, 8, 1)

  Args:
    name: 'npz:FILE', 'idx:FOLDER' or 'folder:FOLDER'.
    folder: what the path in the name is relative to.

  Raises:
    errors.InputError: names the file or array that is missing, damaged or not
      of labelled images of one size, and what to do.
  """
  given = name.partition(":")[2]
  path = folder / given
  place = archives.opened(path) if not isinstance(path, zipfile.Path) else path
  if not place.exists():
    raise errors.InputError(
      f"--dataset={name}: there is no {given} in {folder}. "
      f"{dataset.describe(folder)} Name another folder by --data_dir."
    )
  match kind(name):
    case "npz":
      arrays, classes = _npz(place), ()
    case "idx":
      arrays, classes = _idx(place), ()
    case _:
      arrays, classes = pictures.read(place)
  train, test = (
    _examples(place, *(arrays[part, x] for x in ("images", "labels")))
    for part in ("train", "test")
  )
  if train.images.shape[1:] != test.images.shape[1:]:
    _refuse(
      place,
      f"training images of {train.images.shape[1:]} and test images of "
      f"{test.images.shape[1:]}: bring all to one size",
    )
  _check_classes(place, train.labels, test.labels)
  num_classes = int(train.labels.max()) + 1
  return dataset.Dataset(name, train, test, num_classes, "own", classes)


def _refuse(place: dataset.Place, fault: str) -> NoReturn:
  raise errors.InputError(f"{place} has {fault}.")


def _npz(path):
  """Returns {part: (name, array)}."""
  try:
    if not path.is_file():
      raise ValueError("it is no file")
    with path.open("rb") as file, zipfile.ZipFile(file) as packed:
      members = {x.filename.removesuffix(".npy"): x for x in packed.infolist()}
      found = _four(path, "the arrays", members)
      return {
        part: (name, _array(path, packed, members[name]))
        for part, name in found.items()
      }
  except errors.InputError:
    raise
  except Exception as error:  # zipfile and NumPy raise many types
    raise errors.InputError(
      f"{path} is no .npz, or damaged ({errors.first_line(error)}); save it "
      "by np.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)."
    ) from error


def _array(path, packed, member):
  with packed.open(member) as file:
    try:
      return np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
      if "allow_pickle" not in str(error):
        raise
      _refuse(
        path,
        f"Python objects in {member.filename}, which are not read: save one "
        "array, as by np.stack(images).astype(np.uint8)",
      )


def _idx(place):
  """Returns {part: (name, array)}."""
  paths = {}
  if place.is_file():
    raise errors.InputError(f"{place} is a file; name the folder it lies in.")
  for name, path in dataset.walk(place):
    words = re.findall("[a-z0-9]+", name.rpartition("/")[2].lower())
    # One file may lie there packed and unpacked, or under two spellings.
    paths.setdefault("-".join(x for x in words if x != "gz"), path)
  found = _four(place, "the files", paths)
  arrays = {}
  for part, name in found.items():
    contents = dataset.read(paths[name])
    try:
      array = idx.parse(idx.unpack(contents))
    except Exception as error:  # gzip and zlib raise many types
      raise errors.InputError(
        f"{paths[name]} is no idx file, or damaged "
        f"({errors.first_line(error)}); write it again."
      ) from error
    arrays[part] = paths[name].name, array
  return arrays


def _four(place, what, names: Iterable[str]) -> dict[tuple[str, str], str]:
  """Returns which of some names has the images and labels of each part."""
  found, names = {}, sorted(names)
  for name in names:
    words = re.findall("[a-z0-9]+", name.lower())
    meant = {_WORDS[word] for word in words if word in _WORDS}
    for part in _PARTS:
      if meant == set(part):
        if part in found:
          _refuse(
            place,
            f"{found[part]} and {name}, both {' '.join(part)}: keep one",
          )
        found[part] = name
  missing = [" ".join(part) for part in _PARTS if part not in found]
  if not missing:
    return found
  shown = ", ".join(names[:8]) + ", ..." * (len(names) > 8) or "nothing"
  remedy = (
    "name images by 'x' or 'image', labels by 'y' or 'label', and parts by "
    "'train' or 'test', as in x_train"
  )
  if missing == ["test images", "test labels"]:
    remedy = "set a sixth of the training part aside, at random, as the test"
  _refuse(place, f"{what} {shown}, no {', no '.join(missing)}: {remedy}")


def _examples(place, images, labels) -> dataset.Examples:
  """Returns what named arrays hold, or tells why they cannot be used."""
  (name, images), (label_name, labels) = images, labels
  if images.dtype != np.uint8:
    _refuse(
      place,
      f"{images.dtype} values in {name}: save images as uint8, 0 to 255",
    )
  if images.ndim == 3:
    images = images[..., None]
  if images.ndim != 4 or not images.size:
    _refuse(
      place,
      f"images of shape {images.shape} in {name}: needed are [N, H, W] or "
      "[N, H, W, C]",
    )
  if images.shape[1] in (1, 3) and images.shape[3] > 4:
    _refuse(
      place,
      f"images of shape {images.shape} in {name}, channels first: save "
      "images.transpose(0, 2, 3, 1)",
    )
  if labels.shape not in ((len(images),), (len(images), 1)):
    _refuse(
      place,
      f"labels of shape {labels.shape} in {label_name} for {len(images):,} "
      "images: needed is one number an image, labels.argmax(1) of one-hot ones",
    )
  if labels.dtype.kind not in "iu":
    _refuse(place, f"{labels.dtype} values in {label_name}: save integers")
  if labels.min() < 0 or labels.max() >= 2**31:
    _refuse(
      place,
      f"labels from {labels.min()} to {labels.max()} in {label_name}: number "
      "the classes from 0",
    )
  return dataset.Examples(images, labels.reshape(-1).astype(np.int32))


def _check_classes(place, train, test):
  present = np.unique(train)
  if len(present) != present[-1] + 1:
    first = np.flatnonzero(present != np.arange(len(present)))[0]
    _refuse(
      place,
      f"labels from {present[0]} to {present[-1]} and no training image of "
      f"label {first}: number the classes from 0 without gaps",
    )
  if test.max() > present[-1]:
    _refuse(
      place,
      f"test images of label {test.max()}, and training images of labels 0 to "
      f"{present[-1]} only: remove them, or add training images",
    )
