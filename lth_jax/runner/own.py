"""Functions of one's own, from a file or from Python.

A run's identity names the code that they come from, by its digest: a run is
resumed with equal code only.
"""

import dataclasses
import functools
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
from lth_jax.config import checks, configs
from lth_jax.config.configs import Config
from lth_jax.runner import source
from lth_jax.training import Start


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
  built_in = {x for name in configs.fields() for x in configs.built_in(name)}
  functions = {
    name: _guard(name, value)
    for name, value in vars(module).items()
    if callable(value)
    and not name.startswith("_")
    # Built-in functions, too, may be imported.
    and not (name in built_in and _is_ours(value))
  }
  return Own(functions, source.of_file(path, content))


def collect(functions: Mapping[str, Callable[..., Any]]) -> Own:
  """Returns functions that Python hands over, by the names they will have.

  Raises:
    InputError: the code of a function cannot be found.
  """
  guarded = {name: _guard(name, x) for name, x in functions.items()}
  return Own(guarded, source.of_functions(functions))


def bind(config: Config, own: Own) -> Config:
  """Returns the config with the code in its identity.

  Raises:
    InputError: the run began with other code, a name is unknown, or it is both
      built in and a function of one's own.
  """
  code = config.code.code
  if code and code != own.code:
    raise errors.InputError(
      f"--code={code}: the functions are from '{own.code or 'no --module'}' "
      "now; give the --module that this run began with."
    )
  flat = configs.to_flat(config)
  for name in filter(configs.built_in, flat):
    for word in {*checks.words(flat[name])} & {*configs.built_in(name)}:
      if word in own.functions:
        raise errors.InputError(
          f"--{name}={word}: is built in, and a function of your own has this "
          "name; rename the function."
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
  """Returns the function of a name."""
  return built_in[name] if name in built_in else functions[name]


def check_start(name: str, start: Start, ticket: Start) -> None:
  """Checks what a control of one's own returns.

  Raises:
    InputError: names the leaf that has another shape or dtype than the
      ticket's, or weights where it is pruned; or no weight is kept.
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
  if not int(masks_lib.num_kept(start.masks)):
    raise errors.InputError(f"--arms={name}: its masks keep no weight.")
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
  except (Exception, SystemExit) as error:
    what = f"--module={path}{_line(error, str(path))}"
    raise errors.InputError(f"{what}: {_failure(error)}.") from error
  return module


def _is_ours(value: Any) -> bool:
  return str(getattr(value, "__module__", "")).startswith("lth_jax")


@functools.cache  # so that compiled functions of a first run serve the next
def _guard(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a function whose exceptions are InputErrors that name it."""

  @functools.wraps(function)
  def call(*args, **kwargs):
    try:
      return function(*args, **kwargs)
    except (errors.InputError, MemoryError, jax.errors.JaxRuntimeError):
      raise
    except Exception as error:
      code = getattr(inspect.unwrap(function), "__code__", None)
      file = code.co_filename if code else ""
      where = f", {pathlib.Path(file).name}" * bool(file) + _line(error, file)
      raise errors.InputError(f"{name}{where}: {_failure(error)}.") from error

  return call


def _line(error: BaseException, file: str) -> str:
  """Returns the last line of a file in an error's traceback, "" for none."""
  frames = traceback.extract_tb(error.__traceback__)[::-1]
  line = next((x.lineno for x in frames if x.filename == file), None)
  if isinstance(error, SyntaxError) and error.filename == file:
    line = error.lineno
  return f", line {line}" if line else ""


def _failure(error: BaseException) -> str:
  return f"{type(error).__name__}: {errors.first_line(error)}"
