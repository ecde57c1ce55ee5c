"""The code of functions, as a digest for a run's identity."""

import hashlib
import inspect
import pathlib
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lth_jax import errors

_DIGITS = 16
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def of_file(path: pathlib.Path, content: bytes) -> str:
  """Returns the name of a file and the digest of its content."""
  return f"{path.name}:{hashlib.sha256(content).hexdigest()[:_DIGITS]}"


def of_functions(functions: Mapping[str, Callable[..., Any]]) -> str:
  """Returns names and a digest of the code of functions; "" without any.

  Of a function from a file, that is the file, and the values of variables of
  an enclosing function. Of another, as in a notebook, it is its text, and text
  or values of whatever it names that is not from a file either.

  Raises:
    InputError: the code of a function, or a value, cannot be found.
  """
  if not functions:
    return ""
  found: dict[str, bytes] = {}
  for name, function in functions.items():
    try:
      path = _file(function)
      if path is None:
        found[name] = "\n".join(_texts(function, set())).encode()
      else:
        found[str(path)] = path.read_bytes()
        if values := "\n".join(_values(_closure(function), set())):
          found[name] = values.encode()
    except (TypeError, OSError) as error:
      raise errors.InputError(
        f"{name}: its code cannot be found ({error}); define it in a file with "
        "`def`, so that a run knows whether it is resumed with the same code."
      ) from error
  names = sorted({pathlib.Path(x).name for x in found})
  content = b"".join(
    hashlib.sha256(x).digest() for _, x in sorted(found.items())
  )
  if len(found) == 1:
    (content,) = found.values()
  return of_file(pathlib.Path("+".join(names)), content)


def _file(value: Any) -> pathlib.Path | None:
  """Returns the file in which a function or class is defined, None without."""
  try:
    path = pathlib.Path(inspect.getsourcefile(inspect.unwrap(value)) or "")
  except TypeError:  # of a class in a notebook
    if not isinstance(value, type):
      raise
    return None
  return path if path.is_file() else None


def _texts(function: Any, seen: set[int]) -> Iterator[str]:
  """Yields the text of a function or class, and of what it names."""
  function = inspect.unwrap(function)
  if id(function) in seen:
    return
  seen.add(id(function))
  if isinstance(function, type):
    for base in function.__bases__:
      yield from _named(base.__name__, base, seen)
    for name, value in sorted(vars(function).items()):
      # A class has no text in a notebook, and Python and Flax add to it.
      if isinstance(value, types.FunctionType):
        file = inspect.unwrap(value).__code__.co_filename
        if file != "<string>" and not _file(value):  # not of dataclasses
          yield from _texts(value, seen)
      elif isinstance(value, int | float | str | tuple) and name[:2] != "__":
        yield f"{name} = {value!r}"
    return
  yield inspect.getsource(function)
  names = {*_names(function.__code__)}
  used = {k: x for k, x in function.__globals__.items() if k in names}
  yield from _values(used | _closure(function), seen)


def _values(variables: Mapping[str, Any], seen: set[int]) -> Iterator[str]:
  for name in sorted(variables):
    yield from _named(name, variables[name], seen)


def _named(name: str, value: Any, seen: set[int]) -> Iterator[str]:
  """Yields text that tells a value from another one; of modules nothing."""
  if isinstance(value, types.ModuleType):
    return
  value = inspect.unwrap(value) if callable(value) else value
  if isinstance(value, types.FunctionType | type):
    if _is_own(value):
      yield from _texts(value, seen)
    return
  if hasattr(value, "__array__"):
    array = np.asarray(value)
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    yield f"{name} = {array.dtype} {array.shape} {digest}"
  else:
    yield f"{name} = {_ADDRESS.sub('', repr(value))}"


def _is_own(value: Any) -> bool:
  return value.__module__ == "__main__" or (
    isinstance(value, types.FunctionType) and _file(value) is None
  )


def _closure(function: Any) -> dict[str, Any]:
  """Returns the variables of enclosing functions that a function uses."""
  function = inspect.unwrap(function)
  cells = getattr(function, "__closure__", None) or ()
  names = function.__code__.co_freevars if cells else ()
  return {name: cell.cell_contents for name, cell in zip(names, cells)}


def _names(code: types.CodeType) -> Iterator[str]:
  """Yields the names in a function's code and in the functions inside it."""
  yield from code.co_names
  for constant in code.co_consts:
    if isinstance(constant, types.CodeType):
      yield from _names(constant)
