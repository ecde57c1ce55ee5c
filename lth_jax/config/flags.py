"""Configs as absl flags and back; the only definer of flags."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from absl import flags
from etils import epath

from lth_jax import errors
from lth_jax.config import checks, configs
from lth_jax.config.configs import Config

# Control characters, half characters (of bytes that are no UTF-8), and the mark
# that some editors put in front of a file.
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff]")


def define(
  values: flags.FlagValues,
  default: Config,
  sections: Sequence[str] = configs.SECTIONS,
) -> Callable[[], Config]:
  """Defines `--workdir`, processes, and a flag for each field of a config.

  Args:
    values: where the flags are defined and read; one call of a command has its
      own, so that a process may call several.
    default: its values become the flags' defaults.
    sections: of the config, those that get flags.

  Returns:
    A function that reads the parsed flags into a checked config.

  >>> values = flags.FlagValues()
  >>> read_config = define(values, Config())
  >>> _ = read(values, ["--steps=200"])
  >>> read_config().training.steps
  200
  """
  flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run: a path or a gs:// URL; resumed if it holds one.",
    flag_values=values,
  )
  kinds = get_type_hints(configs.Processes)
  for field in dataclasses.fields(configs.Processes):
    help, kind = field.metadata["help"], kinds[field.name]
    _define(field.name, field.default, help, kind, values)
  known = {
    name: (section, field, kind)
    for name, (section, field, kind) in configs.fields(default).items()
    if section in sections
  }
  for name, (section, field, kind) in known.items():
    value = getattr(getattr(default, section), name)
    _define(name, value, field.metadata["help"], kind, values)

  def read_config() -> Config:
    found = {name: getattr(values, name) for name in known}
    for name, (_, _, kind) in known.items():
      if kind == tuple[int, ...]:
        found[name] = _numbers(name, found[name], int, "whole numbers")
      elif kind == tuple[float, ...]:
        found[name] = _numbers(name, found[name], float, "numbers")
    config = configs.from_flat(configs.to_flat(default) | found)
    checks.check(config)
    return config

  return read_config


def parse(arguments: Sequence[str]) -> Config:
  """Returns the config that a command line of an experiment would give.

  Args:
    arguments: `--flagfile=...`, `--name=value`, the later ones first in rank.

  Raises:
    InputError: one of them is wrong, or a flagfile is missing.

  >>> parse(["--hidden=20,10", "--steps=100", "--steps=200"]).training.steps
  200
  """
  values = flags.FlagValues()
  read_config = define(values, Config())
  _read_all(values, arguments)
  return read_config()


def parse_processes(arguments: Sequence[str]) -> configs.Processes:
  """Returns what a command line of an experiment says of its processes.

  Args:
    arguments: as for `parse`.

  Raises:
    InputError: as `parse`.

  >>> parse_processes(["--steps=200", "--distributed=auto"]).distributed
  'auto'
  """
  values = flags.FlagValues()
  define(values, Config())
  _read_all(values, arguments)
  return processes(values)


def read(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
  """Reads a command line into flags; returns what is no flag.

  Args:
    values: has the flags that are known.
    arguments: `--flagfile=...`, `--name=value`, the later ones first in rank.

  Raises:
    InputError: a flag is wrong, a flagfile is missing or no text, or a value
      has a character, such as a line break, that no line of a flagfile can.

  >>> values = flags.FlagValues()
  >>> _ = define(values, Config())
  >>> read(values, ["--steps=200", "behind"]), values.steps
  (['behind'], 200)
  """
  try:
    words = values.read_flags_from_files(list(arguments), force_gnu=False)
    for word in words:
      _check_text(word)
    return values(["", *words])[1:]
  except flags.Error as error:
    line = " ".join(str(error).split())
    raise errors.InputError(f"{line}; --help lists all flags.") from error
  except UnicodeDecodeError as error:
    named = [x for x in arguments if x.startswith(("--flagfile", "-flagfile"))]
    raise errors.InputError(
      f"{' '.join(named)}: it, or one that it names, is no text in UTF-8 "
      f"({error}); save it as that."
    ) from error


def _read_all(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  if others := read(values, arguments):
    raise errors.InputError(
      f"'{others[0]}' is no flag, or stands behind a lone --; write all flags "
      "as --name=value."
    )


def workdir(values: flags.FlagValues) -> epath.Path:
  """Returns `--workdir`, absolute, since Orbax takes no other.

  Args:
    values: read from a command line.

  Raises:
    InputError: it was not given.

  >>> values = flags.FlagValues()
  >>> _ = define(values, Config())
  >>> _ = read(values, ["--workdir=runs/first"])
  >>> workdir(values).is_absolute(), workdir(values).name
  (True, 'first')
  """
  if not values.workdir:
    raise errors.InputError(
      "--workdir is missing: name the folder that the run is stored in, such "
      "as --workdir=runs/first."
    )
  return folder(values.workdir)


def processes(values: flags.FlagValues) -> configs.Processes:
  """Returns what the flags say of the processes of this run.

  Args:
    values: read from a command line.

  >>> values = flags.FlagValues()
  >>> _ = define(values, Config())
  >>> _ = read(values, ["--num_processes=4"])
  >>> processes(values).num_processes
  4
  """
  names = [field.name for field in dataclasses.fields(configs.Processes)]
  return configs.Processes(**{name: getattr(values, name) for name in names})


def folder(name: str) -> epath.Path:
  """Returns a folder as a person names it, absolute.

  Args:
    name: a path or a URL of an object store.

  Raises:
    InputError: it is neither, or what reads and removes files would take it for
      a pattern.

  >>> str(folder("gs://bucket/runs")), folder("runs").is_absolute()
  ('gs://bucket/runs', True)
  >>> folder("gs:/bucket/runs")
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: 'gs:/bucket/runs': a folder on an object store ...
  """
  if re.match(r"[A-Za-z0-9+.-]+:/", name):
    parts = name.split("/")
    if not re.match("gs://[^/]", name) or {".", ".."} & {*parts}:
      raise errors.InputError(
        f"'{name}': a folder on an object store is named gs://BUCKET/FOLDER, "
        "without '..'; others than gs:// are not supported."
      )
    path = epath.Path(name)
  else:
    path = local(name)
  if found := re.search("[*?[]", str(path)):
    raise errors.InputError(
      f"'{path}': has '{found[0]}' in its name, which what reads and removes "
      "files takes for a pattern; choose another name."
    )
  return path


def local(name: str) -> epath.Path:
  """Returns a path on this machine as a person names it, absolute.

  Args:
    name: may begin with `~`, for a home folder.

  Raises:
    InputError: no such home folder is known, or the current folder's name is
      no text.

  >>> str(local("/runs/first"))
  '/runs/first'
  """
  path = epath.Path(name).expanduser()  # does nothing if it knows none
  if str(path).startswith("~"):
    raise errors.InputError(
      f"'{name}': there is no such home folder; name the whole path."
    )
  _check_text(str(path.absolute()))
  return path.absolute()


def to_flagfile(config: Config) -> str:
  """Returns the text of a flagfile that gives the config again.

  Args:
    config: what to write down; a field that is None has no line.

  >>> to_flagfile(configs.from_flat({"num_valid": 0})).splitlines()[:2]
  ['--dataset=mnist', '--num_valid=0']
  """
  lines = []
  for name, value in configs.to_flat(config).items():
    if isinstance(value, list):
      value = flags.CsvListSerializer(",").serialize(value)
    if value is not None:
      lines.append(f"--{name}={value}\n")
  return "".join(lines)


def _check_text(word: str) -> None:
  if _NO_TEXT.search(word):
    raise errors.InputError(
      f"{word!a}: has characters that are no text; name files and "
      "write flagfiles in UTF-8, without control characters."
    )


def _define(name: str, value: Any, help: str, kind: Any, values) -> None:
  where = {"flag_values": values}
  if get_origin(kind) is Literal:
    flags.DEFINE_enum(name, value, list(get_args(kind)), help, **where)
  elif get_origin(kind) is tuple:
    flags.DEFINE_list(name, [str(item) for item in value], help, **where)
  elif kind in (int, int | None):
    flags.DEFINE_integer(name, value, help, **where)
  elif kind is float:
    flags.DEFINE_float(name, value, help, **where)
  elif kind in (str, str | None):
    flags.DEFINE_string(name, value, help, **where)
  else:
    raise TypeError(f"no flag for field {name} of type {kind}")


def _numbers(name: str, items: list[str], kind: type, what: str) -> list:
  try:
    return [kind(item) for item in items]
  except ValueError:
    raise errors.InputError(
      f"--{name}={','.join(items)}: must be {what} with commas between."
    ) from None
