"""Object stores (`gs://`): what they have that folders have not, and back.

A single object appears whole or not at all, and can be created only if it is
absent. There are no folders: one without an object in it does not exist, and
nothing can be renamed in one step.
"""

import importlib.util
import logging
import re
from typing import Any, NamedTuple

import fsspec
from etils import epath

from lth_jax import errors

_SCHEME = "gs://"
# The top-level packages whose exceptions say that a store failed.
_FOREIGN = ("aiohttp", "fsspec", "gcsfs", "google", "requests")
# Of HTTP's refusals, what may pass: 408 Request Timeout, 429 Too Many Requests.
_PASSING = (408, 429)
# TensorStore begins its errors with a status. These are failures of a store;
# any other, unless an error code of the system follows, is about what was read.
_PASSING_STATUS = (
  *("ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"),
  *("RESOURCE_EXHAUSTED", "UNKNOWN"),
)
_REFUSING_STATUS = ("CANCELLED", "PERMISSION_DENIED", "UNAUTHENTICATED")


class Failure(NamedTuple):
  """How a store failed.

  Attributes:
    reason: for people, one line.
    passes: whether the same may do later; a refusal is a matter of settings.
  """

  reason: str
  passes: bool


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
  past the cache, and so do other processes. Nor does gcsfs print tracebacks of
  what it raises, and of what it tries again.

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
      f"{path}: gs:// needs the package gcsfs: in the clone of lth_jax, "
      "`pip install -e '.[gcs]'`."
    )
  fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False
  logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
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


def explain(error: Exception) -> Failure | None:
  """Says how a store failed; None if it is no such failure.

  Args:
    error: that was raised by any library.

  >>> explain(KeyError("w")) is None
  True
  >>> explain(ValueError("UNAVAILABLE: Error writing gs://b/x: no answer"))
  Failure(reason='UNAVAILABLE: Error writing gs://b/x: no answer', passes=True)
  """
  text = str(error)
  status = text.partition(":")[0]
  if isinstance(error, ValueError) and (
    status in _PASSING_STATUS + _REFUSING_STATUS or "[os_error_code=" in text
  ):
    # The cause stands behind all files, and before what was asked for.
    cause = re.sub(r" \[\w+=.*", "", text, flags=re.S).rpartition('": ')[2]
    passes = is_remote(text) and status in _PASSING_STATUS
    return Failure(_one_line(ValueError(cause)), passes)
  top = type(error).__module__.partition(".")[0]
  if top not in _FOREIGN:
    return None
  code = getattr(error, "code", getattr(error, "status", None))
  refused = str(code).startswith("4") and code not in _PASSING
  refused |= top == "google" and type(error).__name__ != "TransportError"
  return Failure(_one_line(error), not refused)


def _check_bucket(path: epath.Path) -> None:
  bucket = str(path).removeprefix(_SCHEME).partition("/")[0]
  try:
    # Whoever may use a folder of a bucket may list it; few may ask for more.
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


def _store() -> Any:
  """The instance that etils uses; of a class of gcsfs."""
  return fsspec.filesystem("gcs", finalize_on_close=True)


def _one_line(error: Exception) -> str:
  text = " ".join(str(error).split()) or type(error).__name__
  return text[:200].rstrip(".")
