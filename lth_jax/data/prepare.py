"""Downloads MNIST or Fashion-MNIST, or prepares another data set with TFDS.

  python -m lth_jax.data.prepare mnist
  python -m lth_jax.data.prepare cifar10

MNIST and Fashion-MNIST need no other package. All other sets are prepared by
TFDS, once, with TensorFlow: `pip install -e '.[tfds]' tensorflow` in the clone.
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

# As in tensorflow_datasets/image_classification/mnist.py (4.9.10).
URLS = {
  "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/",
  "fashion_mnist": (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
  ),
}
TIMEOUT_SECONDS = 10


def download(name: str, root: pathlib.Path) -> pathlib.Path:
  """Downloads the original files of MNIST or Fashion-MNIST, unless they exist.

  Returns:
    A folder of that name below `root`, where `data.load` finds the files. They
    appear in it once all have the right checksums.

  Raises:
    errors.InputError: no network, a file is not the original, or the folder
      cannot be written.
  """
  folder = root / name
  if idx.holds(name, folder):
    idx.load(name, folder)
    return folder
  try:
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as temporary:
      for file in idx.FILES:
        contents = _fetch(f"{URLS[name]}{file}.gz", name)
        pathlib.Path(temporary, f"{file}.gz").write_bytes(contents)
      idx.load(name, pathlib.Path(temporary))
      folder.mkdir(exist_ok=True)
      for path in pathlib.Path(temporary).iterdir():
        path.rename(folder / path.name)
  except OSError as error:
    raise errors.InputError(
      f"Cannot write to {root} ({error}); free space there or give another "
      "--data_dir."
    ) from error
  return folder


def run_builder(
  name: str, root: pathlib.Path, manual_dir: str | None = None
) -> pathlib.Path:
  """Prepares a data set with its TFDS builder as ArrayRecord, unless it exists.

  Args:
    name: as TFDS spells it.
    root: folder of prepared sets.
    manual_dir: folder of files that the builder cannot download.

  Returns:
    The folder of the prepared set.

  Raises:
    errors.InputError: a package is missing, there is no such data set, the
      builder fails, or the set is there in another format.
  """
  folder = tfds.find(name, root)
  if folder is not None:
    return folder
  library = tfds.import_library()
  if importlib.util.find_spec("tensorflow") is None:
    raise errors.InputError(
      f"Preparing '{name}' needs TensorFlow, once (reading does not): `pip "
      f"install tensorflow`; only {' and '.join(idx.NAMES)} do without."
    )
  from tensorflow_datasets.core.download import downloader

  downloader.MAX_RETRIES = 0  # Ten retries take 205 s without a network.
  # In a shared folder, TFDS takes the files of one data set for another's of
  # the same names, silently.
  downloads = root / "downloads" / name.replace("/", "_").replace(":", "_")
  try:
    builder = library.builder(name, data_dir=root, file_format="array_record")
    builder.download_and_prepare(
      download_dir=downloads,
      download_config=library.download.DownloadConfig(manual_dir=manual_dir),
    )
  except Exception as error:  # Builders raise whatever they like.
    reason = textwrap.shorten(str(error), 300)
    raise errors.InputError(
      f"TFDS cannot prepare '{name}' ({type(error).__name__}: {reason}); "
      "check the name, the network, or give the original files by --from_dir."
    ) from error
  return pathlib.Path(builder.data_dir)


def main() -> None:
  """Runs the command; an error is one line, with exit code 1."""
  parser = argparse.ArgumentParser(
    prog="python -m lth_jax.data.prepare",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("name", help="TFDS name of the data set")
  parser.add_argument("--data_dir", help="where to; default: as TFDS")
  parser.add_argument("--from_dir", help="folder of files that TFDS asks for")
  args = parser.parse_args()
  root = dataset.default_dir()
  if args.data_dir:
    root = pathlib.Path(args.data_dir).expanduser()
  try:
    if args.name in idx.NAMES:
      folder = download(args.name, root)
    else:
      folder = run_builder(args.name, root, args.from_dir)
  except errors.InputError as error:
    sys.exit(f"error: {error}")
  print(f"{args.name} is in {folder}")


def _fetch(url, name):
  print(f"downloading {url}", flush=True)
  try:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
      return response.read()
  except (OSError, http.client.HTTPException) as error:
    raise errors.InputError(
      f"Cannot download {url} ({error}); on a machine without a network, bring "
      f"the four original .gz files of {name} and give their folder as "
      "--data_dir of the experiment."
    ) from error


if __name__ == "__main__":
  main()
