"""Object stores (`gs://`): where they differ from folders, and how they fail.

A single object appears at once or not at all, and can be created only if it is
absent. There are no folders: a folder without an object does not exist, and
cannot be renamed in one step.
"""

import importlib.util
import logging
import re
from typing import Any, NamedTuple

import fsspec
from etils import epath

from lth_jax import errors

_SCHEME = "gs://"
# Top-level packages whose exceptions mean that a store failed.
_STORE_PACKAGES = ("aiohttp", "fsspec", "gcsfs", "google", "requests")
# Requests refused with these codes may be repeated: timeout, too many requests.
_TRANSIENT_CODES = (408, 429)
# TensorStore raises plain ValueErrors that begin with a status. With these the
# store failed; with any other, unless an error code of the system follows, the
# error is about the content.
_TRANSIENT_STATUS = (
  *("ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"),
  *("RESOURCE_EXHAUSTED", "UNKNOWN"),
)
_REFUSED_STATUS = ("CANCELLED", "PERMISSION_DENIED", "UNAUTHENTICATED")


class Failure(NamedTuple):
  """How a disk or an object store failed.

  Attributes:
    reason: one line for people.
    passes: whether the same may succeed later; False where a person has to
      change something.
  """

  reason: str
  passes: bool


def is_remote(path: epath.PathLike) -> bool:
  """Returns whether a path is on an object store."""
  return "://" in str(path)


def connect(path: epath.Path) -> epath.Path:
  """Returns the path; if it is on an object store, tries to reach that first.

  Raises:
    InputError: gcsfs is missing, there is no such bucket, or it cannot be
      listed.
    StorageError: it is out of reach now.
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
  # gcsfs caches listings, and TensorStore, through which Orbax writes, does not
  # update them: a checkpoint was committed with digests of an older listing.
  fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False
  # It prints tracebacks of what it raises and of what it repeats.
  logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
  _check_bucket(path)
  return path


def children(folder: epath.Path) -> list[epath.Path]:
  """Lists the direct children of a folder; none if it does not exist."""
  try:
    return list(folder.iterdir())
  except FileNotFoundError:
    return []


def files(folder: epath.Path) -> list[epath.Path]:
  """Lists the files below a folder, at any depth; none if it does not exist.

  `epath.Path.glob` does not on gs://, and `is_dir` is False there while the
  store is out of reach.
  """
  if is_remote(folder):
    return [epath.Path(f"{_SCHEME}{name}") for name in _store().find(folder)]
  below = [[x] if not x.is_dir() else files(x) for x in children(folder)]
  return [path for paths in below for path in paths]


def create(path: epath.Path, text: str) -> bool:
  """Creates an object unless it exists; returns whether it was created.

  If several processes create one object, one succeeds. If the connection
  breaks, False may also mean that this call has created it.
  """
  try:
    # One request with ifGenerationMatch=0. gcsfs's open(mode="xb") takes two,
    # and the second, which writes, has no such condition.
    _store().pipe_file(str(path), text.encode(), mode="create")
  except FileExistsError:
    return False
  return True


def explain(error: Exception) -> Failure | None:
  """Returns how a store failed; None if the error is about something else."""
  text = str(error)
  status = text.partition(":")[0]
  if isinstance(error, ValueError) and (
    status in _TRANSIENT_STATUS + _REFUSED_STATUS or "[os_error_code=" in text
  ):
    # 'STATUS: Error ...: Error at "file": cause [os_error_code=...] [spec ...]'
    cause = re.sub(r" \[\w+=.*", "", text, flags=re.S).rpartition('": ')[2]
    passes = is_remote(text) and status in _TRANSIENT_STATUS
    return Failure(_one_line(ValueError(cause)), passes)
  package = type(error).__module__.partition(".")[0]
  if package not in _STORE_PACKAGES:
    return None
  code = getattr(error, "code", getattr(error, "status", None))
  refused = str(code).startswith("4") and code not in _TRANSIENT_CODES
  # google.auth: every error but that of the transport is about credentials.
  refused |= package == "google" and type(error).__name__ != "TransportError"
  return Failure(_one_line(error), not refused)


def outage(path: epath.PathLike) -> Failure | None:
  """Returns how the object store of a path fails now; None if it answers.

  Libraries take a store that is out of reach for one without the file: Orbax
  says that a folder is not a directory.
  """
  if is_remote(path):
    try:
      _list_one(path)
    except Exception as error:  # each layer below raises its own types
      return explain(error)
  return None


def _check_bucket(path: epath.Path) -> None:
  try:
    _list_one(path)
  except FileNotFoundError:
    raise errors.InputError(
      f"{path}: there is no bucket '{_bucket(path)}'; make it first."
    ) from None
  except Exception as error:  # each layer below raises its own types
    if (failure := explain(error)) and failure.passes:
      raise errors.StorageError(f"{path}: {failure.reason}", True) from error
    raise errors.InputError(
      f"{path}: the bucket cannot be listed ({_one_line(error)}); check the "
      "connection and the credentials, for example with 'gcloud auth "
      "application-default login'."
    ) from error


def _list_one(path: epath.PathLike) -> None:
  """Lists one object, which needs the fewest permissions of all requests."""
  _store().call("GET", "b/{}/o", _bucket(path), maxResults=1)


def _bucket(path: epath.PathLike) -> str:
  return str(path).removeprefix(_SCHEME).partition("/")[0]


def _store() -> Any:
  """Returns the instance of gcsfs that etils uses."""
  return fsspec.filesystem("gcs", finalize_on_close=True)


def _one_line(error: Exception) -> str:
  text = " ".join(str(error).split()) or type(error).__name__
  return text[:200].rstrip(".")
