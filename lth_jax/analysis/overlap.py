"""How much two masks have in common, and what chance would give."""

import math
from typing import Any, NamedTuple

import numpy as np

from lth_jax import _trees
from lth_jax import masks as masks_lib

PyTree = Any


class Overlap(NamedTuple):
  """What two masks share.

  Chance is two masks drawn independently and uniformly among those that keep
  as many weights in each leaf: what both keep is then hypergeometric.

  Attributes:
    num_both: weights that both keep.
    num_either: weights that at least one keeps.
    jaccard: num_both / num_either; 1 for masks that keep nothing.
    chance_both: mean of `num_both` by chance.
    chance_std: standard deviation of `num_both` by chance.
    chance_jaccard: the Jaccard index at `chance_both`; the mean of the index
      itself lies above it, by less the more weights there are.
  """

  num_both: int
  num_either: int
  jaccard: float
  chance_both: float
  chance_std: float
  chance_jaccard: float


def by_name(a: PyTree, b: PyTree) -> dict[str, Overlap]:
  """Overlap of each leaf.

  Args:
    a: a mask tree.
    b: masks of the same params.

  Returns:
    By leaf name, in leaf order.

  Raises:
    ValueError: names a leaf that only one has, or whose shapes differ; or two
      leaves share a name.

  >>> a, b = np.array([True, True, False]), np.array([True, False, False])
  >>> by_name({"w": a}, {"w": b})["w"].jaccard
  0.5
  """
  return _trees.by_name(a, [_overlap([leaf]) for leaf in _counts(a, b)])


def total(a: PyTree, b: PyTree) -> Overlap:
  """Overlap of all leaves together.

  Args:
    a: a mask tree.
    b: masks of the same params.

  Returns:
    One overlap; chance keeps the count of each leaf here too.

  Raises:
    ValueError: names a leaf that only one has, or whose shapes differ.

  >>> a, b = np.array([True, True, False]), np.array([True, False, False])
  >>> found = total([a], [b])
  >>> found.num_both, found.num_either, round(found.chance_both, 3)
  (1, 2, 0.667)
  """
  return _overlap(_counts(a, b))


def _counts(a, b):
  """`[(size, kept by a, kept by b, kept by both), ...]`, one for each leaf."""
  columns = a, b, masks_lib.intersection(a, b)
  return [
    (leaves[0].size, *(int(np.count_nonzero(leaf)) for leaf in leaves))
    for leaves in zip(*(_trees.at_masks(tree, a, "masks") for tree in columns))
  ]


def _overlap(counts):
  num_both = sum(both for *_, both in counts)
  num_kept = sum(a + b for _, a, b, _ in counts)
  chance_both = sum(a * b / max(n, 1) for n, a, b, _ in counts)
  variance = sum(
    a * b * (n - a) * (n - b) / max(n * n * (n - 1), 1) for n, a, b, _ in counts
  )
  return Overlap(
    num_both,
    num_kept - num_both,
    _jaccard(num_both, num_kept),
    float(chance_both),
    math.sqrt(variance),
    _jaccard(chance_both, num_kept),
  )


def _jaccard(num_both, num_kept):
  return num_both / (num_kept - num_both) if num_kept else 1.0
