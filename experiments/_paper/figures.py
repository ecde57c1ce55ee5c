"""Figures of the paper, questions of later papers, and drawings for them."""

import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments._paper import catalog
from lth_jax.report import comparison, statistics

# What appendices B, G and H show.
VALIDATION = statistics.EARLY_STEP, statistics.EARLY_VALID
_EARLY = statistics.EARLY_STEP, statistics.EARLY_TEST
_QUANTITIES = {
  "": (),
  "early": _EARLY,
  "ends": (*_EARLY, statistics.EARLY_TRAIN, statistics.END_TEST),
  "end_test": (statistics.END_TEST,),
  "end_train": (statistics.END_TRAIN,),
  "validation": VALIDATION,
}


class Figure(NamedTuple):
  """A figure of the paper, as `figures.toml` describes it.

  Attributes:
    title: what it shows.
    heading: its number, if it has one, and its title.
    drawings: drawings of the reports of runs, `<run>_<drawing>`.
    view: what comparisons of its runs show; None if there are none.
    names: what it calls runs.
  """

  title: str
  heading: str
  drawings: Sequence[str]
  view: comparison.View | None
  names: Mapping[str, str]


class Comparison(NamedTuple):
  """A drawing of several runs, whose names are by the names to show."""

  name: str
  title: str
  runs: Mapping[str, str]
  view: comparison.View


def comparisons(number: str, scale: str) -> list[Comparison]:
  """Returns the comparisons that a figure is shown by.

  A sweep is one, and so are the other runs on a data set: accuracies on MNIST
  and on CIFAR-10 share no axis.
  """
  figure = FIGURES[number]
  if figure.view is None:
    return []
  found: list[Comparison] = []
  groups: dict[str, dict[str, str]] = {}
  for row in catalog.find(number):
    if row.is_sweep:
      name, title = (
        f"figure_{number}_{row.name}",
        _heading(number, row.what),
      )
      points = {run.label: run.name for run in row.scales[scale]}
      found.append(Comparison(name, title, points, figure.view))
    else:
      dataset = "mnist" if row.network == "mnist_lenet" else "cifar10"
      groups.setdefault(dataset, {})[figure.names[row.name]] = row.name
  for dataset, named in groups.items():
    name = f"figure_{number}" + (f"_{dataset}" if len(groups) > 1 else "")
    found.append(Comparison(name, figure.heading, named, figure.view))
  return found


def _load() -> dict[str, Figure]:
  text = pathlib.Path(__file__).with_name("figures.toml").read_text("utf-8")
  content = tomllib.loads(text)
  names = content.pop("names")
  return {
    number: Figure(
      fields["title"],
      _heading(number, fields["title"]),
      fields.get("drawings", ()),
      _view(fields),
      names | fields.get("names", {}),
    )
    for number, fields in content.items()
  }


def _heading(number: str, what: str) -> str:
  """Returns a title; what later papers ask has a word instead of a number.

  >>> _heading("4a", "LeNet"), _heading("rewinding", "LeNet")
  ('Figure 4a. LeNet', 'LeNet')
  """
  return f"Figure {number}. {what}" if number[0].isdigit() else what


def _view(fields: Mapping[str, Any]) -> comparison.View | None:
  if "arms" not in fields:
    return None
  return comparison.View(
    fields["arms"],
    _QUANTITIES[fields.get("quantities", "")],
    fields.get("by_weights", False),
    fields.get("whole", False),
  )


FIGURES = _load()
