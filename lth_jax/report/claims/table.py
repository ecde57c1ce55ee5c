"""The table of published claims: Frankle & Carbin (2019).

A row of table.csv is a claim. The bands are ours; a claim without a number has
the band "more than nothing". Densities are those of the paper's text; where it
names none, as in appendix F, ours is 21.1%, where section 2 compares.
"""

import csv
import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

_TABLE = pathlib.Path(__file__).with_name("table.csv")


class Claim(NamedTuple):
  """A published claim; `band` and `opposites` are in `unit`.

  Attributes:
    figure: figure of the paper.
    text: the claim.
    published: the published number.
    band: what counts as the same, inclusive.
    opposites: values that stand for the opposite.
    unit: "points", "%", "ratio", "correlation", "times", "weights" or "% of
      weights"; "times" and the last two are averaged as logarithms.
    runs: names of the runs of `experiments.catalog` that it is about: that of
      `place`, then that of `against` if it is another.
    estimator: function of `estimators` or `densities` that computes our number.
    quantity: what it is computed from (`terms`).
    place: an arm, and its density or range of densities.
    against: what that is compared with, or "".
    absolute: whether it is about a number as it is, and not about one in
      proportion to another; only a run of the paper's size can tell.
  """

  figure: str
  text: str
  published: str
  band: tuple[float, float]
  opposites: tuple[float, ...]
  unit: str
  runs: tuple[str, ...]
  estimator: str
  quantity: str
  place: str
  against: str
  absolute: bool


# What a run must be to be judged like one of the catalog; a truth value means
# whether the field is anything but 0.
_LENET = {"model": "lenet", "pruning": "iterative", "reset": "every_round"}
_KINDS = {
  "mnist_lenet": _LENET | {"optimizer": "adam"},
  "lenet_controls": _LENET | {"optimizer": "adam"},
  "lenet_sgd": _LENET | {"optimizer": "sgd"},
  "lenet_oneshot": _LENET | {"pruning": "oneshot"},
} | {
  f"{model}{suffix}": {"model": model, "reset": "every_round"}
  | {"dropout": bool(suffix)}
  for model in ("conv2", "conv4", "conv6")
  for suffix in ("", "_dropout")
} | {
  f"{model}{suffix}": {"model": model, "scope": scope}
  | {"learning_rate": rate, "warmup": warmup}
  for model, warm_rate in (("resnet20", 0.03), ("vgg19", 0.1))
  for suffix, scope, rate, warmup in (
    ("", "global", 0.1, False),
    ("_low", "global", 0.01, False),
    ("_warmup", "global", warm_rate, True),
    ("_layerwise", "layer", warm_rate, True),
  )
}  # fmt: skip


def applies(claim: Claim, config: Mapping[str, Any]) -> bool:
  """Says whether a claim is about runs of a configuration.

  Args:
    claim: the claim.
    config: the flat configuration of a run.

  >>> warm = next(claim for claim in CLAIMS if claim.runs == ("vgg19_warmup",))
  >>> config = {"model": "vgg19", "scope": "global", "learning_rate": 0.1}
  >>> applies(warm, config | {"warmup": 10000})
  True
  >>> applies(warm, config | {"warmup": 0})
  False
  """
  wanted = _KINDS.get(claim.runs[0])
  return (
    len(claim.runs) == 1
    and wanted is not None
    and all(
      bool(config[field]) is value
      if isinstance(value, bool)
      else config[field] == value
      for field, value in wanted.items()
    )
  )


def load(path: pathlib.Path = _TABLE) -> tuple[Claim, ...]:
  """Reads the table of claims.

  Args:
    path: its CSV file.

  >>> claim = load()[0]
  >>> claim.figure, claim.published, claim.band, claim.unit
  ('1', 'slower', (1.0, inf), 'times')
  """
  with path.open(encoding="utf-8", newline="") as file:
    return tuple(_claim(row) for row in csv.DictReader(file))


def _claim(row: Mapping[str, str]) -> Claim:
  return Claim(
    figure=row["figure"],
    text=row["claim"],
    published=row["published"],
    band=(float(row["low"] or -math.inf), float(row["high"] or math.inf)),
    opposites=tuple(map(float, row["opposites"].split())),
    unit=row["unit"],
    runs=tuple(row["runs"].split()),
    estimator=row["estimator"],
    quantity=row["quantity"],
    place=row["place"],
    against=row["against"],
    absolute="scale" in row["needs"].split(),
  )


CLAIMS = load()
