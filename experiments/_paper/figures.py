"""The paper's figures and the drawings of ours that belong to each."""

import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments._paper import catalog
from lth_jax.report import statistics

# What appendices B, G and H show.
VALIDATION = statistics.EARLY_STEP, statistics.EARLY_VALID
_EARLY = statistics.EARLY_STEP, statistics.EARLY_TEST
_QUANTITIES = {
  "early": _EARLY,
  "ends": (*_EARLY, statistics.EARLY_TRAIN, statistics.END_TEST),
  "end_test": (statistics.END_TEST,),
  "end_train": (statistics.END_TRAIN,),
  "validation": VALIDATION,
}


class Figure(NamedTuple):
  """A figure of the paper; `figures.toml` describes its fields."""

  title: str
  drawings: Sequence[str] = ()
  arms: Sequence[str] = ()
  quantities: Sequence[statistics.Quantity] = ()
  by_weights: bool = False
  whole: bool = False
  names: Mapping[str, str] = {}
  remark: str = ""


class Comparison(NamedTuple):
  """A drawing of several runs.

  Attributes:
    name: of the drawing.
    title: of the drawing.
    runs: names of runs, by the names to show.
  """

  name: str
  title: str
  runs: Mapping[str, str]


def comparisons(number: str, scale: str) -> list[Comparison]:
  """Returns the comparisons that a figure is shown by.

  A sweep is one, and so are the other runs on a data set: accuracies on MNIST
  and on CIFAR-10 share no axis.

  Args:
    number: of the figure.
    scale: of the runs.
  """
  figure = FIGURES[number]
  found: list[Comparison] = []
  groups: dict[str, dict[str, str]] = {}
  for row in catalog.find(number) if figure.arms else ():
    runs = catalog.runs(row, scale)
    if row.is_sweep:
      name, title = (
        f"figure_{number}_{row.name}",
        f"Figure {number}. {row.what}",
      )
      found.append(Comparison(name, title, {x.label: x.name for x in runs}))
    else:
      dataset = "mnist" if row.network == "mnist_lenet" else "cifar10"
      groups.setdefault(dataset, {})[figure.names[row.name]] = row.name
  for dataset, named in groups.items():
    name = f"figure_{number}" + (f"_{dataset}" if len(groups) > 1 else "")
    found.append(Comparison(name, f"Figure {number}. {figure.title}", named))
  return found


def _load() -> dict[str, Figure]:
  text = pathlib.Path(__file__).with_name("figures.toml").read_text("utf-8")
  content = tomllib.loads(text)
  names = content.pop("names")
  return {
    number: Figure(**fields)._replace(
      quantities=_QUANTITIES.get(fields.get("quantities"), ()),
      names=names | fields.get("names", {}),
    )
    for number, fields in content.items()
  }


FIGURES = _load()
