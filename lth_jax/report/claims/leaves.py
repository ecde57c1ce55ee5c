"""Statistics of tickets' leaves, for the claims of appendix F.

The quantity of such a term is the name of a field of
`structure.TicketStatistics` and a leaf, such as "valley Dense_0"; "least" and
"most" are the leaf with the smallest and with the largest mean. "spread_in" and
"spread_out" are further statistics: deviation over mean of the fractions of
connections that units keep.
"""

import math

import numpy as np

from lth_jax.report import statistics
from lth_jax.report.claims import samples, terms

_NUM_PIXELS, _NUM_CLASSES = 784, 10


def measure(term: terms.Term) -> samples.Sample:
  """Returns one statistic of one leaf of the tickets at a density."""
  name, leaf = term.quantity.split()
  if len(term.run.config["hidden"]) != 2:
    note = "the paper's leaves are of two hidden layers"
    return samples.nothing(term.run, note)
  found = _by_leaf(term, name)
  if leaf in ("least", "most"):
    known = {key: x for key, x in found.items() if np.isfinite(x).any()}
    if not known:
      return samples.nothing(term.run)
    pick = min if leaf == "least" else max
    leaf = pick(known, key=lambda key: np.nanmean(known[key]))
    return samples.Sample(known[leaf], note=leaf)
  key = f"{leaf}/kernel"
  if key not in found:
    return samples.nothing(term.run)
  return samples.Sample(found[key])


def _by_leaf(term: terms.Term, name: str) -> dict[str, np.ndarray]:
  """{leaf: the statistic of each replicate, `[R]`}."""
  if name.startswith("spread_"):
    return _spread(term, name.removeprefix("spread_"))
  grid, found = term.run.grid, dict[str, np.ndarray]()
  column = statistics.column(term.run, term.sparse)
  index = None if column is None else grid.rounds[column]
  for each in term.run.tickets:
    if each.round == index and each.replicate in grid.replicates:
      empty = np.full(len(grid.replicates), math.nan)
      numbers = found.setdefault(each.leaf, empty)
      numbers[grid.replicates.index(each.replicate)] = getattr(each, name)
  return found


def _spread(term: terms.Term, way: str) -> dict[str, np.ndarray]:
  """Deviation over mean of the fractions that LeNet's units keep."""
  uneven, kept = _by_leaf(term, f"uneven_{way}"), _by_leaf(term, "kept")
  sizes = [_NUM_PIXELS, *term.run.config["hidden"], _NUM_CLASSES]
  found = {}
  for i, leaf in enumerate(sorted(uneven)):
    fan = sizes[i] if way == "in" else sizes[i + 1]
    found[leaf] = uneven[leaf] * np.sqrt((1 / kept[leaf] - 1) / fan)
  return found
