"""Configs as absl flags and back; the only definer of flags."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from absl import flags
from etils import epath

from lth_jax import checks, configs, errors
from lth_jax.configs import Config


def define(
  default: Config,
  sections: Sequence[str] = configs.SECTIONS,
  values: flags.FlagValues = flags.FLAGS,
) -> Callable[[], Config]:
  """Defines `--workdir`, processes, and a flag for each field of a config.

  Flags are the process's: a program calls this once, when it is imported, and
  what it returns once absl has parsed the command line.

  Args:
    default: its values become the flags' defaults.
    sections: of the config, those that get flags.
    values: where the flags are defined and read.

  Returns:
    A function that reads the parsed flags into a checked config.
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

  def read() -> Config:
    found = {name: getattr(values, name) for name in known}
    for name, (_, _, kind) in known.items():
      if kind == tuple[int, ...]:
        found[name] = _numbers(name, found[name], int, "whole numbers")
      elif kind == tuple[float, ...]:
        found[name] = _numbers(name, found[name], float, "numbers")
    config = configs.from_flat(configs.to_flat(default) | found)
    checks.check(config)
    return config

  return read


def parse(arguments: Sequence[str]) -> Config:
  """Returns the config that a command line of an experiment would give.

  Args:
    arguments: `--flagfile=...`, `--name=value`, the later ones first in rank.

  Raises:
    InputError: one of them is wrong, or a flagfile is missing.

  >>> parse(["--hidden=20,10", "--steps=100", "--steps=200"]).training.steps
  200
  """
  _, read = _read(arguments)
  return read()


def parse_processes(arguments: Sequence[str]) -> configs.Processes:
  """Returns what a command line of an experiment says of its processes.

  Args:
    arguments: as for `parse`.

  Raises:
    InputError: as `parse`.

  >>> parse_processes(["--steps=200", "--distributed=auto"]).distributed
  'auto'
  """
  values, _ = _read(arguments)
  return _processes(values)


def _read(arguments):
  values = flags.FlagValues()
  read = define(Config(), values=values)
  try:
    _, *others = values(["", *arguments])
  except flags.Error as error:
    raise errors.InputError(" ".join(str(error).split())) from error
  if others:
    raise errors.InputError(
      f"'{others[0]}' is no flag, or stands behind a lone --; write all flags "
      "as --name=value."
    )
  return values, read


def workdir() -> epath.Path:
  """Returns `--workdir`, absolute, since Orbax takes no other.

  Raises:
    InputError: it was not given.

  >>> from unittest import mock
  >>> given = mock.Mock(workdir="runs/first")  # as by --workdir=runs/first
  >>> with mock.patch.object(flags, "FLAGS", given):
  ...   folder = workdir()
  >>> folder.is_absolute(), folder.name
  (True, 'first')
  """
  if not flags.FLAGS.workdir:
    raise errors.InputError(
      "--workdir is missing: name the folder that the run is stored in, such "
      "as --workdir=runs/first."
    )
  return folder(flags.FLAGS.workdir)


def processes() -> configs.Processes:
  """Returns what the flags say of the processes of this run.

  >>> from unittest import mock
  >>> names = [field.name for field in dataclasses.fields(configs.Processes)]
  >>> given = mock.Mock(**dict.fromkeys(names) | {"num_processes": 4})
  >>> with mock.patch.object(flags, "FLAGS", given):
  ...   processes().num_processes
  4
  """
  return _processes(flags.FLAGS)


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
    path = epath.Path(name).expanduser().absolute()
  if found := re.search("[*?[]", str(path)):
    raise errors.InputError(
      f"'{path}': has '{found[0]}' in its name, which what reads and removes "
      "files takes for a pattern; choose another name."
    )
  return path


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


def _processes(values) -> configs.Processes:
  names = [field.name for field in dataclasses.fields(configs.Processes)]
  return configs.Processes(**{name: getattr(values, name) for name in names})


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
