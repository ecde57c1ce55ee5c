"""Distributions of tickets: figures 15, 16 and 19 to 24 of the paper.

Drawn from histograms that are pooled over replicates (`report.pooling`).
"""

from __future__ import annotations  # so that matplotlib is loaded late

import functools
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lth_jax.analysis import histograms
from lth_jax.report import pooling, records
from lth_jax.report.figures import layout
from lth_jax.report.pooling import Pooled

if typing.TYPE_CHECKING:
  from matplotlib import axes as mpl_axes

# Stems of the figures, in the order of the page.
NAMES = ("initial_weights", "moved", "grown", "incoming", "outgoing")
# Their numbers under Adam and under gradient descent.
_NUMBERS = ("15 19 20 21 23", "16 - - 22 24")
# Densities to show in percent, and the density at which movement is shown. The
# paper does not name its own; claims about tickets are judged at 21.1%.
_JUDGED = 21.1
SHOWN = (100.0, 41.0, _JUDGED, 7.0)
_COLOURS = ("#333333", "#56B4E9", "#0072B2", "#D55E00")
# LeNet's units: a leaf connects those at its place to the next.
_LEAVES = ("Dense_0/kernel", "Dense_1/kernel", "Dense_2/kernel")
_UNITS = ("Input", "First hidden layer", "Second hidden layer", "Output layer")
# Axes of movement end where this share of all weights lies.
_MOST = 0.999


def of(run: records.Run) -> tuple[layout.Figure, ...]:
  """Returns figures of initial weights, movement and connectivity.

  There is a panel for each layer, and none without histograms.
  """
  if not run.pooled:
    return ()
  shown = pooling.nearest(run.pooled, SHOWN)
  [judged] = pooling.nearest(run.pooled, [_JUDGED])
  ticket = f"ticket at {judged.percent:.1f}%"
  found = (
    ("Initial weights of tickets", _initial, shown),
    (f"How far the dense network's weights moved, {ticket}", _moved, judged),
    (f"How much they grew in magnitude, {ticket}", _grown, judged),
    ("Connections kept into each unit", _incoming, shown),
    ("Connections kept out of each unit", _outgoing, shown),
  )
  is_lenet = run.config["model"] == "lenet"
  return tuple(
    layout.Figure(
      name,
      f"{number}{title}",
      "",
      tuple(
        functools.partial(
          panel, what, leaf, _units(leaf, name) if is_lenet else leaf
        )
        for leaf in judged.leaves
      ),
    )
    for name, number, (title, panel, what) in zip(
      NAMES, _numbers(run.config), found, strict=True
    )
  )


def _units(leaf: str, figure: str) -> str:
  """The units that a panel of LeNet is about."""
  if leaf not in _LEAVES:  # of more or fewer layers
    return leaf
  return _UNITS[_LEAVES.index(leaf) + (figure != "outgoing")]


def _numbers(config: Mapping[str, Any]) -> list[str]:
  """The beginnings of titles, "" where the paper has no such figure."""
  if config["model"] != "lenet":
    return [""] * len(NAMES)
  found = _NUMBERS[config["optimizer"] != "adam"].split()
  return ["" if number == "-" else f"Figure {number}. " for number in found]


def _initial(
  rounds: Sequence[Pooled], leaf: str, title: str, axes: mpl_axes.Axes
) -> None:
  for colour, each in zip(_COLOURS, rounds):
    found = each.leaves[leaf]["initial"]
    _stairs(axes, found.kept, found.edges, _percent(each), colour)
  axes.set_title(title)
  axes.set_xlabel("Initial weight")
  axes.set_ylabel("Density")


def _movement(
  key: str,
  label: str,
  ticket: Pooled,
  leaf: str,
  title: str,
  axes: mpl_axes.Axes,
) -> None:
  found = ticket.leaves[leaf][key]
  _stairs(axes, found.kept, found.edges, "in the ticket", "#0072B2")
  _stairs(axes, found.pruned, found.edges, "not in it", "#D55E00")
  axes.set_xlim(found.edges[0], _end(found))
  axes.set_title(title)
  axes.set_xlabel(label)
  axes.set_ylabel("Density")


def _end(found: pooling.Histogram) -> float:
  """Where most weights lie; the open last bin is never shown."""
  both = np.cumsum(found.kept + found.pruned)
  last = int(np.searchsorted(both, _MOST * both[-1])) + 1
  return float(found.edges[min(last, len(both) - 1)])


_moved = functools.partial(
  _movement, "moved", "|trained \N{MINUS SIGN} initial|"
)
_grown = functools.partial(
  _movement, "grown", "|trained| \N{MINUS SIGN} |initial|"
)


def _connections(
  what: str,
  rounds: Sequence[Pooled],
  leaf: str,
  title: str,
  axes: mpl_axes.Axes,
) -> None:
  """Draws how many units keep which fraction of their connections."""
  for colour, each in zip(_COLOURS, rounds):
    found = each.leaves[leaf][what]
    if each.percent < 100:  # all units of the dense network lie at 1
      _stairs(axes, found.kept, found.edges, _percent(each), colour)
  axes.set_title(title)
  axes.set_xlabel(f"Fraction of {what} connections kept")
  axes.set_ylabel("Density of units")


_incoming = functools.partial(_connections, "incoming")
_outgoing = functools.partial(_connections, "outgoing")


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
