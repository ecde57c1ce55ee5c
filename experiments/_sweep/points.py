"""The runs of a sweep: points with ids and commands, from ranges of flags.

A point's id consists of its own values only. So it does not depend on the order
of the ranges or on the rest of the sweep: a sweep may be split or grow, and
finished runs are found again.
"""

import hashlib
import itertools
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, get_origin

from lth_jax import errors
from lth_jax.config import configs, flags

_LONGEST = 120  # of an id; file systems take 255 bytes


class Point(NamedTuple):
  """One run of a sweep.

  Attributes:
    id: the name of its folder: letters, digits and `._+-=,` only.
    label: its name for Kubernetes and SkyPilot: at most 40 of a-z, 0-9 and
      hyphens, a letter first; the point of the same id in another sweep has
      another one.
    config: of the run.
    command: that runs it, word by word.
    is_distributed: whether it is to be started once on each of several hosts;
      all points of a sweep or none.
  """

  id: str
  label: str
  config: configs.Config
  command: tuple[str, ...]
  is_distributed: bool


def make(
  base: Sequence[str], ranges: Mapping[str, Sequence[str]], workdir: str
) -> list[Point]:
  """Returns the product of ranges {flag: values}, each with the base flags.

  Raises:
    InputError: a run's flags are wrong or cannot be printed, two runs are the
      same, or only some are for several hosts.
  """
  _check_printable([*base, *itertools.chain(*ranges.values()), workdir])
  names = sorted(ranges)
  points = [
    _point(base, dict(zip(names, values)), workdir)
    for values in itertools.product(*(ranges[name] for name in names))
  ]
  _check_distinct(points)
  if len({point.is_distributed for point in points}) > 1:
    raise errors.InputError(
      "Some points have --distributed=auto and some have not; make a sweep of "
      "each kind."
    )
  return points


def parse_ranges(texts: Iterable[str]) -> dict[str, list[str]]:
  """Parses texts such as `hidden=300,100 150,50` to {flag: values}.

  Values of a flag that is a list itself are separated by blanks, others by
  commas or blanks. Quotes keep blanks.

  Raises:
    InputError: a text has no flag or no value, or a flag is there twice.
  """
  known, ranges = configs.fields(), {}
  for text in texts:
    name, _, values = text.partition("=")
    try:
      words = shlex.split(values)
    except ValueError as error:
      raise errors.InputError(f"--vary={text}: {error}.") from error
    if name not in known or get_origin(known[name][2]) is not tuple:
      words = [value for word in words for value in word.split(",")]
    if not name or not words:
      raise errors.InputError(
        f"--vary={text}: must be a flag and its values, such as "
        "--vary=learning_rate=1e-3,2e-3 or --vary='hidden=300,100 150,50'."
      )
    if name in ranges:
      raise errors.InputError(
        f"--vary has the flag {name} twice; give all its values once."
      )
    ranges[name] = words
  return ranges


def _point(
  base: Sequence[str], values: Mapping[str, str], workdir: str
) -> Point:
  asked = [f"--{name}={value}" for name, value in values.items()]
  config = flags.parse([*base, *asked])
  processes = flags.parse_processes([*base, *asked])
  flat = configs.to_flat(config)
  id = _identify({name: flat.get(name, values[name]) for name in values})
  folder = f"--workdir={workdir.rstrip('/')}/{id}"
  command = ("python", "-m", "experiments.mnist_lenet", *base, *asked, folder)
  words = re.sub("[^a-z0-9]+", "-", id.lower())[:30].strip("-")
  label = f"{words}-{_digest(command)}"
  return Point(id, label, config, command, processes.distributed != "off")


def _identify(values: Mapping[str, object]) -> str:
  """Returns a name for parsed flags that can be read and is safe in a path.

  Digits of a digest tell apart what replacing or cutting would make equal.
  """
  texts = {name: str(configs.show(values[name])) for name in sorted(values)}
  safe = [re.sub(r"[^A-Za-z0-9_.+-]", "-", text) for text in texts.values()]
  found = ",".join(f"{name}={text}" for name, text in zip(texts, safe))
  is_lossless = safe == [text.replace(",", "-") for text in texts.values()]
  if is_lossless and len(found) <= _LONGEST:
    return found
  return f"{found[:_LONGEST]}-{_digest(texts)}"


def _digest(value: object) -> str:
  return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def _check_printable(words: Sequence[str]) -> None:
  # A line break, though quoted, makes two of a line that xargs or a scheduler
  # reads.
  for word in words:
    if not word.isprintable():
      raise errors.InputError(
        f"{word!r} has a character that cannot be printed; leave that out of "
        "flags and of --workdir."
      )


def _check_distinct(points: Sequence[Point]) -> None:
  seen: dict[str, str] = {}
  values = configs.differences([point.config for point in points])
  for point, each in zip(points, map(repr, values)):
    if each in seen:
      raise errors.InputError(
        f"{seen[each]} and {point.id} are the same run; vary what makes "
        "another, each value once."
      )
    seen[each] = point.id
