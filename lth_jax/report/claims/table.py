"""The table of published claims: Frankle & Carbin (2019).

A row of table.csv is a claim. The bands are ours, and the same for all numbers
of a kind: a difference d has the band d/2 to 2d, a factor f that of its half
and its one and a half fold logarithm, a density P that of P/2 to 2P. "More than
x" is open above. A claim without a number states a direction: more than
nothing. "The same" is within half of the effect that the paper reports beside
it; where it reports none, within 0.3 points for LeNet, 0.5 for ResNet-20 and
VGG-19, 1 for Conv-2, -4 and -6, and within 1.25 times in steps. "No slower" is
at most 1.25 times, "no less accurate" at most 0.1 points below for LeNet, as
where a ticket wins, 0.5 for the others; "no tickets" is at most 0.1 above.

Densities are those of the paper's text; where it names none, as in appendix F,
ours is 21.1%, where section 2 compares. Main text and appendix I show test
accuracies, appendices B, G and H those on validation images.
"""

import csv
import math
import pathlib
import time
from collections.abc import Iterable, Mapping
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
    needs: "scale" if only a run of the paper's size can tell, since the number
      is not in proportion to another; "trained" if only networks can that had
      trained to the end (`training`).
    since: when this row was last changed (`experiments.claim_dates`), UTC.
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
  needs: tuple[str, ...]
  since: str


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


# Where there is no difference, and what is no comparison.
_NULL = {"points": 0.0, "%": 0.0, "correlation": 0.0, "times": 1.0}
_ABSOLUTE = ("level", "lowest", "mean", "diverged")
# Share of the comparative claims that hold or are consistent in runs where
# nothing makes a difference: 200 studies of `experiments.null_claims`.
BY_CHANCE = 0.015


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


def is_comparative(claim: Claim) -> bool:
  """Says whether a claim denies that nothing makes a difference.

  One on what tickets look like is not counted, nor one that tickets are as good
  as the original down to some density.

  Args:
    claim: the claim.

  >>> {claim.published for claim in CLAIMS if not is_comparative(claim)} >= {
  ...   "the same", "two peaks", "2%"
  ... }
  True
  """
  null = _NULL.get(claim.unit)
  return (
    null is not None
    and claim.estimator not in _ABSOLUTE
    and " " not in claim.quantity
    and not claim.band[0] < null < claim.band[1]
  )


def registered(claim: Claim, begun: Iterable[str | None]) -> bool:
  """Says whether a claim was there before the runs that it is judged on.

  Args:
    claim: the claim.
    begun: when each of these runs began, as from `timestamp`, if it is known.

  >>> claim = CLAIMS[0]._replace(since="2026-11-27T07:00:00Z")
  >>> registered(claim, ["2026-11-27T07:00:01Z"]), registered(claim, [None])
  (True, False)
  """
  return bool(claim.since) and all(
    each is not None and claim.since < each for each in begun
  )


def timestamp(seconds: float) -> str:
  """Formats a time for `registered`.

  Args:
    seconds: since 1970.

  >>> timestamp(0)
  '1970-01-01T00:00:00Z'
  """
  return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


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
    needs=tuple(row["needs"].split()),
    since=row["since"],
  )


CLAIMS = load()
