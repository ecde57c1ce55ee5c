"""The code of functions, as a digest for a run's identity."""

import dis
import functools
import hashlib
import inspect
import pathlib
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lth_jax import errors

_DIGITS = 16
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
# What was taken apart, by id; kept, since ids of what is gone are used again.
_Seen = dict[int, Any]
_METHODS = types.FunctionType, staticmethod, classmethod, property


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
        found[name] = "\n".join(_named("", function, {})).encode()
      else:
        found[str(path)] = path.read_bytes()
        closure = sorted(_closure(inspect.unwrap(function)).items())
        if closure:
          texts = _named("", tuple(closure), {})
          found[name] = "\n".join(texts).encode()
    except (TypeError, OSError, ValueError, AttributeError) as error:
      raise errors.InputError(
        f"{name}: its code cannot be found ({error}); define it in a file with "
        "`def`, so that a run knows whether it is resumed with the same code."
      ) from error
  # Without the folders, so that a clone may move.
  parts = sorted(
    (pathlib.Path(x).name, hashlib.sha256(content).digest())
    for x, content in found.items()
  )
  content = b"".join(digest for _, digest in parts)
  if len(found) == 1:
    (content,) = found.values()
  names = dict.fromkeys(name for name, _ in parts)
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


def _texts(function: Any, seen: _Seen) -> Iterator[str]:
  """Yields the text of a function or class, and of what it names."""
  if id(function) in seen:
    return
  seen[id(function)] = function
  if isinstance(function, type):
    for base in function.__bases__:
      yield from _named("base", base, seen)
    # A class has no text in a notebook.
    for name, value in sorted(vars(function).items()):
      if isinstance(value, _METHODS) or name[:2] != "__":
        yield from _named(name, value, seen)
    return
  file = function.__code__.co_filename
  if file == "<string>" and function.__name__[:2] == "__":
    return  # dataclasses made it
  yield inspect.getsource(function.__code__)
  names = {*_names(function.__code__)}
  used = {k: x for k, x in function.__globals__.items() if k in names}
  defaults = {"=": function.__defaults__, "*=": function.__kwdefaults__}
  for name, value in sorted({**used, **_closure(function), **defaults}.items()):
    yield from _named(name, value, seen)


def _named(name: str, value: Any, seen: _Seen) -> Iterator[str]:
  """Yields text that tells a value from another one."""
  if value is None or isinstance(value, bool | int | float | complex | str):
    yield f"{name} = {value!r}"
  elif isinstance(value, types.ModuleType):
    yield f"{name} = {value.__name__}"
  elif parts := _parts(value):
    yield f"{name} = {type(value).__name__}"
    if id(value) not in seen:
      seen[id(value)] = value
      for part, each in parts:
        yield from _named(part, each, seen)
  elif isinstance(value, types.FunctionType | type):
    if _is_own(value):
      yield name
      yield from _texts(value, seen)
    else:
      yield f"{name} = {value.__module__}.{value.__qualname__}"
    if hasattr(value, "__wrapped__"):
      yield from _named("wraps", value.__wrapped__, seen)
  elif callable(value) and hasattr(value, "__wrapped__"):  # such as jax.jit's
    yield from _named(name, value.__wrapped__, seen)
  elif hasattr(value, "__array__"):
    yield f"{name} = {_array(value)}"
  else:
    yield f"{name} = {_ADDRESS.sub('', repr(value))}"


def _parts(value: Any) -> list[tuple[str, Any]]:
  """Returns what a value consists of; nothing if it is not taken apart."""
  if isinstance(value, dict):
    return [("", tuple(value.items()))] if value else []
  if isinstance(value, set | frozenset):
    return [("", each) for each in sorted(value, key=repr)]
  if isinstance(value, list | tuple):
    return [("", each) for each in value]
  if isinstance(value, functools.partial):
    return [("", (value.func, value.args, value.keywords))]
  if isinstance(value, staticmethod | classmethod):
    return [("", value.__func__)]
  if isinstance(value, property):
    return [("", value.fget)]
  if isinstance(value, type) or not _is_own(type(value)):
    return []
  fields = getattr(value, "__dataclass_fields__", None)  # Flax adds to vars
  found = {x: getattr(value, x) for x in fields} if fields else vars(value)
  return [("class", type(value)), *sorted(found.items())]


def _array(value: Any) -> str:
  if isinstance(value, jax.Array) and jnp.issubdtype(
    value.dtype, jax.dtypes.prng_key
  ):
    value = jax.random.key_data(value)
  array = np.asarray(value)
  content = repr(array.tolist()).encode() if array.dtype.hasobject else array
  digest = hashlib.sha256(np.ascontiguousarray(content).tobytes()).hexdigest()
  return f"{array.dtype} {array.shape} {digest}"


def _is_own(value: Any) -> bool:
  """Returns whether a function or class is of a notebook, not of a file."""
  return value.__module__ == "__main__" or (
    isinstance(value, types.FunctionType)
    and not pathlib.Path(value.__code__.co_filename).is_file()
  )


def _closure(function: Any) -> dict[str, Any]:
  """Returns the variables of enclosing functions that a function uses."""
  cells = getattr(function, "__closure__", None) or ()
  names = function.__code__.co_freevars if cells else ()
  return {name: cell.cell_contents for name, cell in zip(names, cells)}


def _names(code: types.CodeType) -> Iterator[str]:
  """Yields the globals of a function's code and of functions inside it."""
  for each in dis.get_instructions(code):
    if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
      yield each.argval
  for constant in code.co_consts:
    if isinstance(constant, types.CodeType):
      yield from _names(constant)
