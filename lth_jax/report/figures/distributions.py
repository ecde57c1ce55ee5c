"""Distributions of tickets: figures 15, 16 and 19 to 24 of the paper.

Drawn from `replicate_<r>/structure.json`, pooled over replicates.
"""

from __future__ import annotations  # so that matplotlib is loaded late

import functools
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lth_jax.analysis import histograms
from lth_jax.report import structure
from lth_jax.report.figures import canvas

if typing.TYPE_CHECKING:
  from matplotlib import axes as mpl_axes

# Stems of the figures, in the order of the page.
NAMES = ("initial_weights", "moved", "grown", "incoming", "outgoing")
# Densities to show in percent, and the density at which movement is shown. The
# paper does not name its own; claims about tickets are judged at 21.1%.
_JUDGED = 21.1
_SHOWN = (100.0, 41.0, _JUDGED, 7.0)
_COLOURS = ("#333333", "#56B4E9", "#0072B2", "#D55E00")
_MOST_BINS = 25  # of units


class Pooled(NamedTuple):
  """The tickets of one round, the leaves of all replicates pooled.

  Attributes:
    percent: of the counted weights that are left.
    leaves: {leaf name: counts of `analysis.summary.describe`}; counts of
      histograms are added up, counts of units are concatenated.
  """

  percent: float
  leaves: dict[str, dict[str, Any]]


def pool(replicates: Mapping[int, structure.Rounds]) -> tuple[Pooled, ...]:
  """Pools the rounds that every replicate has, dense first."""
  found = list(replicates.values())
  if not found:
    return ()
  shared = set.intersection(*(set(rounds) for rounds in found))
  return tuple(
    _pool([rounds[index] for rounds in found]) for index in sorted(shared)
  )


def draw(rounds: tuple[Pooled, ...], note: str) -> tuple[canvas.Drawn, ...]:
  """Draws initial weights, movement and connectivity, a panel a layer."""
  if not rounds:
    return ()
  shown, [judged] = _nearest(rounds, _SHOWN), _nearest(rounds, [_JUDGED])
  ticket = f"ticket at {judged.percent:.1f}%"
  figures = (
    ("Initial weights of tickets", _initial, shown),
    (f"How far the dense network's weights moved, {ticket}", _moved, judged),
    (f"How much they grew in magnitude, {ticket}", _grown, judged),
    ("Connections kept into each unit", _incoming, shown),
    ("Connections kept out of each unit", _outgoing, shown),
  )
  return tuple(
    canvas.draw_parts(
      name,
      title,
      [functools.partial(panel, what, leaf) for leaf in rounds[0].leaves],
      note,
    )
    for name, (title, panel, what) in zip(NAMES, figures, strict=True)
  )


def _pool(replicates: list[dict[str, dict[str, Any]]]) -> Pooled:
  leaves = {
    name: _pool_leaf([leaves[name] for leaves in replicates])
    for name in replicates[0]
  }
  kept = sum(leaf["num_kept"] for leaf in leaves.values())
  counted = sum(
    math.prod(leaf["shape"]) * len(replicates) for leaf in leaves.values()
  )
  return Pooled(100 * kept / counted, leaves)


def _pool_leaf(each: list[dict[str, Any]]) -> dict[str, Any]:
  """Adds up the histograms of a leaf and concatenates its units."""
  found = {
    "shape": each[0]["shape"],
    "num_kept": sum(leaf["num_kept"] for leaf in each),
  }
  for key in ("num_incoming", "num_outgoing"):
    found[key] = np.concatenate([leaf[key] for leaf in each])
  for key in ("initial", "moved", "grown"):
    found[key] = {
      "edges": each[0][key]["edges"],
      "kept": np.sum([leaf[key]["kept"] for leaf in each], axis=0),
      "pruned": np.sum([leaf[key]["pruned"] for leaf in each], axis=0),
    }
  return found


def _nearest(
  rounds: tuple[Pooled, ...], percents: Sequence[float]
) -> tuple[Pooled, ...]:
  """The rounds nearest to some densities, dense to sparse."""
  chosen = {
    min(
      range(len(rounds)),
      key=lambda index: abs(math.log(rounds[index].percent / percent)),
    )
    for percent in percents
  }
  return tuple(rounds[index] for index in sorted(chosen))


def _initial(
  rounds: tuple[Pooled, ...], leaf: str, axes: mpl_axes.Axes
) -> None:
  for colour, each in zip(_COLOURS, rounds):
    counts = each.leaves[leaf]["initial"]
    _stairs(axes, counts["kept"], counts["edges"], _percent(each), colour)
  axes.set_title(leaf)
  axes.set_xlabel("Initial weight")
  axes.set_ylabel("Density")


def _movement(
  key: str, label: str, ticket: Pooled, leaf: str, axes: mpl_axes.Axes
) -> None:
  counts = ticket.leaves[leaf][key]
  edges = counts["edges"]
  _stairs(axes, counts["kept"], edges, "in the ticket", "#0072B2")
  _stairs(axes, counts["pruned"], edges, "not in it", "#D55E00")
  axes.set_title(leaf)
  axes.set_xlabel(label)
  axes.set_ylabel("Density")


_moved = functools.partial(
  _movement, "moved", "|trained \N{MINUS SIGN} initial|"
)
_grown = functools.partial(
  _movement, "grown", "|trained| \N{MINUS SIGN} |initial|"
)


def _connections(
  what: str, rounds: tuple[Pooled, ...], leaf: str, axes: mpl_axes.Axes
) -> None:
  """Draws how many units keep which fraction of their connections."""
  for colour, each in zip(_COLOURS, rounds):
    found = each.leaves[leaf]
    *window, num_in, num_out = (1, 1, *found["shape"])[-4:]
    fan = math.prod(window) * (num_in if what == "incoming" else num_out)
    edges = _edges(fan)
    counts = np.histogram(found[f"num_{what}"] / fan, edges)[0]
    if each.percent < 100:  # all units of the dense network lie at 1
      _stairs(axes, counts, edges, _percent(each), colour)
  axes.set_title(leaf)
  axes.set_xlabel(f"Fraction of {what} connections kept")
  axes.set_ylabel("Density of units")


_incoming = functools.partial(_connections, "incoming")
_outgoing = functools.partial(_connections, "outgoing")


def _edges(fan: int) -> np.ndarray:
  """Edges of bins that hold equally many of the fractions k / fan."""
  fractions = fan + 1
  each = math.ceil(fractions / _MOST_BINS)
  return (each * np.arange(math.ceil(fractions / each) + 1) - 0.5) / fan


def _percent(ticket: Pooled) -> str:
  return f"{ticket.percent:.1f}%".replace("100.0", "100")


def _stairs(
  axes: mpl_axes.Axes,
  counts: np.ndarray,
  edges: np.ndarray,
  label: str,
  colour: str,
) -> None:
  heights = histograms.normalize(counts, edges)
  axes.stairs(heights, edges, label=label, color=colour, lw=1.5)
