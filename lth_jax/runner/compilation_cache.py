"""Compiled programs that JAX keeps on disk, for later commands.

JAX names an entry by a hash of the program, of jaxlib and of the devices. It
leaves out what else XLA looks at on CPU: with fewer CPUs, or NPROC, the same
entry is found, though XLA could compile another program. Homes are shared
between machines, so each environment, as `env.json` has it, has its own folder.

There is no limit of size (LeNet's programs take 1 MB, and change with shapes
only): JAX's own takes a lock, with a time limit, at each entry that is read.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import tempfile
import warnings

import jax

from lth_jax.parallel import processes, progress
from lth_jax.runner import environment

# A disk or quota with less room than this counts as full.
_ROOM = 4 * 2**20
_FAILED = re.compile("Error (read|writ)ing persistent .* '(?P<program>[^']*)'")


def use(asked: str) -> None:
  """Makes JAX keep its programs, unless the user or an earlier run chose how.

  For after the backend's start. A folder that cannot be used is logged.

  Args:
    asked: value of `--compilation_cache`.
  """
  if asked == "off" or jax.config.values["jax_compilation_cache_dir"]:
    return
  try:
    folder = _parent(asked) / _environment()
    folder.mkdir(parents=True, exist_ok=True)
    # A full disk would leave JAX with pieces of programs.
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(bytes(_ROOM))
  except OSError as error:
    processes.log(
      f"note: compiled programs are not kept for later runs ({error}); "
      "--compilation_cache names another folder, or is off."
    )
    return
  _remove_failing(folder)
  jax.config.update("jax_compilation_cache_dir", str(folder))
  # All programs: most of LeNet's 37 compile in less than JAX's limit of 1 s.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  # XLA's own files: a failure to write one would end the run.
  jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def _parent(asked: str) -> pathlib.Path:
  if asked != "auto":
    return pathlib.Path(os.path.expanduser(asked)).absolute()
  home = os.environ.get("XDG_CACHE_HOME", "")
  if not os.path.isabs(home):  # as the specification wants
    home = os.path.expanduser("~/.cache")  # stays as it is for nobody
  if not os.path.isabs(home):
    raise FileNotFoundError("no home folder is known")
  return pathlib.Path(home) / "lth_jax" / "programs"


def _environment() -> str:
  """Returns a name for what equal bits need; other code has other programs."""
  facts = environment.describe() | {"commit": None, **environment.processor()}
  text = json.dumps(facts, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _remove_failing(folder: pathlib.Path) -> None:
  """Removes programs that JAX cannot read or write: it never replaces one."""
  show = warnings.showwarning

  def handle(message, *where, **more):
    if not (failed := _FAILED.match(str(message))):
      return show(message, *where, **more)
    progress.log(f"note: {message}. It is compiled when it is needed.")
    with contextlib.suppress(OSError):
      for path in folder.glob(f"{failed['program']}-*"):
        path.unlink(missing_ok=True)

  warnings.showwarning = handle
