"""What tickets look like: figures 15, 16 and 19 to 24 of the paper.

Drawn from `replicate_<r>/structure.json`, pooled over replicates.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from matplotlib import axes as mpl_axes

from lth_jax.analysis import histograms
from lth_jax.report import structure
from lth_jax.report.figures import canvas

# Stems of the figures, in the order of the page.
NAMES = ("initial_weights", "moved", "grown", "incoming", "outgoing")
# Densities to show, in percent, and the one that movement is shown of. The
# paper does not name its own; claims about tickets are judged at 21.1%.
_JUDGED = 21.1
_SHOWN = (100.0, 41.0, _JUDGED, 7.0)
_COLOURS = ("#333333", "#56B4E9", "#0072B2", "#D55E00")
_MOST_BINS = 25  # of units


class Round(NamedTuple):
  """One density, the leaves of all replicates pooled.

  Attributes:
    percent: of the counted weights that are left.
    leaves: {leaf name: what `analysis.summary.describe` counts}; counts of
      histograms are added up, those of units are joined.
  """

  percent: float
  leaves: dict[str, dict[str, Any]]


def read(workdir: epath.PathLike) -> tuple[Round, ...]:
  """Reads what the replicates of a run say, dense first.

  Args:
    workdir: folder of a run.

  Returns:
    The rounds that every replicate has; none if there is no description.

  Raises:
    lth_jax.errors.InputError: a description is damaged.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   read(folder)
  ()
  """
  return pool(structure.load(workdir))


def pool(replicates: Mapping[int, structure.Rounds]) -> tuple[Round, ...]:
  """Puts replicates together, dense first.

  Args:
    replicates: as from `structure.load`.

  Returns:
    The rounds that every replicate has.

  >>> pool({})
  ()
  """
  found = list(replicates.values())
  if not found:
    return ()
  shared = set.intersection(*(set(rounds) for rounds in found))
  return tuple(
    _pool([rounds[index] for rounds in found])
    for index in sorted(shared, key=int)
  )


def draw(rounds: tuple[Round, ...], note: str) -> tuple[canvas.Drawn, ...]:
  """Draws initial weights, movement and connectivity, a panel a layer.

  Args:
    rounds: as from `read`.
    note: written below each figure.

  >>> draw((), "")
  ()
  """
  if not rounds:
    return ()
  chosen, [sparse] = _choose(rounds, _SHOWN), _choose(rounds, [_JUDGED])
  plans = (
    ("initial_weights", "Initial weights of tickets", _initial, chosen),
    (
      "moved",
      f"How far the dense network's weights moved, ticket at "
      f"{sparse.percent:.1f}%",
      _moved,
      sparse,
    ),
    (
      "grown",
      f"How much they grew in magnitude, ticket at {sparse.percent:.1f}%",
      _grown,
      sparse,
    ),
    ("incoming", "Connections kept into each unit", _incoming, chosen),
    ("outgoing", "Connections kept out of each unit", _outgoing, chosen),
  )
  return tuple(
    canvas.draw_parts(
      name,
      title,
      [functools.partial(panel, what, leaf) for leaf in rounds[0].leaves],
      note,
    )
    for name, title, panel, what in plans
  )


def _pool(replicates: list[dict[str, dict[str, Any]]]) -> Round:
  """Adds up counts over replicates; units stand side by side."""
  leaves = {}
  for name in replicates[0]:
    each = [leaves_of[name] for leaves_of in replicates]
    pooled = {"shape": each[0]["shape"]}
    for key in ("num_incoming", "num_outgoing"):
      pooled[key] = np.concatenate([leaf[key] for leaf in each])
    for key in ("initial", "moved", "grown"):
      pooled[key] = {
        "edges": np.array(each[0][key]["edges"]),
        **{
          part: np.sum([leaf[key][part] for leaf in each], axis=0)
          for part in ("kept", "pruned")
        },
      }
    pooled["num_kept"] = sum(leaf["num_kept"] for leaf in each)
    leaves[name] = pooled
  kept = sum(leaf["num_kept"] for leaf in leaves.values())
  counted = sum(
    math.prod(leaf["shape"]) * len(replicates) for leaf in leaves.values()
  )
  return Round(100 * kept / counted, leaves)


def _choose(
  rounds: tuple[Round, ...], percents: Sequence[float]
) -> tuple[Round, ...]:
  """The rounds nearest to some densities, dense to sparse."""
  chosen = {
    min(
      range(len(rounds)),
      key=lambda index: abs(math.log(rounds[index].percent / percent)),
    )
    for percent in percents
  }
  return tuple(rounds[index] for index in sorted(chosen))


def _initial(rounds: tuple[Round, ...], leaf: str, axes: mpl_axes.Axes) -> None:
  for colour, each in zip(_COLOURS, rounds):
    counts = each.leaves[leaf]["initial"]
    _stairs(axes, counts["kept"], counts["edges"], each.percent, colour)
  axes.set_title(leaf)
  axes.set_xlabel("Initial weight")
  axes.set_ylabel("Density")


def _movement(key: str, label: str, each: Round, leaf: str, axes) -> None:
  counts = each.leaves[leaf][key]
  for part, name, colour in (
    ("kept", "in the ticket", "#0072B2"),
    ("pruned", "not in it", "#D55E00"),
  ):
    heights = histograms.normalize(counts[part], counts["edges"])
    axes.stairs(heights, counts["edges"], label=name, color=colour, lw=1.5)
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
  key: str, what: str, rounds: tuple[Round, ...], leaf: str, axes
) -> None:
  """Draws how many units keep which fraction of their connections."""
  for colour, each in zip(_COLOURS, rounds):
    found = each.leaves[leaf]
    *window, num_in, num_out = (1, 1, *found["shape"])[-4:]
    fan = math.prod(window) * (num_in if key == "num_incoming" else num_out)
    edges = _edges(fan)
    counts = np.histogram(found[key] / fan, edges)[0]
    if each.percent < 100:  # all of the dense network's lie at 1
      _stairs(axes, counts, edges, each.percent, colour)
  axes.set_title(leaf)
  axes.set_xlabel(f"Fraction of {what} connections kept")
  axes.set_ylabel("Density of units")


_incoming = functools.partial(_connections, "num_incoming", "incoming")
_outgoing = functools.partial(_connections, "num_outgoing", "outgoing")


def _edges(fan: int) -> np.ndarray:
  """Edges of bins that hold equally many of the fractions k / fan."""
  fractions = fan + 1
  each = math.ceil(fractions / _MOST_BINS)
  return (each * np.arange(math.ceil(fractions / each) + 1) - 0.5) / fan


def _stairs(axes, counts, edges, percent: float, colour: str) -> None:
  axes.stairs(
    histograms.normalize(counts, edges),
    edges,
    label=f"{percent:.1f}%".replace("100.0", "100"),
    color=colour,
    lw=1.5,
  )
