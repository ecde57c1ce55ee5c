"""Any image-classification set that TFDS has prepared, without TensorFlow.

ArrayRecord, the format that `python -m lth_jax.data.prepare` writes, is read;
TFRECORD, the default of TFDS, cannot be read without TensorFlow.
"""

import importlib
import json
import pathlib
import textwrap
import types

import numpy as np

from lth_jax import errors
from lth_jax.data import dataset

NAMES = None  # any
_CHUNK = 1_000


def load(name: str, folder: dataset.Place) -> dataset.Dataset:
  """Loads a prepared data set, in the order in which TFDS stored it.

  Args:
    name: as TFDS spells it: 'mnist', 'emnist/letters', 'cifar10:3.0.2'.
      Without a version, the newest that is prepared.
    folder: of prepared sets.

  Raises:
    errors.InputError: the set is not prepared, not of ArrayRecord, damaged,
      has no 'train' and 'test', or is not of uint8 images of one size with
      one class each; or tensorflow_datasets or pillow is not installed.
  """
  found = find(name, folder)
  if found is None:
    raise errors.InputError(
      f"No prepared data set '{name}' in {folder}; prepare it by "
      f"`{dataset.preparation(name, folder)}` or give its --data_dir."
    )
  library = import_library()
  try:
    builder = library.builder_from_directory(found)
  except ValueError as error:
    raise _damaged(f"The description in {found}", found, error) from error
  train, test = (_examples(builder, part, found) for part in ("train", "test"))
  if train.images.shape[1:] != test.images.shape[1:]:
    raise _unsuitable(
      found,
      f"training images of {train.images.shape[1:]} and test images of "
      f"{test.images.shape[1:]}",
    )
  label_key = builder.info.supervised_keys[1]
  return dataset.Dataset(
    name=name,
    train=train,
    test=test,
    num_classes=builder.info.features[label_key].num_classes,
    source="tfds",
  )


def holds(name: str, folder: dataset.Place) -> bool:
  """Returns whether a data set is prepared; raises as `find`.

  >>> holds('mnist', pathlib.Path('/nowhere'))
  False
  """
  return find(name, folder) is not None


def find(name: str, folder: dataset.Place) -> pathlib.Path | None:
  """Returns the folder of a prepared data set, or None.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as root:
  ...   for version in ('3.0.9', '3.0.10'):
  ...     folder = pathlib.Path(root, 'mnist', version)
  ...     folder.mkdir(parents=True)
  ...     info = folder / 'dataset_info.json'
  ...     _ = info.write_text('{"fileFormat": "array_record"}')
  ...   find('mnist', pathlib.Path(root)).name
  '3.0.10'

  Raises:
    errors.InputError: the set has configurations and `name` has none; or it is
      of another format than ArrayRecord, or damaged.
  """
  base, _, version = name.partition(":")
  if not isinstance(folder, pathlib.Path):  # the inside of an archive
    return None
  root = folder / base
  found = [
    info.parent for info in root.glob(f"{version or '*.*.*'}/dataset_info.json")
  ]
  found = [x for x in found if x.name.replace(".", "").isdigit()]
  if found:
    newest = max(found, key=lambda x: [int(n) for n in x.name.split(".")])
    _check_format(name, newest)
    return newest
  configs = {x.parents[1].name for x in root.glob("*/*.*.*/dataset_info.json")}
  if configs:
    names = ", ".join(f"'{base}/{config}'" for config in sorted(configs))
    raise errors.InputError(
      f"Data set '{name}' has configurations; choose one of {names}."
    )
  return None


def import_library() -> types.ModuleType:
  """Returns the package tensorflow_datasets.

  Raises:
    errors.InputError: it, or a package that it needs, is not installed.
  """
  try:
    for package in ("PIL", "importlib_resources"):  # not declared by TFDS
      importlib.import_module(package)
    import tensorflow_datasets
  except ImportError as error:
    raise errors.InputError(
      f"TFDS data needs a package that is not installed ({error}): in the "
      "clone of lth_jax, `pip install -e '.[tfds]'`."
    ) from error
  return tensorflow_datasets


def _check_format(name, folder):
  path = folder / "dataset_info.json"
  try:
    info = json.loads(dataset.read(path))
  except (OSError, ValueError) as error:
    raise _damaged(f"{path}", folder, error) from error
  file_format = info.get("fileFormat", "tfrecord")
  if file_format != "array_record":
    raise errors.InputError(
      f"{folder} is of format {file_format}, which needs TensorFlow to read; "
      f"prepare it as ArrayRecord in another folder by `python -m "
      f"lth_jax.data.prepare {name} --data_dir=FOLDER`."
    )


def _examples(builder, part, folder):
  """Reads a split, chunk by chunk."""
  image_key, label_key = _keys(builder.info, folder)
  if (
    part not in builder.info.splits
    or not builder.info.splits[part].num_examples
  ):
    splits = ", ".join(builder.info.splits)
    raise _unsuitable(folder, f"no examples of split '{part}', but {splits}")
  source = builder.as_data_source(split=part)
  images, labels = [], []
  # At once, TFDS would hold every encoded example; one by one is twice as slow.
  for start in range(0, len(source), _CHUNK):
    stop = min(start + _CHUNK, len(source))
    try:
      examples = source.__getitems__(range(start, stop))
    except (OSError, RuntimeError, ValueError, IndexError) as error:
      raise _damaged(f"Split '{part}' in {folder}", folder, error) from error
    images += [example[image_key] for example in examples]
    labels += [example[label_key] for example in examples]
  kinds = sorted({(str(image.dtype), image.shape) for image in images})
  if len(kinds) > 1 or kinds[0][0] != "uint8":
    raise _unsuitable(folder, f"not images of uint8 of one size: {kinds[:3]}")
  if min(labels) < 0:
    raise _unsuitable(folder, f"examples without a label in '{part}'")
  return dataset.Examples(np.stack(images), np.array(labels, np.int32))


def _keys(info, folder):
  keys = info.supervised_keys
  kinds = [type(info.features[key]).__name__ for key in keys or ()]
  if kinds != ["Image", "ClassLabel"]:
    raise _unsuitable(folder, f"the supervised keys {keys}")
  return keys


def _damaged(what, folder, error):
  reason = textwrap.shorten(str(error), 300)
  return errors.InputError(
    f"{what} is damaged ({reason}); remove {folder} and prepare it again."
  )


def _unsuitable(folder, reason):
  return errors.InputError(
    f"{folder} is not for classification of images of one size: it has "
    f"{reason}; choose another, or give its arrays by --dataset=npz:FILE."
  )
