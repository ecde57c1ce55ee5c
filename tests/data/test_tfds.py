"""Data sets that TFDS has prepared, and the command that prepares them."""

import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest
from helpers import hostile

from lth_jax import data
from lth_jax.data import prepare, tfds


def pretend(folder, **info):
  info = info or {"fileFormat": "array_record"}
  folder.mkdir(parents=True)
  (folder / "dataset_info.json").write_text(json.dumps(info))


def test_find_takes_the_newest_complete_version(tmp_path):
  for version in ("3.0.9", "3.0.10", "incomplete.AB_4.0.0"):
    pretend(tmp_path / "mnist" / version)
  assert tfds.find("mnist", tmp_path) == tmp_path / "mnist" / "3.0.10"
  assert tfds.find("mnist:3.0.9", tmp_path) == tmp_path / "mnist" / "3.0.9"
  assert tfds.find("mnist:9.9.9", tmp_path) is None
  assert tfds.find("cifar10", tmp_path) is None


def test_find_asks_for_a_configuration(tmp_path):
  pretend(tmp_path / "emnist" / "letters" / "3.1.0")
  assert "emnist/letters" in hostile.error(tfds.find, "emnist", tmp_path)
  found = tfds.find("emnist/letters", tmp_path)
  assert found == tmp_path / "emnist" / "letters" / "3.1.0"


@pytest.mark.parametrize("function", [tfds.load, prepare.run_builder])
@pytest.mark.parametrize("info", [{"fileFormat": "tfrecord"}, {"name": "svhn"}])
def test_tfrecord_is_an_error_that_names_the_command(tmp_path, function, info):
  pretend(tmp_path / "svhn" / "3.0.1", **info)
  message = hostile.error(function, "svhn", tmp_path)
  assert "python -m lth_jax.data.prepare svhn" in message
  assert "TensorFlow" in message


def test_a_damaged_description_is_an_error(tmp_path):
  pretend(tmp_path / "svhn" / "3.0.1")
  (tmp_path / "svhn" / "3.0.1" / "dataset_info.json").write_text("{")
  assert "damaged" in hostile.error(tfds.load, "svhn", tmp_path)


def test_missing_packages_are_errors(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
  pretend(tmp_path / "svhn" / "3.0.1", fileFormat="array_record")
  for function, folder in (
    (tfds.load, tmp_path),
    (prepare.run_builder, tmp_path / "new"),
  ):
    message = hostile.error(function, "svhn", folder)
    assert "pip install -e '.[tfds]'" in message
  assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["mnist", "emnist"])
def test_the_command_ends_with_one_line(tmp_path, monkeypatch, capsys, name):
  monkeypatch.setitem(prepare.URLS, "mnist", "http://127.0.0.1:9/")
  pretend(tmp_path / "emnist" / "letters" / "3.1.0")
  monkeypatch.setattr(sys, "argv", ["prepare", name, f"--data_dir={tmp_path}"])
  with pytest.raises(SystemExit) as stopped:
    prepare.main()
  assert stopped.value.code.startswith("error: ")
  assert "\n" not in stopped.value.code


@pytest.fixture
def library():
  for package in ("importlib_resources", "PIL", "tensorflow_datasets"):
    pytest.importorskip(package, reason="needs `pip install -e '.[tfds]'`")
  return tfds.import_library()


def store(library, data_dir, keys=("image", "label"), num_classes=3, **sizes):
  """Writes images of the given sizes by split, with a builder of our own."""
  import PIL.Image

  features = library.features

  class Builder(library.core.GeneratorBasedBuilder, skip_registration=True):
    name = "shapes"
    VERSION = library.core.Version("1.0.0")

    def _info(self):
      image = features.Image(shape=(None, None, 1))
      spec = {
        "image": image,
        "label": features.ClassLabel(num_classes=num_classes),
      }
      return library.core.DatasetInfo(
        builder=self,
        features=features.FeaturesDict(spec),
        supervised_keys=keys,
      )

    def _split_generators(self, dl_manager):
      return {part: self._generate_examples(sizes[part]) for part in sizes}

    def _generate_examples(self, sizes):
      for i, size in enumerate(sizes):
        image = PIL.Image.fromarray(np.full(size, i % 256, np.uint8))
        yield (
          i,
          {"image": image, "label": i % num_classes if size[0] > 1 else -1},
        )

  Builder(data_dir=data_dir, file_format="array_record").download_and_prepare()
  return pathlib.Path(data_dir, "shapes", "1.0.0")


def test_any_set_of_one_size_is_read(library, tmp_path):
  folder = store(library, tmp_path, train=[(5, 6)] * 1007, test=[(5, 6)] * 4)
  assert prepare.run_builder("shapes", tmp_path) == folder
  loaded = data.load("shapes", data_dir=str(tmp_path))
  assert loaded.source == "tfds" and loaded.num_classes == 3
  assert loaded.train.images.shape == (1007, 5, 6, 1)
  assert loaded.train.images.dtype == np.uint8
  assert loaded.train.labels.dtype == np.int32
  values = loaded.test.images[:, 0, 0, 0]
  assert sorted(values.tolist()) == list(range(4))
  np.testing.assert_array_equal(values % 3, loaded.test.labels)
  assert "tensorflow" not in sys.modules


def test_a_hundred_classes_are_read(library, tmp_path):
  sizes = {"train": [(4, 4)] * 200, "test": [(4, 4)] * 100}
  store(library, tmp_path, num_classes=100, **sizes)
  loaded = data.load("shapes", data_dir=str(tmp_path))
  assert loaded.num_classes == 100
  assert np.bincount(loaded.train.labels).tolist() == [2] * 100
  values = loaded.test.images[:, 0, 0, 0]
  np.testing.assert_array_equal(values, loaded.test.labels)


def test_damaged_array_records_are_errors(library, tmp_path):
  folder = store(library, tmp_path, train=[(5, 6)], test=[(50, 60)] * 4)
  file = next(folder.glob("*-test.array_record*"))
  whole = file.read_bytes()
  middle = whole.rindex(b"IDAT")
  for contents in (
    whole[: len(whole) // 2],
    whole[:middle] + b"\0" * 50 + whole[middle + 50 :],
  ):
    file.write_bytes(contents)
    message = hostile.error(data.load, "shapes", data_dir=str(tmp_path))
    assert "'test'" in message and str(folder) in message


ONE = [(5, 6)] * 2


@pytest.mark.parametrize(
  ("word", "stored"),
  [
    ("(5, 7, 1)", {"train": [(5, 6), (5, 7)], "test": ONE}),
    ("test images of (7, 7, 1)", {"train": ONE, "test": [(7, 7)]}),
    ("split 'test'", {"train": ONE, "validation": ONE}),
    ("without a label", {"train": ONE, "test": [(1, 6)]}),
    ("supervised keys", {"keys": None, "train": ONE, "test": ONE}),
  ],
)
def test_sets_that_do_not_fit_are_errors(library, tmp_path, word, stored):
  folder = store(library, tmp_path, **stored)
  message = hostile.error(data.load, "shapes", data_dir=str(tmp_path))
  assert word in message and str(folder) in message


def test_other_sets_need_tensorflow_to_prepare(library, tmp_path):
  if importlib.util.find_spec("tensorflow"):
    pytest.skip("TensorFlow is installed")
  message = hostile.error(prepare.run_builder, "cifar10", tmp_path)
  assert "pip install tensorflow" in message
