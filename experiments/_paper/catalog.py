"""The runs that reproduce the paper and later ones, read from `catalog.toml`.

A row is what a figure asks for, such as "Conv-4 with dropout". It names the
flagfiles of its network and the flags that it changes, at each scale.
"""

import pathlib
import tomllib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.config import flags as flags_lib
from lth_jax.config.configs import Config
from lth_jax.report import plan, records

SCALES = ("paper", "cpu", "smoke")
NETWORKS = "2"  # the figure that needs no training
_FLAGFILES = pathlib.Path("experiments/flags")


class Run(NamedTuple):
  """One run of a row.

  Attributes:
    name: its folder below the workdir.
    label: what tells it from the other runs of a sweep; else "".
    arguments: the command line that gives its config.
  """

  name: str
  label: str
  arguments: tuple[str, ...]


class Row(NamedTuple):
  """Runs that belong together.

  Attributes:
    name: the stem of its workdirs.
    network: the folder of its flagfiles.
    figures: the paper's figures that need it, or words for what later papers
      ask; none for a question of ours.
    what: what it shows, in a few words.
    is_sweep: whether it has a run a point; else it is one run.
    scales: its runs, by scale.
  """

  name: str
  network: str
  figures: tuple[str, ...]
  what: str
  is_sweep: bool
  scales: Mapping[str, tuple[Run, ...]]


def named(scale: str) -> dict[str, Run]:
  """Returns all runs at a scale, by their names."""
  return {run.name: run for row in ROWS for run in row.scales[scale]}


def config(run: Run) -> Config:
  """Returns the config of a run.

  Raises:
    InputError: the current folder is not the top of a clone, or a flagfile is
      wrong.
  """
  if not _FLAGFILES.is_dir():
    raise errors.InputError(
      f"There is no folder {_FLAGFILES} here; start this from the top of a "
      "clone."
    )
  return flags_lib.parse(run.arguments)


def num_trainings(config: Config) -> int:
  """Returns the number of trainings that a run consists of."""
  run = records.Run("", configs.to_flat(config), ())
  return len(plan.expected(run))


def find(figure: str) -> list[Row]:
  """Lists the rows that a figure needs, such as "4a"; `NETWORKS` needs none.

  Raises:
    InputError: there is no such figure.
  """
  known = {name for row in ROWS for name in row.figures} | {NETWORKS}
  if figure not in known:
    in_order = sorted(known, key=lambda name: (len(name.rstrip("abc")), name))
    raise errors.InputError(
      f"--figure={figure}: there is none; known are {', '.join(in_order)}."
    )
  return [row for row in ROWS if figure in row.figures]


def _load() -> Iterator[Row]:
  text = pathlib.Path(__file__).with_name("catalog.toml").read_text("utf-8")
  for fields in tomllib.loads(text)["rows"]:
    points = fields.pop("points", {}) or {
      value.replace(",", "-"): {"flags": f"--{flag}={value}"}
      for flag, values in fields.pop("vary", {}).items()
      for value in values.split()
    }
    for n in fields.pop("n", "0").split():
      filled = {key: text.format(n=n) for key, text in fields.items()}
      scales = {scale: tuple(_runs(filled, points, scale)) for scale in SCALES}
      figures = tuple(filled["figures"].split())
      names = filled["name"], filled["network"], figures, filled["what"]
      yield Row(*names, bool(points), scales)


def _runs(
  row: Mapping[str, str], points: Mapping[str, Mapping[str, str]], scale: str
) -> Iterator[Run]:
  flagfile = f"--flagfile={_FLAGFILES / row['network'] / scale}.flags"
  for label, point in (points or {"": {}}).items():
    changes = [
      part.get(key, "") for part in (row, point) for key in ("flags", scale)
    ]
    name = f"{row['name']}_{label}" if label else row["name"]
    yield Run(name, label, (flagfile, *" ".join(changes).split()))


ROWS = tuple(_load())
