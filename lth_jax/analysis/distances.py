"""How far training moves weights, in a ticket and outside (appendix F.5)."""

import math
from typing import Any

import jax
import numpy as np

from lth_jax import _trees
from lth_jax.analysis import survivors

PyTree = Any


def moved(initial: PyTree, trained: PyTree, masks: PyTree) -> survivors.Split:
  """|theta_j - theta_0| of each counted weight (figure 19).

  Args:
    initial: theta_0, real numbers.
    trained: theta_j; in the paper that of the unpruned network.
    masks: those of a ticket.

  Returns:
    float64 distances of the weights in the ticket and of the others.

  Raises:
    ValueError: names the leaf at which masks do not fit.

  >>> initial, trained = [np.array([[1.0, 2.0]])], [np.array([[-1.0, 2.5]])]
  >>> moved(initial, trained, [np.array([[True, False]])])
  Split(kept=[array([2.])], pruned=[array([0.5])])
  """
  return _compare(
    lambda before, after: abs(after - before), initial, trained, masks
  )


def grown(initial: PyTree, trained: PyTree, masks: PyTree) -> survivors.Split:
  """|theta_j| - |theta_0| of each counted weight (figure 20).

  Args:
    initial: theta_0, real numbers.
    trained: theta_j; in the paper that of the unpruned network.
    masks: those of a ticket.

  Returns:
    float64 gains in magnitude of the weights in the ticket and of the others.

  Raises:
    ValueError: names the leaf at which masks do not fit.

  >>> initial, trained = [np.array([[1.0, 2.0]])], [np.array([[-1.0, 2.5]])]
  >>> grown(initial, trained, [np.array([[True, False]])])
  Split(kept=[array([0.])], pruned=[array([0.5])])
  """
  return _compare(
    lambda before, after: abs(after) - abs(before), initial, trained, masks
  )


def l2(a: PyTree, b: PyTree, masks: PyTree) -> float:
  """Euclidean distance of two networks over the weights that masks keep.

  The distance of arXiv 1903.01611, section 4: between two trainings of one
  ticket (stability to data order), or of a ticket and of the whole network
  (stability to pruning).

  Args:
    a: any pytree.
    b: another with the same leaves.
    masks: masks of both; what they prune may be anything.

  Returns:
    One float over all leaves; 0.0 if nothing is kept.

  Raises:
    ValueError: names the leaf at which masks do not fit.

  >>> a, b = [np.array([[1.0, 2.0, 9.0]])], [np.array([[4.0, 6.0, 0.0]])]
  >>> l2(a, b, [np.array([[True, True, False]])])
  5.0
  """
  kept = zip(
    jax.tree.leaves(survivors.values(a, masks)),
    jax.tree.leaves(survivors.values(b, masks)),
  )
  return math.sqrt(
    sum(float(np.sum(np.square(_float64(x) - _float64(y)))) for x, y in kept)
  )


def _compare(function, initial, trained, masks):
  for params in (initial, trained):
    _trees.check(params, masks, "params")
  pairs = zip(
    _trees.at_masks(initial, masks, "params"),
    _trees.at_masks(trained, masks, "params"),
  )
  leaves = [function(_float64(x), _float64(y)) for x, y in pairs]
  return survivors.split(_trees.replace_leaves(masks, leaves), masks)


def _float64(leaf):
  return np.asarray(leaf, np.float64)
