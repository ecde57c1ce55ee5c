"""A term of a claim: a quantity of an arm of a run, at some densities."""

import math
import re
from typing import NamedTuple

import numpy as np

from lth_jax.report import records, statistics
from lth_jax.report.claims.samples import Sample, nothing

_NUM_PIXELS, _NUM_CLASSES = 784, 10
_NOT_REACHED = "an early stop was not reached"
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
  "end_gap": statistics.END_GAP,
  "steady": statistics.Quantity(
    "steady_step",
    "Early-stop step, smoothed loss",
    lambda trial: trial.steady_step,
  ),
  "fails": statistics.Quantity(
    "fails",
    "Has learned nothing (%)",
    lambda trial: 100.0 * (trial.end.valid_accuracy < _CHANCE),
  ),
  "loss_rise": statistics.Quantity(
    "loss_rise",
    "Validation loss at the end over its minimum",
    lambda trial: trial.end.valid_loss / trial.early_stop.valid_loss,
  ),
  # 100 where the validation loss still fell at the end, else 0.
  "unstopped": statistics.Quantity(
    "unstopped",
    "Early stop not reached (%)",
    lambda trial: (
      100.0 * (not trial.early_stop.reached)
      if math.isfinite(trial.early_stop.step)
      else math.nan
    ),
  ),
}


class Term(NamedTuple):
  """A quantity of an arm of a run, at some densities.

  Attributes:
    run: the run.
    quantity: a name of `_QUANTITIES`, "test@25%" (test accuracy a quarter into
      training), or a number of `records.Look` and the leaf that it is about,
      "least" or "most" for the leaf where its mean is that. Beside these
      numbers there are "spread_in" and "spread_out": deviation over mean of the
      fraction of connections that units keep.
    arm: name of the arm; the dense network is the ticket of density 1.
    sparse: the sparsest density.
    dense: the densest; of a single density it is the same.
  """

  run: records.Run
  quantity: str
  arm: str
  sparse: float
  dense: float


def parse(run: records.Run, quantity: str, place: str) -> Term:
  """Returns the term that a row of the table means.

  Args:
    run: the run.
    quantity: as in `Term`.
    place: "dense", an arm, or an arm and its densities in percent.

  >>> run = records.Run("example", {}, ())
  >>> parse(run, "test", "ticket 51.3-7%")[2:]
  ('ticket', 0.07, 0.513)
  >>> parse(run, "test", "noise 0.5 21.1%")[2:], parse(run, "test", "dense")[2:]
  (('noise 0.5', 0.211, 0.211), ('ticket', 1.0, 1.0))
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


def is_dense(term: Term) -> bool:
  """Says whether a term is about the dense network.

  >>> is_dense(parse(records.Run("example", {}, ()), "test", "dense"))
  True
  """
  return (term.arm, term.sparse) == ("ticket", 1.0)


def is_step(term: Term) -> bool:
  """Says whether a term is an early-stop step, which may not be reached.

  >>> is_step(parse(records.Run("example", {}, ()), "step", "dense"))
  True
  """
  return term.quantity in ("step", "steady")


def values(term: Term) -> np.ndarray:
  """Returns the quantity at every density of the run, `[R, K]`.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.5)])
  >>> values(parse(run, "step", "ticket"))
  array([[500., 400.]])
  """
  quantity = _quantity(term)
  if quantity is None:
    axes = statistics.grid(term.run)
    return np.full((len(axes.replicates), len(axes.rounds)), math.nan)
  return statistics.values(term.run, term.arm, quantity)


def late(term: Term) -> np.ndarray:
  """Returns where the quantity is a lower bound only, bool `[R, K]`.

  >>> from lth_jax.report import example
  >>> late(parse(example.run(ticket=[(500, 98.0)]), "step", "dense"))
  array([[False]])
  """
  return statistics.not_reached(term.run, term.arm) & is_step(term)


def inside(term: Term) -> np.ndarray:
  """Returns which densities of the run a term is about, bool `[K]`.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.5), (400, 98.0)])
  >>> inside(parse(run, "test", "ticket 100-50%"))
  array([ True,  True, False])
  """
  density = statistics.grid(term.run).density
  return (density >= 0.98 * term.sparse) & (density <= 1.02 * term.dense)


def level(term: Term) -> Sample:
  """Returns a quantity as it is at one density.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.5)])
  >>> level(parse(run, "test", "ticket 50%")).values
  array([98.5])
  """
  column = statistics.column(term.run, term.sparse)
  if " " in term.quantity:
    return _look(term, column)
  quantity = _quantity(term)
  if quantity is None:
    return nothing(term.run, "no test accuracy was recorded on the way")
  found = statistics.at(values(term), column)
  open_end = bool((statistics.at(late(term) * 1.0, column) > 0).any())
  return Sample(
    found,
    may_rise=open_end,
    note=_NOT_REACHED * open_end,
    half_step=_half_evaluation(term, found) if is_step(term) else 0.0,
  )


def dense_of(term: Term) -> Term:
  """Returns the same quantity of the dense network.

  >>> dense_of(parse(records.Run("example", {}, ()), "test", "random 8%"))[2:]
  ('ticket', 1.0, 1.0)
  """
  return term._replace(arm="ticket", sparse=1.0, dense=1.0)


def _half_evaluation(term: Term, steps: np.ndarray) -> float:
  known = steps[np.isfinite(steps) & (steps > 0)]
  half = term.run.config["eval_every"] / 2
  return float(np.mean(half / known)) if len(known) else 0.0


def _quantity(term: Term) -> statistics.Quantity | None:
  name, is_on_the_way, share = term.quantity.partition("@")
  if not is_on_the_way:
    return _QUANTITIES[name]
  steps = statistics.steps_near(term.run, (float(share.rstrip("%")) / 100,))
  return statistics.accuracy_at(steps[0]) if steps else None


def _look(term: Term, column: int | None) -> Sample:
  """One number on one leaf of the tickets at a density."""
  name, leaf = term.quantity.split()
  if len(term.run.config["hidden"]) != 2:
    return nothing(term.run, "the paper's leaves are of two hidden layers")
  found = _leaves(term, name, column)
  if leaf in ("least", "most"):
    known = {key: x for key, x in found.items() if np.isfinite(x).any()}
    if not known:
      return nothing(term.run)
    pick = min if leaf == "least" else max
    leaf = pick(known, key=lambda key: np.nanmean(known[key]))
    return Sample(known[leaf], note=leaf)
  key = f"{leaf}/kernel"
  return Sample(found[key]) if key in found else nothing(term.run)


def _leaves(term: Term, name: str, column: int | None) -> dict[str, np.ndarray]:
  """{leaf: the number in each replicate, `[R]`}."""
  if name in ("spread_in", "spread_out"):
    return _spread(term, name.removeprefix("spread_"), column)
  axes, found = statistics.grid(term.run), dict[str, np.ndarray]()
  index = None if column is None else axes.rounds[column]
  for look in term.run.looks:
    if look.round == index and look.replicate in axes.replicates:
      empty = np.full(len(axes.replicates), math.nan)
      numbers = found.setdefault(look.leaf, empty)
      numbers[axes.replicates.index(look.replicate)] = getattr(look, name)
  return found


def _spread(term: Term, way: str, column: int | None) -> dict[str, np.ndarray]:
  """Deviation over mean of the fractions that LeNet's units keep."""
  uneven = _leaves(term, f"uneven_{way}", column)
  kept = _leaves(term, "kept", column)
  sizes = [_NUM_PIXELS, *term.run.config["hidden"], _NUM_CLASSES]
  found = {}
  for i, leaf in enumerate(sorted(uneven)):
    fan = sizes[i] if way == "in" else sizes[i + 1]
    found[leaf] = uneven[leaf] * np.sqrt((1 / kept[leaf] - 1) / fan)
  return found
