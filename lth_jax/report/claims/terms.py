"""A term of a claim: a quantity of an arm of a run, at some densities."""

import math
import re
from typing import NamedTuple

import numpy as np

from lth_jax.report import records, statistics

# Below this accuracy a network of ten classes has learned nothing; ours.
_CHANCE = 0.15
_QUANTITIES = {
  "step": statistics.EARLY_STEP,
  "test": statistics.EARLY_TEST,
  "valid": statistics.EARLY_VALID,
  "train": statistics.EARLY_TRAIN,
  "end_test": statistics.END_TEST,
  "end_valid": statistics.END_VALID,
  "end_train": statistics.END_TRAIN,
  "end_gap": statistics.Quantity(
    "end_gap_points",
    "Train minus test accuracy at the end (points)",
    lambda result: 100 * (result.end.train_accuracy - result.end.test_accuracy),
  ),
  "steady": statistics.Quantity(
    "steady_step",
    "Early-stop step, smoothed loss",
    lambda result: result.steady_step,
  ),
  "fails": statistics.Quantity(
    "fails",
    "Has learned nothing (%)",
    lambda result: 100.0 * (result.end.valid_accuracy < _CHANCE),
  ),
  "loss_rise": statistics.Quantity(
    "loss_rise",
    "Validation loss at the end over its minimum",
    lambda result: result.end.valid_loss / result.early_stop.valid_loss,
  ),
  "unstopped": statistics.Quantity(
    "unstopped",
    "Early stop not reached (%)",
    lambda result: (
      100.0 * (not result.early_stop.reached)
      if math.isfinite(result.early_stop.step)
      else math.nan
    ),
  ),
}


class Term(NamedTuple):
  """A quantity of an arm of a run, at some densities.

  Attributes:
    run: the run.
    quantity: a name of `_QUANTITIES`, "test@25%" (test accuracy a quarter into
      training), or a ticket statistic and its leaf (`leaves`).
    arm: name of the arm; the dense network is the ticket of density 1.
    sparse: the sparsest density.
    dense: the densest; equal to `sparse` for a single density.
  """

  run: records.Run
  quantity: str
  arm: str
  sparse: float
  dense: float

  @property
  def is_dense(self) -> bool:
    """Whether the term is about the dense network."""
    return (self.arm, self.sparse) == ("ticket", 1.0)

  @property
  def is_step(self) -> bool:
    """Whether the term is an early-stop step, which may not be reached."""
    return self.quantity in ("step", "steady")


def parse(run: records.Run, quantity: str, place: str) -> Term:
  """Returns the term of a row of the table of claims.

  A place is "dense", an arm such as "ticket", or an arm and its densities in
  percent, such as "ticket 21.1%" or "noise 0.5 51.3-7%".
  """
  if place == "dense":
    return Term(run, quantity, "ticket", 1.0, 1.0)
  found = re.fullmatch(r"(.+?)(?: (?:([\d.]+)-)?([\d.]+)%)?", place)
  if not found:
    raise ValueError(f"no place: {place!r}")
  arm, dense, sparse = found.groups()
  if sparse is None:
    return Term(run, quantity, arm, 0.0, 1.0)
  low, high = (round(float(x) / 100, 9) for x in (sparse, dense or sparse))
  return Term(run, quantity, arm, low, high)


def dense_of(term: Term) -> Term:
  """Returns the same quantity of the dense network."""
  return term._replace(arm="ticket", sparse=1.0, dense=1.0)


def values(term: Term) -> np.ndarray:
  """Returns the quantity at every density of the run, `[R, K]`."""
  quantity = quantity_of(term)
  if quantity is None:
    grid = term.run.grid
    return np.full((len(grid.replicates), len(grid.rounds)), math.nan)
  return statistics.values(term.run, term.arm, quantity)


def lower_bounds(term: Term) -> np.ndarray:
  """Returns where the quantity is only a lower bound, bool `[R, K]`."""
  return statistics.lower_bounds(term.run, term.arm) & term.is_step


def inside(term: Term) -> np.ndarray:
  """Returns which densities of the run the term is about, bool `[K]`."""
  density = term.run.grid.density
  return (density >= 0.98 * term.sparse) & (density <= 1.02 * term.dense)


def quantity_of(term: Term) -> statistics.Quantity | None:
  """Returns the quantity, None for an accuracy that was not recorded."""
  name, is_on_the_way, share = term.quantity.partition("@")
  if not is_on_the_way:
    return _QUANTITIES[name]
  steps = statistics.steps_near(term.run, (float(share.rstrip("%")) / 100,))
  return statistics.accuracy_at(steps[0]) if steps else None
