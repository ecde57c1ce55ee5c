"""Single files that are complete or absent, and checksums for JSON.

Paths are local or on `gs://`. A checksum shows that a disk or a copy damaged a
file; it does not show who wrote the file.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from etils import epath

from lth_jax import errors
from lth_jax.storage import buckets

# Of all JSON files of a run; one number, since a run is written by one version.
FORMAT = 3
_CHECKSUM = "sha256"


class DamagedError(errors.InputError):
  """A file is missing, cut short or altered."""


def add_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
  """Returns JSON content with the SHA-256 of all its entries added."""
  return {**content, _CHECKSUM: digest(content)}


def verify_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
  """Returns JSON content without its checksum.

  Raises:
    ValueError: the checksum is missing or wrong.
  """
  rest = {name: value for name, value in content.items() if name != _CHECKSUM}
  if content.get(_CHECKSUM) != digest(rest):
    raise ValueError("it is altered")
  return rest


def digest(content: Mapping[str, Any]) -> str:
  """Returns the SHA-256 of JSON content, whatever the order of its names."""
  text = json.dumps(content, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def parse(text: str) -> Any:
  r"""Returns the content of JSON text.

  Raises:
    ValueError: the text is not JSON, or has half of a surrogate pair
      (`"\ud800"`), which Python accepts and cannot write again.
    RecursionError: it is nested too deeply.
  """
  content = json.loads(text)
  if "\\u" in text:
    json.dumps(content, ensure_ascii=False).encode()
  return content


def write(path: epath.Path, contents: bytes) -> None:
  """Writes a file that is complete or absent at any time; replaces another.

  Raises:
    OSError: it cannot be written; an older file is kept.
  """
  if buckets.is_remote(path):  # an object appears at once
    path.write_bytes(contents)
    return
  temporary = f"{path}.tmp"
  with contextlib.suppress(FileNotFoundError):
    os.unlink(temporary)  # a link there would be followed
  with open(temporary, "wb") as file:
    file.write(contents)
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)


def write_json(path: epath.Path, content: Any) -> None:
  """Writes content as JSON, with `write`.

  Raises:
    ValueError: the content has a NaN or an infinity.
    OSError: the file cannot be written; an older one is kept.
  """
  text = json.dumps(content, indent=1, allow_nan=False) + "\n"
  write(path, text.encode())


def read_json(path: epath.Path) -> dict[str, Any]:
  """Returns the content of a JSON file.

  Raises:
    DamagedError: the file is missing, cut short, or no JSON object.
    OSError: it cannot be read, which tells nothing about its content.
  """
  try:
    content = parse(path.read_bytes().decode())
  except (ValueError, RecursionError, FileNotFoundError) as error:
    raise DamagedError(f"{path} is damaged: {error}.") from error
  if not isinstance(content, dict):
    raise DamagedError(f"{path} is damaged: it holds no JSON object.")
  return content
