"""Weights and their movement in training, in a ticket and outside it."""

from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax import masks as masks_lib

PyTree = Any


class Split(NamedTuple):
  """The counted weights of each leaf in two, in the containers of the masks.

  Attributes:
    kept: arrays `[num_kept]`, in flat order.
    pruned: arrays `[size - num_kept]`, in flat order.
  """

  kept: PyTree
  pruned: PyTree


def split(params: PyTree, masks: PyTree) -> Split:
  """Splits the counted weights into kept and pruned ones (figures 15, 16).

  Args:
    params: any pytree.
    masks: its masks.

  Returns:
    NumPy arrays of the params' dtypes.

  Raises:
    ValueError: names the leaf at which masks do not fit.

  >>> masks = {"w": np.array([[True, False, True]]), "b": None}
  >>> split({"w": np.array([[1.0, 2.0, 3.0]]), "b": np.zeros(3)}, masks)
  Split(kept={'b': None, 'w': array([1., 3.])},
        pruned={'b': None, 'w': array([2.])})
  """
  rows = masks_lib.by_name(masks, params).values()
  pairs = [(np.asarray(mask), np.asarray(leaf)) for mask, leaf in rows]
  structure = jax.tree.structure(masks)
  return Split(
    jax.tree.unflatten(structure, [leaf[mask] for mask, leaf in pairs]),
    jax.tree.unflatten(structure, [leaf[~mask] for mask, leaf in pairs]),
  )


def moved(initial: PyTree, trained: PyTree, masks: PyTree) -> Split:
  """Computes |theta_j - theta_0| of each counted weight (figure 19).

  Args:
    initial: theta_0, real numbers.
    trained: theta_j; in the paper that of the unpruned network.
    masks: masks of a ticket.

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


def grown(initial: PyTree, trained: PyTree, masks: PyTree) -> Split:
  """Computes |theta_j| - |theta_0| of each counted weight (figure 20).

  Args:
    initial: theta_0, real numbers.
    trained: theta_j; in the paper that of the unpruned network.
    masks: masks of a ticket.

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


def _compare(function, initial, trained, masks):
  rows = masks_lib.by_name(masks, initial, trained)
  values = {
    name: function(*(np.asarray(leaf, np.float64) for leaf in leaves))
    for name, (_, *leaves) in rows.items()
  }
  return split(values, masks)
