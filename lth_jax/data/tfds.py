"""Any image-classification set that TFDS has prepared, without TensorFlow.

The one reader of `tensorflow_datasets`. It reads ArrayRecord, the format that
`python -m lth_jax.data.prepare` writes; TFRECORD, the default of TFDS, cannot
be read without TensorFlow.
"""

import importlib
import json
import os
import pathlib
import textwrap
import types

import numpy as np

from lth_jax import errors
from lth_jax.data import dataset
from lth_jax.storage import files

# From a clone: lth_jax is in no package index.
INSTALL = "pip install -e '.[tfds]'"
_CHUNK = 1_000


def load(
  name: str, data_dir: str | os.PathLike[str] | None = None
) -> dataset.Dataset:
  """Loads a prepared data set, in the order in which TFDS stored it.

  Args:
    name: as TFDS spells it: 'mnist', 'emnist/letters', 'cifar10:3.0.2'.
      Without a version, the newest that is prepared.
    data_dir: folder of prepared sets; None is `default_dir()`.

  Raises:
    errors.InputError: the set is not prepared, not of ArrayRecord, damaged,
      has no 'train' and 'test', or is not of uint8 images of one size with
      one class each; or tensorflow_datasets or pillow is not installed.
  """
  folder = find(name, data_dir)
  if folder is None:
    raise errors.InputError(
      f"No prepared data set '{name}' in {data_dir or default_dir()}; prepare "
      f"it by `{dataset.preparation(name, data_dir)}` or give its --data_dir."
    )
  require_array_record(name, folder)
  library = import_library()
  try:
    builder = library.builder_from_directory(folder)
  except ValueError as error:
    raise _damaged(f"The description in {folder}", folder, error) from error
  image_key, label_key = _keys(builder.info, library, folder)
  train, test = (
    _split(builder, part, image_key, label_key, folder)
    for part in ("train", "test")
  )
  if train.images.shape[1:] != test.images.shape[1:]:
    raise errors.InputError(
      f"{folder} has training images of {train.images.shape[1:]} and test "
      f"images of {test.images.shape[1:]}; choose a data set of one size."
    )
  return dataset.Dataset(
    name=name,
    train=train,
    test=test,
    num_classes=builder.info.features[label_key].num_classes,
    source="tfds",
  )


def holds(name: str, data_dir: str | os.PathLike[str] | None = None) -> bool:
  """Whether a data set is prepared, in any format.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   holds('mnist', folder)
  False

  Args:
    name: as for `find`.
    data_dir: as for `find`.
  """
  return find(name, data_dir) is not None


def default_dir() -> pathlib.Path:
  """Returns the folder that TFDS itself uses by default.

  >>> from unittest import mock
  >>> with mock.patch.dict(os.environ, TFDS_DATA_DIR='prepared'):
  ...   str(default_dir())
  'prepared'
  """
  folder = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  return pathlib.Path(os.path.expanduser(folder))  # fails for nobody


def find(
  name: str, data_dir: str | os.PathLike[str] | None = None
) -> pathlib.Path | None:
  """Returns the folder of a prepared data set, or None.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as root:
  ...   for version in ('3.0.9', '3.0.10'):
  ...     folder = pathlib.Path(root, 'mnist', version)
  ...     folder.mkdir(parents=True)
  ...     (folder / 'dataset_info.json').touch()
  ...   find('mnist', root).name, find('mnist:3.0.9', root).name
  ('3.0.10', '3.0.9')

  Args:
    name: as TFDS spells it; without a version, the newest.
    data_dir: folder of prepared sets; None is `default_dir()`.

  Raises:
    errors.InputError: the set has configurations and `name` names none.
  """
  base, _, version = name.partition(":")
  root = pathlib.Path(data_dir or default_dir()) / base
  folders = [
    file.parent for file in root.glob(f"{version or '*.*.*'}/dataset_info.json")
  ]
  folders = [f for f in folders if f.name.replace(".", "").isdigit()]
  if folders:
    return max(folders, key=lambda f: [int(n) for n in f.name.split(".")])
  configs = {f.parents[1].name for f in root.glob("*/*.*.*/dataset_info.json")}
  if configs:
    raise errors.InputError(
      f"Data set '{name}' has configurations; choose one of "
      + ", ".join(f"'{base}/{config}'" for config in sorted(configs))
      + "."
    )
  return None


def require_array_record(name: str, folder: pathlib.Path) -> None:
  """Refuses a prepared set of another format than ArrayRecord.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as root:
  ...   info = pathlib.Path(root, 'dataset_info.json')
  ...   _ = info.write_text('{"fileFormat": "tfrecord"}')
  ...   require_array_record('mnist', pathlib.Path(root))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: ... is of format tfrecord, which needs TensorFlow
  to read; prepare it as ArrayRecord in another folder by `python -m ...

  Args:
    name: name of the data set, for the message.
    folder: of the prepared set, as from `find`.

  Raises:
    errors.InputError: the set is of another format, or its description is
      missing or damaged.
  """
  file = folder / "dataset_info.json"
  try:
    for each in folder.glob("*.*"):  # its reader would wait for a FIFO
      files.check(each)
    info = json.loads(dataset.read(file))
  except (OSError, ValueError) as error:
    raise _damaged(f"{file}", folder, error) from error
  file_format = info.get("fileFormat", "tfrecord")
  if file_format != "array_record":
    raise errors.InputError(
      f"{folder} is of format {file_format}, which needs TensorFlow to read; "
      f"prepare it as ArrayRecord in another folder by `python -m "
      f"lth_jax.data.prepare {name} --data_dir=FOLDER`."
    )


def import_library() -> types.ModuleType:
  """Imports tensorflow_datasets, or says how to install it.

  Raises:
    errors.InputError: it or a package that it needs is not installed.
  """
  try:
    for package in ("PIL", "importlib_resources"):  # not declared by TFDS
      importlib.import_module(package)
    import tensorflow_datasets
  except ImportError as error:
    raise errors.InputError(
      f"TFDS data needs a package that is not installed ({error}): in the "
      f"clone of lth_jax, `{INSTALL}`."
    ) from error
  return tensorflow_datasets


def _keys(info, library, folder) -> tuple[str, str]:
  keys = info.supervised_keys
  kinds = tuple(type(info.features[key]) for key in keys or ())
  if kinds != (library.features.Image, library.features.ClassLabel):
    raise errors.InputError(
      f"{folder} is not for image classification (its supervised keys are "
      f"{keys or 'not set'}); choose another data set."
    )
  return keys


def _split(builder, part, image_key, label_key, folder):
  splits = builder.info.splits
  if part not in splits or not splits[part].num_examples:
    raise errors.InputError(
      f"{folder} has no examples of split '{part}' (it has "
      f"{', '.join(splits)}); choose another data set."
    )
  images, labels = [], []
  for example in _examples(builder.as_data_source(split=part), part, folder):
    images.append(_checked(example[image_key], images, part, folder))
    labels.append(example[label_key])
  if min(labels) < 0:
    raise errors.InputError(
      f"{folder} has examples without a label in '{part}'; choose another data "
      "set."
    )
  return dataset.Examples(np.stack(images), np.array(labels, np.int32))


def _examples(source, part, folder):
  # In one go, the reader holds every encoded example at once; one by one, it
  # is twice as slow.
  for start in range(0, len(source), _CHUNK):
    stop = min(start + _CHUNK, len(source))
    try:
      yield from source.__getitems__(range(start, stop))
    except (OSError, RuntimeError, ValueError, IndexError) as error:
      raise _damaged(f"Split '{part}' in {folder}", folder, error) from error


def _damaged(what, folder, error):
  reason = textwrap.shorten(str(error), 300)
  return errors.InputError(
    f"{what} is damaged ({reason}); remove {folder} and prepare it again."
  )


def _checked(image, earlier, part, folder):
  if image.dtype != np.uint8:
    raise errors.InputError(
      f"{folder} has images of {image.dtype}, not uint8; choose another data "
      "set."
    )
  if earlier and image.shape != earlier[0].shape:
    raise errors.InputError(
      f"{folder} has images of differing sizes ({earlier[0].shape}, but "
      f"{image.shape} at {len(earlier)} of '{part}'); choose a data set of one "
      "size."
    )
  return image
