"""Connections that each unit keeps (paper, appendix F.6, figures 21 to 24).

The last two axes of a mask are the units that it connects, `[..., in, out]`:
the units of a dense layer, the channels of a convolution `[H, W, in, out]`.
This is the layout of Flax and Haiku; Equinox's `Linear` is `[out, in]`, and the
two change places. A mask of biases, `[out]`, is one unit's outgoing
connections.
"""

from typing import Any

import jax
import numpy as np

from lth_jax import masks as masks_lib

PyTree = Any


def num_incoming(masks: PyTree) -> PyTree:
  """Counts the connections that each output unit keeps.

  Args:
    masks: a mask tree, leaves `[..., in, out]`.

  Returns:
    int64 arrays `[out]` in the containers of `masks`.

  Raises:
    ValueError: a mask is not bool.

  >>> num_incoming({"w": np.array([[True, False], [True, True]]), "b": None})
  {'b': None, 'w': array([2, 1])}
  """
  return _count(masks, -1)


def num_outgoing(masks: PyTree) -> PyTree:
  """Counts the connections that each input unit keeps.

  Args:
    masks: a mask tree, leaves `[..., in, out]`.

  Returns:
    int64 arrays `[in]` in the containers of `masks`.

  Raises:
    ValueError: a mask is not bool.

  >>> num_outgoing({"w": np.array([[True, False], [True, True]]), "b": None})
  {'b': None, 'w': array([1, 2])}
  """
  return _count(masks, -2)


def _count(masks, unit_axis):
  masks_lib.check(masks, masks)

  def one(mask):
    mask = np.atleast_2d(mask)
    units = mask.ndim + unit_axis
    others = tuple(axis for axis in range(mask.ndim) if axis != units)
    return np.sum(mask, others, dtype=np.int64)

  return jax.tree.map(one, masks)
