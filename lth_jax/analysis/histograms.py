"""Histograms with fixed bins, pooled over replicates by adding counts."""

import math
from collections.abc import Sequence

import numpy as np
from numpy import typing as npt


def normalize(counts: npt.ArrayLike, edges: npt.ArrayLike) -> np.ndarray:
  """Returns a histogram of area 1, as in the paper's figures 15 and 16.

  Args:
    counts: `[num_bins]`, of one network or the sum over several.
    edges: `[num_bins + 1]`; the open outermost bins count as wide as drawn.

  Returns:
    float64 `[num_bins]`; zeros if nothing was counted.

  >>> normalize([2, 6], [-1.0, 0.0, 2.0])
  array([0.25 , 0.375])
  """
  counts = np.asarray(counts, np.float64)
  return counts / (max(counts.sum(), 1) * np.diff(edges))


def edges(
  shape: Sequence[int], low: float, high: float, num_bins: int
) -> np.ndarray:
  """Returns bin edges for the weights of a leaf, from its shape alone.

  They are multiples of the standard deviation of Glorot's initialization,
  sqrt(2 / (fan_in + fan_out)), whatever the leaf's own initialization was, so
  that networks, rounds and runs can be pooled. An edge that should be 0 is
  exactly 0: with `high = -low` and an even number of bins no bin mixes signs.

  Args:
    shape: `[..., in, out]`; the axes in front, such as the height and width of
      a convolution, multiply both fans. A single axis has a fan-in of 1.
    low: the first edge, in standard deviations.
    high: the last edge, above `low`.
    num_bins: 1 or more.

  Returns:
    float64 `[num_bins + 1]`, ascending.

  >>> edges((3, 5), -3, 3, 4)
  array([-1.5 , -0.75,  0.  ,  0.75,  1.5 ])
  """
  steps = np.arange(num_bins + 1)
  multiples = (low * (num_bins - steps) + high * steps) / num_bins
  return glorot_std(shape) * multiples


def glorot_std(shape: Sequence[int]) -> float:
  """Returns the standard deviation of Glorot's initialization of a leaf.

  Args:
    shape: as for `edges`.

  >>> glorot_std((3, 5))
  0.5
  """
  *window, fan_in, fan_out = (1, 1, *shape)
  return math.sqrt(2 / (math.prod(window) * (fan_in + fan_out)))
