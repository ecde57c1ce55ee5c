"""The inside of an archive as a folder; nothing is unpacked to a disk.

So no member can be written outside a folder, and links and devices of an
archive are never followed.
"""

import io
import pathlib
import posixpath
import tarfile
import zipfile

from lth_jax import errors
from lth_jax.data import dataset


def opened(path: pathlib.Path) -> dataset.Place:
  """Returns the folder inside an archive, or else the path itself.

  Where an archive holds one folder only, that folder is returned.

  >>> opened(pathlib.Path('/nowhere'))
  PosixPath('/nowhere')

  Args:
    path: an archive by its ending, see `dataset.ARCHIVES`, or anything else.

  Raises:
    errors.InputError: the archive is damaged.
  """
  if not path.name.lower().endswith(dataset.ARCHIVES) or not path.exists():
    return path
  if path.is_dir():
    return path
  try:
    is_zip = path.name.lower().endswith(".zip")
    place = zipfile.Path(zipfile.ZipFile(path) if is_zip else _zipped(path))
    inside = [place]
    while len(inside) == 1 and inside[0].is_dir():
      place = inside[0]
      inside = [x for x in place.iterdir() if not _is_hidden(x.name)]
  except Exception as error:  # zipfile, tarfile, zlib and lzma raise many types
    raise errors.InputError(
      f"{path} cannot be opened ({errors.first_line(error)}); download it "
      "again."
    ) from error
  return place


def _is_hidden(name):
  return name.startswith((".", "__MACOSX"))


def _zipped(path):
  """Returns the files of a `.tar` as a zip file in memory.

  That of CIFAR-10 or CIFAR-100 has 186 MB.
  """
  contents = io.BytesIO()
  with tarfile.open(path) as packed, zipfile.ZipFile(contents, "w") as copy:
    for member in packed:
      file = packed.extractfile(member) if member.isfile() else None
      if file:
        copy.writestr(posixpath.normpath(member.name), file.read())
  found = zipfile.ZipFile(contents)
  found.filename = str(path)  # for messages
  return found
