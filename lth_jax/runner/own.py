"""Functions of one's own, from a file or from Python.

A run's identity names the code that they come from, by its digest: a run is
resumed with equal code only.
"""

import dataclasses
import hashlib
import importlib.util
import inspect
import pathlib
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax import errors
from lth_jax import masks as masks_lib
from lth_jax.config import configs
from lth_jax.config.configs import Config
from lth_jax.training import Start

_DIGITS = 16


class Own(NamedTuple):
  """Functions of one's own.

  Attributes:
    functions: by the names that flags and configs use.
    code: names and digest of the files that they come from; "" without any.
  """

  functions: Mapping[str, Callable[..., Any]] = {}
  code: str = ""


def load(config: Config) -> Own:
  """Returns the functions of `--module`; runs its code.

  Raises:
    InputError: there is no such file, it fails, or it is another one than the
      run began with.
  """
  if config.execution.module is None:
    return Own()
  path = pathlib.Path(config.execution.module).expanduser()
  try:
    content = path.read_bytes()
  except OSError as error:
    raise errors.InputError(
      f"--module={path}: cannot be read ({error.strerror}); name a Python file."
    ) from error
  module = _run(path, content)
  functions = {
    name: value
    for name, value in vars(module).items()
    if callable(value) and not name.startswith("_")
  }
  return Own(functions, _code(path.name, content))


def collect(functions: Mapping[str, Callable[..., Any]]) -> Own:
  """Returns functions that Python hands over, by the names they will have.

  Their code is the file in which each is defined; in a notebook, the function's
  own text.

  Raises:
    InputError: the code of a function cannot be found.
  """
  found = {}
  for name, function in functions.items():
    try:
      path = pathlib.Path(inspect.getsourcefile(function) or "")
      is_file = path.is_file()
      found[path.name if is_file else name] = (
        path.read_bytes() if is_file else inspect.getsource(function).encode()
      )
    except (TypeError, OSError) as error:
      raise errors.InputError(
        f"{name}: its code cannot be found ({error}); define it in a file with "
        "`def`, so that a run knows whether it is resumed with the same code."
      ) from error
  if not found:
    return Own()
  content = b"".join(hashlib.sha256(found[x]).digest() for x in sorted(found))
  if len(found) == 1:
    (content,) = found.values()
  return Own(functions, _code("+".join(sorted(found)), content))


def bind(config: Config, own: Own) -> Config:
  """Returns the config with the code in its identity.

  Raises:
    InputError: the run began with other code, or a name is unknown.
  """
  code = config.code.code
  if code and code != own.code:
    raise errors.InputError(
      f"--code={code}: the functions are from '{own.code or 'no --module'}' "
      "now; give the --module that this run began with."
    )
  for name, words in configs.own_names(config).items():
    for word in words:
      if word not in own.functions:
        known = *configs.built_in(name), *own.functions
        raise errors.InputError(
          errors.unknown(f"value of --{name}", word, known)
        )
  used = bool(configs.own_names(config)) or config.data.dataset in own.functions
  section = dataclasses.replace(config.code, code=own.code if used else "")
  return dataclasses.replace(config, code=section)


def choose(
  built_in: Mapping[str, Any], functions: Mapping[str, Any], name: str
) -> Any:
  """Returns the function of a name; a built-in name keeps its meaning."""
  return built_in[name] if name in built_in else functions[name]


def check_start(name: str, start: Start, ticket: Start) -> None:
  """Checks what a control of one's own returns.

  Raises:
    InputError: names the leaf that has another shape or dtype than the
      ticket's, or weights where it is pruned.
  """
  found, expected = (
    {jax.tree_util.keystr(p): x for p, x in jax.tree.leaves_with_path(each)}
    for each in (start, ticket)
  )
  for leaf in found.keys() ^ expected.keys():
    raise errors.InputError(
      f"--arms={name}: it returns {'an additional' if leaf in found else 'no'} "
      f"leaf {leaf}; return the ticket with other values (`ticket._replace`)."
    )
  for leaf, value in found.items():
    kinds = [f"{x.dtype}{list(x.shape)}" for x in (value, expected[leaf])]
    if kinds[0] != kinds[1]:
      raise errors.InputError(
        f"--arms={name}: leaf {leaf} is {kinds[0]}, that of the ticket "
        f"{kinds[1]}."
      )
  for leaf, (mask, params) in masks_lib.by_name(
    start.masks, start.params
  ).items():
    if np.any(params[~mask]):
      raise errors.InputError(
        f"--arms={name}: weights of {leaf} are not zero where its mask is "
        "False; use `lth_jax.masks.apply(params, masks)`."
      )


def _run(path: pathlib.Path, content: bytes) -> Any:
  # Dataclasses look for their module by its name, which must be of this code.
  name = f"{path.stem}_{hashlib.sha256(content).hexdigest()}"
  spec = importlib.util.spec_from_file_location(name, path)
  if spec is None or spec.loader is None:
    raise errors.InputError(f"--module={path}: must end in .py.")
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module
  try:
    spec.loader.exec_module(module)
  except Exception as error:
    frames = traceback.extract_tb(error.__traceback__)
    line = next((x.lineno for x in frames[::-1] if x.filename == str(path)), 0)
    line = getattr(error, "lineno", None) or line
    raise errors.InputError(
      f"--module={path}, line {line}: {type(error).__name__}: "
      f"{errors.first_line(error)}."
    ) from error
  return module


def _code(name: str, content: bytes) -> str:
  return f"{name}:{hashlib.sha256(content).hexdigest()[:_DIGITS]}"
