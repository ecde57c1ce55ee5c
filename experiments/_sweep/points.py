"""From ranges of flags to the runs of a sweep: points with ids and commands.

A point's id is made of its own values only. So it is the same whatever the
order of the ranges, and whatever else the sweep holds: a sweep may be split or
grow, and what has been run is found again.
"""

import hashlib
import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_origin

from lth_jax import errors
from lth_jax.config import configs, flags

_LONGEST = 120  # of an id; file systems take 255 bytes


class Point(NamedTuple):
  """One run of a sweep.

  Attributes:
    id: the name of its folder: letters, digits and `._+-=,` only.
    config: of the run.
    command: that runs it, word by word.
    several: whether it is to be started once on each of several hosts; all
      points of a sweep or none.
  """

  id: str
  config: configs.Config
  command: tuple[str, ...]
  several: bool


def make(
  base: Sequence[str], ranges: Mapping[str, Sequence[str]], workdir: str
) -> list[Point]:
  """Returns the product of ranges.

  Args:
    base: flags of all runs, such as `--flagfile=...`.
    ranges: {flag: values}.
    workdir: the folder of the sweep; each run has its own below.

  Raises:
    InputError: a run's flags are wrong or cannot be printed, two runs are the
      same, or only some are for several hosts.

  >>> ranges = {"seed": ["1"], "learning_rate": ["1e-3", "2e-3"]}
  >>> for point in make(["--steps=9"], ranges, "runs/sweep"):
  ...   print(point.id, *point.command[3:])
  learning_rate=0.001,seed=1 --steps=9 --learning_rate=1e-3 --seed=1
  --workdir=runs/sweep/learning_rate=0.001,seed=1
  learning_rate=0.002,seed=1 --steps=9 --learning_rate=2e-3 --seed=1
  --workdir=runs/sweep/learning_rate=0.002,seed=1
  """
  _check_printable([*base, *itertools.chain(*ranges.values()), workdir])
  names = sorted(ranges)
  points = [
    _point(base, dict(zip(names, values)), workdir)
    for values in itertools.product(*(ranges[name] for name in names))
  ]
  _check_distinct(points)
  if len({point.several for point in points}) > 1:
    raise errors.InputError(
      "Some points have --distributed=auto and some have not; make a sweep of "
      "each kind."
    )
  return points


def several(sweep: Sequence[Point]) -> bool:
  """Says whether points are to be started once on each of several hosts.

  Args:
    sweep: as `make` returns it.

  >>> several(make(["--distributed=auto"], {"seed": ["1", "2"]}, "runs"))
  True
  """
  return sweep[0].several


def parse_range(text: str) -> tuple[str, list[str]]:
  """Parses what a `--vary` says.

  Values of a flag that is a list itself stand between blanks, others between
  commas or blanks. Quotes keep blanks.

  Args:
    text: as in `seed=0,1`.

  Raises:
    InputError: there is no flag or no value.

  >>> parse_range("seed=0,1"), parse_range("hidden=300,100 50")
  (('seed', ['0', '1']), ('hidden', ['300,100', '50']))
  """
  name, _, values = text.partition("=")
  try:
    words = shlex.split(values)
  except ValueError as error:
    raise errors.InputError(f"--vary={text}: {error}.") from error
  known = configs.fields()
  if name not in known or get_origin(known[name][2]) is not tuple:
    words = [value for word in words for value in word.split(",")]
  if not name or not words:
    raise errors.InputError(
      f"--vary={text}: must be a flag and its values, such as "
      "--vary=learning_rate=1e-3,2e-3 or --vary='hidden=300,100 150,50'."
    )
  return name, words


def _point(base, values: Mapping[str, str], workdir: str) -> Point:
  asked = [f"--{name}={value}" for name, value in values.items()]
  config = flags.parse([*base, *asked])
  several = flags.parse_processes([*base, *asked]).distributed != "off"
  read = configs.to_flat(config)
  found = identify({name: read.get(name, values[name]) for name in values})
  folder = f"--workdir={workdir.rstrip('/')}/{found}"
  program = ("python", "-m", "experiments.mnist_lenet")
  return Point(found, config, (*program, *base, *asked, folder), several)


def identify(values: Mapping[str, object]) -> str:
  """Returns a name for flags' values that can be read and is safe in a path.

  What had to be replaced or cut is made up for by some digits of a checksum.

  Args:
    values: {flag: value as it was read}, so that 1e-3 is 0.001.

  >>> identify({"seed": 1, "hidden": [300, 100]})
  'hidden=300-100,seed=1'
  >>> identify({"rates": ["Dense_2/kernel=0.1", "kernel=0.2"]})
  'rates=Dense_2-kernel-0.1-kernel-0.2-b3f4a240'
  """
  texts = {name: str(configs.show(values[name])) for name in sorted(values)}
  safe = {
    name: re.sub(r"[^A-Za-z0-9_.+-]", "-", x) for name, x in texts.items()
  }
  found = ",".join(f"{name}={value}" for name, value in safe.items())
  lossless = all(safe[x] == texts[x].replace(",", "-") for x in texts)
  if lossless and len(found) <= _LONGEST:
    return found
  digest = hashlib.sha256(repr(texts).encode()).hexdigest()[:8]
  return f"{found[:_LONGEST]}-{digest}"


def label(point: Point) -> str:
  """Returns a name of a command, for Kubernetes and SkyPilot.

  At most 40 of a-z, 0-9 and hyphens, a letter first; another one for the point
  of the same id in another sweep.

  Args:
    point: of a sweep.

  >>> label(make([], {"learning_rate": ["1e-3"]}, "runs")[0])
  'learning-rate-0-001-047e187a'
  """
  words = re.sub("[^a-z0-9]+", "-", point.id.lower())
  digest = hashlib.sha256(repr(point.command).encode()).hexdigest()[:8]
  return f"{words[:30].strip('-')}-{digest}"


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
  seen = {}
  values = configs.differences([point.config for point in points])
  for point, each in zip(points, map(repr, values)):
    if each in seen:
      raise errors.InputError(
        f"{seen[each]} and {point.id} are the same run; vary what makes "
        "another, each value once."
      )
    seen[each] = point.id
