"""Configs as absl flags and back; the only definer of flags."""

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args, get_origin

from absl import flags
from etils import epath

from lth_jax import errors
from lth_jax.config import checks, configs
from lth_jax.config import sections as sections_lib
from lth_jax.config.configs import Config

# Control characters, surrogates (of bytes that are not UTF-8), and the byte
# order mark that some editors write.
_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff]")


def define(
  values: flags.FlagValues,
  default: Config,
  sections: Sequence[str] = configs.SECTIONS,
) -> Callable[[], Config]:
  """Defines `--workdir`, processes, and a flag for each field of a config.

  Args:
    values: where the flags are defined and read; each call of a command has its
      own, so that a process may call several.
    default: its values become the flags' defaults.
    sections: names of the config's sections that get flags.

  Returns:
    A function that reads the parsed flags into a config.
  """
  flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run: a path or a gs:// URL; resumed if it holds one.",
    **group(values),
  )
  known = {
    name: (section, field, kind)
    for name, (section, field, kind) in configs.fields().items()
    if section in sections
  }
  for name, (section, field, kind) in known.items():
    about = group(values, section.capitalize())
    _define(field, kind, getattr(getattr(default, section), name), about)
  kinds = checks.types(configs.Processes)
  for field in dataclasses.fields(configs.Processes):
    about = group(values, "Processes")
    _define(field, kinds[field.name], field.default, about)

  def read_config() -> Config:
    found = {
      name: _convert(name, kind, getattr(values, name))
      for name, (_, _, kind) in known.items()
    }
    flat = configs.to_flat(default) | found
    return configs.from_flat(flat | _locate(flat["dataset"], flat["data_dir"]))

  return read_config


def group(
  values: flags.FlagValues, title: str = "This command"
) -> dict[str, Any]:
  """Returns arguments of `flags.DEFINE_...` that put a flag under a title."""
  return {"flag_values": values, "module_name": title}


def usage(values: flags.FlagValues) -> str:
  """Describes all flags, by their titles, in the order of their definition."""
  titles = [*values.flags_by_module_dict()]
  text = "\n".join(map(values.module_help, titles))
  return f"{text}\n  --flagfile: Reads flags from a file, one a line."


def parse(arguments: Sequence[str]) -> Config:
  """Returns the config that a command line of an experiment gives.

  Raises:
    InputError: an argument is wrong, or a flagfile is missing.

  >>> parse(["--steps=200"]).training.steps
  200
  """
  _, read_config = _parse(arguments)
  return read_config()


def parse_processes(arguments: Sequence[str]) -> configs.Processes:
  """Returns the processes that such a command line asks for.

  Raises:
    InputError: as `parse`.
  """
  values, _ = _parse(arguments)
  return processes(values)


def read(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
  """Reads a command line into flags; returns the other words.

  Raises:
    InputError: a flag is wrong, a flagfile is missing or not text, or a value
      has a character, such as a line break, that a line of a flagfile cannot
      hold.
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
      f"{' '.join(named)}: this file, or one that it names, is not text in "
      f"UTF-8 ({error}); save it in UTF-8."
    ) from error


def check_no_words(words: Sequence[str]) -> None:
  """Checks that a command line has flags only.

  Raises:
    InputError: names the first other word.
  """
  if words:
    raise errors.InputError(
      f"'{words[0]}' is no flag, or follows a lone --; write all flags as "
      "--name=value."
    )


def workdir(values: flags.FlagValues) -> epath.Path:
  """Returns `--workdir` as an absolute path, the only kind that Orbax takes.

  Raises:
    InputError: it is missing.
  """
  if not values.workdir:
    raise errors.InputError(
      "--workdir is missing: name the folder that the run is stored in, such "
      "as --workdir=runs/first."
    )
  return folder(values.workdir)


def processes(values: flags.FlagValues) -> configs.Processes:
  """Returns the processes that flags ask for."""
  names = [field.name for field in dataclasses.fields(configs.Processes)]
  return configs.Processes(**{name: getattr(values, name) for name in names})


def folder(name: str) -> epath.Path:
  """Returns a folder, a path or a `gs://` URL, as an absolute path.

  Raises:
    InputError: it is neither, or has a character of glob patterns.

  >>> str(folder("gs://bucket/runs")), folder("runs").is_absolute()
  ('gs://bucket/runs', True)
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
  # Files are listed by glob, which would find those of another folder.
  if found := re.search("[*?[]", str(path)):
    raise errors.InputError(
      f"'{path}': has '{found[0]}' in its name, which would be read as a "
      "pattern; choose another name."
    )
  return path


def local(name: str) -> epath.Path:
  """Returns a path on this machine, absolute; `~` is a home folder.

  Raises:
    InputError: no such home folder is known, or the current folder's name is
      not text.
  """
  path = epath.Path(name).expanduser()  # keeps the `~` of an unknown user
  if str(path).startswith("~"):
    raise errors.InputError(
      f"'{name}': there is no such home folder; name the whole path."
    )
  _check_text(str(path.absolute()))
  return path.absolute()


def to_flagfile(config: Config) -> str:
  """Returns a flagfile for a config; a field that is None has no line."""
  lines = []
  for name, value in configs.to_flat(config).items():
    if isinstance(value, list):
      value = flags.CsvListSerializer(",").serialize(value)
    if value is not None:
      lines.append(f"--{name}={value}\n")
  return "".join(lines)


def _parse(
  arguments: Sequence[str],
) -> tuple[flags.FlagValues, Callable[[], Config]]:
  values = flags.FlagValues()
  read_config = define(values, Config())
  check_no_words(read(values, arguments))
  return values, read_config


def _check_text(word: str) -> None:
  if _NOT_TEXT.search(word):
    raise errors.InputError(
      f"{word!a}: has characters that are not text; name files and write "
      "flagfiles in UTF-8, without control characters."
    )


def _define(field: dataclasses.Field, kind: Any, default: Any, about) -> None:
  """Defines the flag of a field in a group of flags."""
  about = about | {"help": field.metadata["help"]}
  if get_origin(kind) is Literal:
    flags.DEFINE_enum(field.name, default, list(get_args(kind)), **about)
  elif get_origin(kind) is tuple:
    flags.DEFINE_list(field.name, [str(item) for item in default], **about)
  elif kind in (int, int | None):
    flags.DEFINE_integer(field.name, default, **about)
  elif kind is float:
    flags.DEFINE_float(field.name, default, **about)
  elif kind in (str, str | None):
    flags.DEFINE_string(field.name, default, **about)
  else:
    raise TypeError(f"no flag for field {field.name} of type {kind}")


def _locate(dataset: str, data_dir: str | None) -> dict[str, str]:
  """Returns the fields that a path in --dataset gives, if it has one.

  >>> _locate("npz:sets/digits.npz", "/data")
  {'dataset': 'npz:digits.npz', 'data_dir': '/data/sets'}
  """
  kind, colon, path = dataset.partition(":")
  if not colon or not path or kind not in sections_lib.OWN_DATA:
    return {}
  folder = os.path.expanduser(data_dir or "")
  whole = os.path.abspath(os.path.join(folder, os.path.expanduser(path)))
  parent, name = os.path.split(whole)
  return {"dataset": f"{kind}:{name}", "data_dir": parent}


def _convert(name: str, kind: Any, value: Any) -> Any:
  """Returns a flag's value as the field has it: numbers in lists of numbers."""
  if kind not in (tuple[int, ...], tuple[float, ...]):
    return value
  item = get_args(kind)[0]
  try:
    return [item(word) for word in value]
  except ValueError:
    what = "whole numbers" if item is int else "numbers"
    raise errors.InputError(
      f"--{name}={','.join(value)}: must be {what} with commas between."
    ) from None
