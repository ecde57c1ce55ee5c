"""Values of the weights that masks keep, and of those that they prune."""

from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax import _trees

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
  """Values of the counted weights that are kept, and of those that are not.

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
  _trees.check(params, masks, "params")
  leaves = _trees.at_masks(params, masks, "params")
  pairs = [
    (np.asarray(leaf), np.asarray(mask))
    for leaf, mask in zip(leaves, jax.tree.leaves(masks))
  ]
  return Split(
    _trees.replace_leaves(masks, [leaf[mask] for leaf, mask in pairs]),
    _trees.replace_leaves(masks, [leaf[~mask] for leaf, mask in pairs]),
  )


def values(params: PyTree, masks: PyTree) -> PyTree:
  """Values of the kept weights; of theta_0, what figures 15 and 16 show.

  Args:
    params: any pytree.
    masks: its masks.

  Returns:
    NumPy arrays `[num_kept]`, in flat order, in the containers of `masks`.

  Raises:
    ValueError: names the leaf at which masks do not fit.

  >>> masks = {"w": np.array([[True, False, True]])}
  >>> values({"w": np.array([[1.0, 2.0, 3.0]])}, masks)
  {'w': array([1., 3.])}
  """
  return split(params, masks).kept
