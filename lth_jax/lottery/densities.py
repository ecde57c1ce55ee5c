"""Densities of one's own in the place of the paper's ladder of equal rates."""

from typing import Any

import jax
import numpy as np

PyTree = Any
# Halvings of an interval of exponents: below float64's precision.
_HALVINGS = 100


def fractions(masks: PyTree, rates: PyTree, density: float) -> PyTree:
  """Returns the fractions that take masks to a density in one pruning.

  Each rate r becomes 1 - (1 - r)^e, with one e for all leaves. So leaves keep
  the proportions of the ladder of equal rates, of which e is the number of
  rounds, and leaves with rate 0 stay whole.

  Args:
    masks: concrete masks, bool at prunable leaves.
    rates: tree like the masks, each in [0, 1).
    density: kept / all counted weights afterwards, up to the rounding of
      counts.

  Raises:
    ValueError: the masks are sparser already, or the leaves with rate 0 hold
      more weights than that.

  >>> masks = {"w": np.ones((4, 5), bool), "out": np.ones((2, 5), bool)}
  >>> found = fractions(masks, {"w": 0.2, "out": 0.1}, 0.5)
  >>> {name: round(fraction, 3) for name, fraction in found.items()}
  {'out': 0.337, 'w': 0.581}
  """
  leaves = jax.tree.leaves(masks)
  kept = np.array([np.sum(mask) for mask in leaves], float)
  left = 1 - np.array(jax.tree.leaves(rates), float)
  target = density * sum(mask.size for mask in leaves)
  if target > kept.sum():
    raise ValueError(
      f"density {density:g} is above {kept.sum() / target * density:.4g}, that "
      "of the masks"
    )
  if kept[left == 1].sum() >= target:
    raise ValueError(
      f"density {density:g} cannot be reached: leaves with rate 0 alone have "
      f"{kept[left == 1].sum() / target * density:.4g}"
    )
  low, high = 0.0, 1.0
  while (kept * left**high).sum() > target:
    high *= 2
  for _ in range(_HALVINGS):
    middle = (low + high) / 2
    above = (kept * left**middle).sum() > target
    low, high = (middle, high) if above else (low, middle)
  return jax.tree.map(lambda rate: 1 - (1 - rate) ** high, rates)
