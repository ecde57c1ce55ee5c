"""Object stores (`gs://`): what they have that folders have not, and back.

A single object appears whole or not at all, and can be created only if it is
absent. There are no folders: one without an object in it does not exist, and
nothing can be renamed in one step.
"""

import contextlib
import importlib.util
import logging
from collections.abc import Iterator
from typing import Any

import fsspec
from etils import epath

from lth_jax import errors

_SCHEME = "gs://"
# The top-level packages whose exceptions say that a store failed.
_FOREIGN = ("aiohttp", "gcsfs", "google", "requests")


def is_remote(path: epath.PathLike) -> bool:
  """Says whether a path is on an object store.

  Args:
    path: a path or a URL.

  >>> is_remote("/tmp/run"), is_remote(epath.Path("gs://bucket/run"))
  (False, True)
  """
  return "://" in str(path)


def connect(path: epath.Path) -> epath.Path:
  """Checks that a store can be reached before anything else is done there.

  Listings are not cached from then on, in all of this process: Orbax writes
  past the cache, and so do other processes.

  Args:
    path: of any kind; nothing is done for a local one.

  Returns:
    The path.

  Raises:
    InputError: no gcsfs, no such bucket, no credentials, no connection.

  >>> str(connect(epath.Path("runs/first")))
  'runs/first'
  >>> connect(epath.Path("s3://bucket/run"))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: s3://bucket/run: of object stores only gs:// ...
  """
  if not is_remote(path):
    return path
  if not str(path).startswith(_SCHEME):
    raise errors.InputError(
      f"{path}: of object stores only gs:// is supported."
    )
  if importlib.util.find_spec("gcsfs") is None:
    raise errors.InputError(
      f"{path}: gs:// needs the package gcsfs; install the extra 'gcs'."
    )
  fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False
  _check_bucket(path)
  return path


def children(folder: epath.Path) -> list[epath.Path]:
  """Lists what is directly below a folder; nothing if it does not exist.

  Args:
    folder: of any kind; on a store it exists once something is in it.

  >>> children(epath.Path("nowhere"))
  []
  """
  try:
    return list(folder.iterdir())
  except FileNotFoundError:
    return []


def create(path: epath.Path, text: str) -> bool:
  """Writes an object unless it is there, in one step; says whether it did.

  Of several that create one object at a time, one succeeds. Where a connection
  breaks, False may also mean that this very call has created it.

  Args:
    path: of the object; or of a local file, which does not appear whole.
    text: what to write.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   path = epath.Path(name) / "1.json"
  ...   create(path, "first"), create(path, "second"), path.read_text()
  (True, False, 'first')
  """
  try:
    if is_remote(path):
      # One request with ifGenerationMatch=0. open(mode="xb") takes two, of
      # which the second, which writes, has no such condition.
      _store().pipe_file(str(path), text.encode(), mode="create")
    else:
      with open(path, "x", encoding="utf-8") as file:
        file.write(text)
  except FileExistsError:
    return False
  return True


def explain(error: Exception) -> str | None:
  """Says in one line how a store failed; None if it is no such failure.

  Args:
    error: that was raised by any library.

  >>> explain(KeyError("w")) is None
  True
  """
  top = type(error).__module__.partition(".")[0]
  return _one_line(error) if top in _FOREIGN else None


def _check_bucket(path: epath.Path) -> None:
  bucket = str(path).removeprefix(_SCHEME).partition("/")[0]
  try:
    # Whoever may use a folder of a bucket may list it; few may ask for more.
    with _in_silence():
      _store().call("GET", "b/{}/o", bucket, maxResults=1)
  except FileNotFoundError:
    raise errors.InputError(
      f"{path}: there is no bucket '{bucket}'; make it first."
    ) from None
  except Exception as error:  # as many kinds as there are ways to fail
    raise errors.InputError(
      f"{path}: the bucket cannot be listed ({_one_line(error)}); check the "
      "connection and the credentials, such as those of 'gcloud auth "
      "application-default login'."
    ) from error


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
  """Keeps gcsfs from printing the traceback of what it raises."""
  logger = logging.getLogger("gcsfs")
  before = logger.level
  logger.setLevel(logging.CRITICAL)
  try:
    yield
  finally:
    logger.setLevel(before)


def _store() -> Any:
  """The instance that etils uses; of a class of gcsfs."""
  return fsspec.filesystem("gcs", finalize_on_close=True)


def _one_line(error: Exception) -> str:
  text = " ".join(str(error).split()) or type(error).__name__
  return text[:200].rstrip(".")
