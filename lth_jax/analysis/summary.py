"""Statistics of one ticket's weights for the report, ready for JSON."""

from typing import Any

import numpy as np

from lth_jax import masks as masks_lib
from lth_jax.analysis import histograms

PyTree = Any

# First and last edge, in standard deviations of Glorot's initialization. Its
# truncated normal ends at 2.3, and no magnitude shrinks by more than it was.
# LeNet-300-100 trained as in the paper (figure 2) moves 99% of its weights by
# less than 15.
_RANGES = {"initial": (-3, 3), "moved": (0, 15), "grown": (-3, 15)}


def describe(
  initial: PyTree, trained: PyTree, masks: PyTree, *, num_bins: int = 60
) -> dict[str, dict[str, Any]]:
  """Counts one ticket's connections, initial weights and distances.

  Each leaf has, in plain ints, floats and lists:

  * `shape`: `[..., in, out]`;
  * `num_kept`: weights in the ticket;
  * `num_incoming`, `[out]`, and `num_outgoing`, `[in]`: connections that each
    unit keeps (figures 21 to 24): a unit of a dense layer, or a channel;
  * `initial`, `moved` and `grown`: histograms of theta_0 (figures 15, 16), of
    |theta_j - theta_0| (19) and of |theta_j| - |theta_0| (20). Each is a dict
    of `edges`, `[num_bins + 1]`, and of counts, `[num_bins]`, of the `kept`
    and of the `pruned` weights.

  A bin holds its lower edge and not its upper one; the outermost bins also hold
  what lies beyond. Edges depend on the leaf's shape and `num_bins` alone, so
  counts add up over replicates, rounds and runs. By default 0 is an edge.

  Args:
    initial: theta_0, real numbers.
    trained: theta_j; in the paper that of the unpruned network.
    masks: masks of a ticket.
    num_bins: of each histogram.

  Returns:
    One dict for each mask, by leaf name, in leaf order.

  Raises:
    ValueError: names the leaf at which masks do not fit or weights are NaN, as
      after a training that diverged; or two leaves share a name.

  >>> initial = {"w": np.array([[1.0, -1.0]])}
  >>> trained = {"w": np.array([[3.0, -0.5]])}
  >>> masks = {"w": np.array([[True, False]])}
  >>> found = describe(initial, trained, masks, num_bins=4)["w"]
  >>> found["num_incoming"], found["num_outgoing"]
  ([1, 0], [1])
  >>> found["initial"]["kept"], found["initial"]["pruned"]
  ([0, 0, 1, 0], [0, 1, 0, 0])
  """
  rows = masks_lib.by_name(masks, initial, trained)
  for name, (_, *weights) in rows.items():
    for what, leaf in zip(("initial", "trained"), weights):
      if np.isnan(leaf).any():
        raise ValueError(f"{what} params {name!r} contain NaN")
  return {name: _describe(row, num_bins) for name, row in rows.items()}


def _describe(row, num_bins):
  """Describes one leaf, given as (mask, initial, trained)."""
  mask = np.asarray(row[0])
  initial, trained = (np.asarray(x, np.float64) for x in row[1:])
  values = {
    "initial": initial,
    "moved": abs(trained - initial),
    "grown": abs(trained) - abs(initial),
  }
  units = np.atleast_2d(mask)
  *window, incoming, outgoing = range(units.ndim)
  counts = {
    "shape": list(mask.shape),
    "num_kept": int(mask.sum()),
    "num_incoming": units.sum((*window, incoming)).tolist(),
    "num_outgoing": units.sum((*window, outgoing)).tolist(),
  }
  return counts | {
    name: _histograms(values[name], mask, *_RANGES[name], num_bins)
    for name in values
  }


def _histograms(values, mask, low, high, num_bins):
  edges = histograms.edges(mask.shape, low, high, num_bins)
  values = np.clip(values, edges[0], edges[-1])
  return {
    "edges": edges.tolist(),
    "kept": np.histogram(values[mask], edges)[0].tolist(),
    "pruned": np.histogram(values[~mask], edges)[0].tolist(),
  }
