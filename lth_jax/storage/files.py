"""Files that anybody may have made: seals show damage, links may lead out.

A seal finds what a disk or a copy did to a file. It proves nothing about who
wrote it.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from typing import IO, Any

from etils import epath

from lth_jax import errors
from lth_jax.storage import buckets

_SEAL = "sha256"
# Far more than what is written as JSON.
_MOST = 2**30


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
  """Adds the digest of all else to what is to be written as JSON.

  Args:
    content: what JSON can hold, with names that are strings.

  >>> sorted(seal({"rounds": 3}))
  ['rounds', 'sha256']
  """
  return {**content, _SEAL: digest(content)}


def unseal(content: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what was sealed.

  Args:
    content: as read from JSON.

  Raises:
    ValueError: it is not what was sealed.

  >>> unseal(seal({"rounds": 3}))
  {'rounds': 3}
  >>> unseal(seal({"rounds": 3}) | {"rounds": 2})
  Traceback (most recent call last):
    ...
  ValueError: it is altered
  """
  rest = {name: value for name, value in content.items() if name != _SEAL}
  if content.get(_SEAL) != digest(rest):
    raise ValueError("it is altered")
  return rest


def digest(content: Mapping[str, Any]) -> str:
  """Returns the SHA-256 of what JSON can hold.

  Args:
    content: with names that are strings, in any order.

  >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
  True
  """
  text = json.dumps(content, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def parse(text: str) -> Any:
  """Parses JSON whose strings can be written again.

  Args:
    text: of a file.

  Raises:
    ValueError: it is no JSON, or a string in it is no text.
    RecursionError: it is nested too deeply.

  >>> parse('{"arm": "ticket"}')
  {'arm': 'ticket'}
  >>> parse('{"arm": "' + chr(92) + 'ud800"}')  # half of a character
  Traceback (most recent call last):
    ...
  UnicodeEncodeError: ... surrogates not allowed
  """
  content = json.loads(text)
  if "\\u" in text:
    json.dumps(content, ensure_ascii=False).encode()
  return content


def check(path: epath.PathLike) -> None:
  """Refuses a FIFO or a device; a folder cannot be opened anyway.

  Opening a FIFO waits for a writer, and not even a signal ends that; some
  devices have no end.

  Args:
    path: of any kind; what is on an object store is an object.

  Raises:
    ValueError: says what is there.

  >>> check(os.devnull)
  Traceback (most recent call last):
    ...
  ValueError: it is a device, not a file
  """
  if buckets.is_remote(path) or not os.path.exists(path):
    return
  mode = os.stat(path).st_mode
  if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
    kind = "a FIFO" if stat.S_ISFIFO(mode) else "a device"
    raise ValueError(f"it is {kind}, not a file")


def open_lock(path: epath.Path) -> IO[str]:
  """Opens a local file that is there to be locked, and made if it is not.

  Args:
    path: of the file.

  Raises:
    InputError: it is a FIFO or a device.

  >>> open_lock(epath.Path(os.devnull))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: /dev/null: it is a device, not a file; remove it.
  """
  try:
    check(path)
  except ValueError as error:
    raise errors.InputError(f"{path}: {error}; remove it.") from error
  return open(path, "a")


def read(path: epath.Path, most: int = _MOST) -> bytes:
  """Returns the contents of a regular file.

  Args:
    path: of any kind.
    most: bytes that it may have.

  Raises:
    ValueError: it is a FIFO or a device, or larger.
    OSError: it cannot be read.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   path = epath.Path(name) / "record.json"
  ...   _ = path.write_text("{}")
  ...   read(path)
  b'{}'
  """
  check(path)
  with path.open("rb") as file:
    contents = file.read(most + 1)
  if len(contents) > most:
    raise ValueError(f"it is larger than {most:,} bytes")
  return contents


def check_links(folder: epath.Path) -> None:
  """Refuses a folder below which a link leads out of it.

  Whoever writes there, or removes something, would do so elsewhere.

  Args:
    folder: need not exist; may be a link itself.

  Raises:
    InputError: names the link.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   os.symlink("/", os.path.join(name, "report"))
  ...   check_links(epath.Path(name))
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: .../report is a link that leads out of ...
  """
  if buckets.is_remote(folder):  # object stores have no links
    return
  top = os.path.realpath(folder)
  for parent, folders, names in os.walk(top):
    for name in folders + names:
      path = os.path.join(parent, name)
      if os.path.islink(path) and not _is_inside(os.path.realpath(path), top):
        shown = folder / os.path.relpath(path, top)
        raise errors.InputError(
          f"{shown} is a link that leads out of {folder}; remove it, or put "
          "there what it leads to."
        )


def _is_inside(path: str, top: str) -> bool:
  return os.path.commonpath([path, top]) == top
