"""Histograms of the tickets of a round, pooled over replicates for drawings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lth_jax.report import structure

# Histograms of weights, as `analysis.summary.describe` names them.
_WEIGHTS = ("initial", "moved", "grown")
_MOST_BINS = 25  # of units


class Histogram(NamedTuple):
  """Counts, `[B]` each, between equally spaced edges, `[B + 1]`.

  Attributes:
    edges: ascending.
    kept: weights in the ticket, or units.
    pruned: weights not in it; of units there are none.
  """

  edges: np.ndarray
  kept: np.ndarray
  pruned: np.ndarray


class Pooled(NamedTuple):
  """The tickets of one round, the leaves of all replicates pooled.

  Attributes:
    percent: of the counted weights that are left.
    leaves: {leaf name: {"initial", "moved" and "grown" weights (`structure`),
      and "incoming" and "outgoing": units by the fraction of their connections
      that they keep}}.
  """

  percent: float
  leaves: Mapping[str, Mapping[str, Histogram]]


def pool(replicates: Sequence[structure.Rounds]) -> tuple[Pooled, ...]:
  """Pools the rounds that every replicate has, dense first."""
  if not replicates:
    return ()
  shared = set.intersection(*map(set, replicates))
  return tuple(
    _pool([rounds[index] for rounds in replicates]) for index in sorted(shared)
  )


def nearest(
  rounds: Sequence[Pooled], percents: Sequence[float]
) -> tuple[Pooled, ...]:
  """Returns the rounds nearest to some densities, dense to sparse."""
  if not rounds:
    return ()
  chosen = {
    min(
      range(len(rounds)),
      key=lambda index: abs(math.log(rounds[index].percent / percent)),
    )
    for percent in percents
  }
  return tuple(rounds[index] for index in sorted(chosen))


def to_json(rounds: Sequence[Pooled]) -> list[Any]:
  """Returns rounds as plain lists; of edges the first and the last."""
  return [
    [
      round(each.percent, 4),
      {leaf: _plain(found) for leaf, found in each.leaves.items()},
    ]
    for each in rounds
  ]


def from_json(content: Sequence[Any]) -> tuple[Pooled, ...]:
  """Returns the rounds that `to_json` was given."""
  return tuple(
    Pooled(
      float(percent),
      {
        leaf: {kind: _histogram(*x) for kind, x in found.items()}
        for leaf, found in leaves.items()
      },
    )
    for percent, leaves in content
  )


def _plain(found: Mapping[str, Histogram]) -> dict[str, Any]:
  return {
    kind: [
      [float(f"{x:.6g}") for x in (each.edges[0], each.edges[-1])],
      each.kept.tolist(),
      each.pruned.tolist(),
    ]
    for kind, each in found.items()
  }


def _histogram(ends, kept, pruned) -> Histogram:
  first, last = map(float, ends)
  edges = np.linspace(first, last, len(kept) + 1)
  return Histogram(edges, np.array(kept, int), np.array(pruned, int))


def _pool(replicates: list[dict[str, dict[str, Any]]]) -> Pooled:
  every = {
    name: [leaves[name] for leaves in replicates] for name in replicates[0]
  }
  flat = [leaf for leaves in every.values() for leaf in leaves]
  kept = sum(leaf["num_kept"] for leaf in flat)
  counted = sum(math.prod(leaf["shape"]) for leaf in flat)
  leaves = {name: _pool_leaf(each) for name, each in every.items()}
  return Pooled(100 * kept / counted, leaves)


def _pool_leaf(each: list[dict[str, Any]]) -> dict[str, Histogram]:
  """Adds up the histograms of a leaf and counts its units."""
  *window, num_in, num_out = (1, 1, *each[0]["shape"])[-4:]
  found = {
    name: Histogram(
      each[0][name]["edges"],
      np.sum([leaf[name]["kept"] for leaf in each], axis=0),
      np.sum([leaf[name]["pruned"] for leaf in each], axis=0),
    )
    for name in _WEIGHTS
  }
  for name, fan in (("incoming", num_in), ("outgoing", num_out)):
    fan *= math.prod(window)
    edges = _edges(fan)
    kept = np.concatenate([leaf[f"num_{name}"] for leaf in each]) / fan
    units = np.histogram(kept, edges)[0]
    found[name] = Histogram(edges, units, np.zeros(0, int))
  return found


def _edges(fan: int) -> np.ndarray:
  """Edges of bins that hold equally many of the fractions k / fan."""
  fractions = fan + 1
  each = math.ceil(fractions / _MOST_BINS)
  return (each * np.arange(math.ceil(fractions / each) + 1) - 0.5) / fan
