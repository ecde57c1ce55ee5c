"""The table of published claims: Frankle & Carbin (2019) and successors.

Each row of table.csv is a claim. The bands are ours, by one rule for each kind
of number: a difference d has the band d/2 to 2d, a factor f the band f^0.5 to
f^1.5, a density P the band P/2 to 2P. "More than x" is open above. A claim
without a number states a direction: more than nothing. "The same" is within
half of the effect that the paper reports next to it; where it reports none,
within 0.3 points for LeNet, 0.5 for ResNet-20 and VGG-19, 1 for Conv-2, -4 and
-6, and within 1.25 times in steps. "No slower" is at most 1.25 times, "no less
accurate" at most 0.1 points below for LeNet, as where a ticket wins, 0.5 for
the others; "no tickets" is at most 0.1 above.

Densities come from the paper's text; where it names none, as in appendix F, we
take 21.1%, where section 2 compares. Main text and appendix I show test
accuracies, appendices B, G and H validation accuracies.

Rows on rewinding are from Frankle et al. (arXiv:1903.01611, figure 5, and
arXiv:1912.05671, section 4), those on retraining from the released results of
Renda et al. (arXiv:2003.02389), retrained for as long as at first. No paper
reports Conv-2: its row follows from the hypothesis with rewinding.
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
    figure: figure of the paper, or a word for what later papers ask.
    text: the claim.
    published: the published number.
    band: range that counts as the same, inclusive.
    opposites: values that refute the claim.
    unit: "points", "%", "ratio", "correlation", "times", "weights" or "% of
      weights"; "times" and the last two are averaged as logarithms.
    runs: names of the runs that it is about, as in the catalog of experiments:
      the run of `place`, then the run of `against` if it is another.
    estimator: function of `estimators` or `densities` that computes our number.
    quantity: the quantity that it is computed from (`terms`).
    place: an arm, and its density or range of densities.
    against: the place that it is compared with, or "".
    needs: "scale" if only a run of the paper's size can tell, because the
      number is not relative to another; "trained" if the networks must have
      trained to their end.
    since: when this row was last changed, UTC.
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


# Fields by which a run is judged like one of the catalog; True means that the
# field is not 0.
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


# What all of the catalog's rows have in common.
_PAPER = {"score": "magnitude", "densities": [], "code": ""} | {
  "rewind_step": 0,
  "retrain": "rewind",
}
# The value of no difference, by unit, and estimators that compare nothing.
_NULL = {"points": 0.0, "%": 0.0, "correlation": 0.0, "times": 1.0}
_ABSOLUTE = ("level", "lowest", "mean", "diverged")
# Share of the comparative claims that hold or are consistent in runs where
# nothing makes a difference: 200 studies of
# `experiments._paper.null_claims`.
BY_CHANCE = 0.015


def applies(claim: Claim, config: Mapping[str, Any]) -> bool:
  """Returns whether a claim is about runs of a flat configuration."""
  wanted = _KINDS.get(claim.runs[0])
  return (
    len(claim.runs) == 1
    and wanted is not None
    and all(
      bool(config[field]) is value
      if isinstance(value, bool)
      else config[field] == value
      for field, value in (_PAPER | wanted).items()
    )
  )


def is_comparative(claim: Claim) -> bool:
  """Returns whether a claim states that something makes a difference.

  Claims about ticket statistics do not count, nor claims that tickets are as
  good as the original down to some density.
  """
  null = _NULL.get(claim.unit)
  return (
    null is not None
    and claim.estimator not in _ABSOLUTE
    and " " not in claim.quantity
    and not claim.band[0] < null < claim.band[1]
  )


def registered(claim: Claim, begun: Iterable[str | None]) -> bool:
  """Returns whether a claim is older than the runs that it is judged on.

  `begun` tells when each of these runs began, as from `timestamp`; None if
  that is unknown.
  """
  return bool(claim.since) and all(
    each is not None and claim.since < each for each in begun
  )


def timestamp(seconds: float) -> str:
  """Formats a time, in seconds since 1970, for `registered`."""
  return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _load() -> tuple[Claim, ...]:
  with _TABLE.open(encoding="utf-8", newline="") as file:
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


CLAIMS = _load()
