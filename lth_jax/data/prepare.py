"""Prepares a data set for `--source=tfds`, once, in a process of its own.

  python -m lth_jax.data.prepare mnist
  python -m lth_jax.data.prepare mnist --from_dir=FOLDER_OF_THE_GZ_FILES

MNIST and Fashion-MNIST need no TensorFlow. All others are prepared by their
stock builders, which do. Needs `pip install -e '.[tfds]'` in the clone.
"""

import argparse
import http.client
import importlib.util
import pathlib
import sys
import tempfile
import textwrap
import urllib.request

from lth_jax import errors
from lth_jax.data import dataset, idx, tfds

# As in tensorflow_datasets/image_classification/mnist.py (4.9.10), which
# names the version 3.0.1 for both.
URLS = {
  "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/",
  "fashion_mnist": (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
  ),
}
VERSION = "3.0.1"
TIMEOUT_SECONDS = 10


def prepare(
  name: str, data_dir: str | None = None, from_dir: str | None = None
) -> pathlib.Path:
  """Writes a data set as ArrayRecord, unless it is there.

  Nothing half-written is ever found: TFDS writes to a folder of another name
  and renames it.

  Args:
    name: a TFDS name; 'mnist' and 'fashion_mnist' need no TensorFlow.
    data_dir: folder of prepared sets; None is the one that TFDS uses.
    from_dir: folder of the original files, instead of downloading them.

  Returns:
    The folder of the prepared set.

  Raises:
    errors.InputError: no network, a file that is not the original, no such
      data set, a package is missing, the folder cannot be written, or the set
      is there in another format.
  """
  root = pathlib.Path(data_dir or tfds.default_dir())
  folder = tfds.find(name, root)
  if folder is None:
    library = tfds.import_library()
    if name in idx.NAMES:
      folder = _write(fetch(name, from_dir), root, library)
    else:
      folder = _run_stock_builder(name, root, from_dir, library)
  tfds.require_array_record(name, folder)
  return folder


def fetch(name: str, from_dir: str | None = None) -> dataset.Dataset:
  """Gets MNIST or Fashion-MNIST in the original order, checksums checked.

  Downloaded files go to a temporary folder, which is gone afterwards.

  Args:
    name: 'mnist' or 'fashion_mnist'.
    from_dir: folder of the original files, instead of downloading them.

  Raises:
    errors.InputError: no network, or a file that is not the original.
  """
  if from_dir is not None:
    return idx.load(name, from_dir)
  with tempfile.TemporaryDirectory() as folder:
    for file in idx.FILES:
      url = f"{URLS[name]}{file}.gz"
      print(f"downloading {url}", flush=True)
      (pathlib.Path(folder) / f"{file}.gz").write_bytes(_download(url, name))
    return idx.load(name, folder)


def main() -> None:
  """Runs the command; an error is one line, with exit code 1."""
  parser = argparse.ArgumentParser(
    prog="python -m lth_jax.data.prepare",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("name", help="TFDS name of the data set")
  parser.add_argument("--data_dir", help="where to; default: as TFDS")
  parser.add_argument("--from_dir", help="folder of the original files")
  args = parser.parse_args()
  try:
    folder = prepare(args.name, args.data_dir, args.from_dir)
  except errors.InputError as error:
    sys.exit(f"error: {error}")
  print(f"{args.name} is prepared in {folder}")


def _download(url, name):
  try:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
      return response.read()
  except (OSError, http.client.HTTPException) as error:
    raise errors.InputError(
      f"Cannot download {url} ({error}); on a machine without a network, bring "
      f"the four original .gz files of {name} and give --from_dir=FOLDER."
    ) from error


def _write(data: dataset.Dataset, root, library):
  class Builder(library.core.GeneratorBasedBuilder, skip_registration=True):
    """MNIST as the stock builder makes it, from arrays."""

    name = data.name
    VERSION = library.core.Version(VERSION)

    def _info(self):
      return library.core.DatasetInfo(
        builder=self,
        features=library.features.FeaturesDict(
          {
            "image": library.features.Image(shape=data.train.images.shape[1:]),
            "label": library.features.ClassLabel(num_classes=data.num_classes),
          }
        ),
        supervised_keys=("image", "label"),
      )

    def _split_generators(self, dl_manager):
      return {
        "train": self._generate_examples(data.train),
        "test": self._generate_examples(data.test),
      }

    def _generate_examples(self, split):
      import PIL.Image  # A PIL image is encoded without TensorFlow.

      for i, (image, label) in enumerate(zip(*split)):
        yield i, {"image": PIL.Image.fromarray(image[..., 0]), "label": label}

  try:
    builder = Builder(data_dir=root, file_format="array_record")
    with tempfile.TemporaryDirectory() as unused:
      builder.download_and_prepare(download_dir=unused)
  except (OSError, RuntimeError) as error:
    raise errors.InputError(
      f"Cannot write '{data.name}' to {root} "
      f"({textwrap.shorten(str(error), 300)}); free space there or give "
      "another --data_dir."
    ) from error
  return pathlib.Path(builder.data_dir)


def _run_stock_builder(name, root, from_dir, library):
  if importlib.util.find_spec("tensorflow") is None:
    raise errors.InputError(
      f"Preparing '{name}' needs TensorFlow, once (reading does not): `pip "
      f"install tensorflow`; only {' and '.join(idx.NAMES)} do without."
    )
  from tensorflow_datasets.core.download import downloader

  downloader.MAX_RETRIES = 0  # Ten retries take 205 s without a network.
  # With a shared folder, TFDS takes the files of one data set for another's
  # of the same file names, and says nothing.
  downloads = root / "downloads" / name.replace("/", "_").replace(":", "_")
  try:
    builder = library.builder(name, data_dir=root, file_format="array_record")
    builder.download_and_prepare(
      download_dir=downloads,
      download_config=library.download.DownloadConfig(manual_dir=from_dir),
    )
  except Exception as error:  # Stock builders raise whatever they like.
    reason = textwrap.shorten(str(error), 300)
    raise errors.InputError(
      f"TFDS cannot prepare '{name}' ({type(error).__name__}: {reason}); "
      "check the name, the network, or give the original files by --from_dir."
    ) from error
  return pathlib.Path(builder.data_dir)


if __name__ == "__main__":
  main()
