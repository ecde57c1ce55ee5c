"""Masks in bits, to store them; public as `masks.pack` and `masks.unpack`."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from lth_jax import _trees

PyTree = Any


@functools.partial(
  jax.tree_util.register_dataclass, data_fields=["bits"], meta_fields=["shape"]
)
@dataclasses.dataclass(frozen=True)
class Packed:
  """A mask in bits.

  Attributes:
    bits: uint8 `[ceil(size / 8)]`, first entry of the mask in the highest bit.
    shape: of the mask.
  """

  bits: jax.Array
  shape: tuple[int, ...]


def pack(masks: PyTree) -> PyTree:
  """Returns masks with eight entries to a byte.

  The result has a `Packed` for each mask, `None` where masks have it. Its
  leaves are the bits; `jax.eval_shape(pack, masks)` has the same structure, for
  bits that come back from a file.

  Raises:
    ValueError: a mask is not bool.

  >>> pack({"w": jnp.array([[True, False], [True, True]]), "b": None})
  {'b': None, 'w': Packed(bits=Array([176], dtype=uint8), shape=(2, 2))}
  """
  _trees.check_masks(masks)
  packed = [
    Packed(jnp.packbits(_trees.ravel(mask)), mask.shape)
    for mask in jax.tree.leaves(masks)
  ]
  return _trees.replace_leaves(masks, packed)


def unpack(packed: PyTree, like: PyTree) -> PyTree:
  """Returns the masks that were packed, in the containers of `packed`.

  Args:
    packed: what `pack` returned.
    like: a tree with arrays of the masks' shapes at the same names, such as the
      params, or `jax.eval_shape` of them.

  Raises:
    ValueError: there is no packed mask, or names a leaf that is none, that
      `like` lacks or that has another shape there.

  >>> mask = jnp.array([[True, False], [True, True]])
  >>> unpack(pack({"w": mask}), {"w": jnp.zeros((2, 2))})
  {'w': Array([[ True, False],
         [ True,  True]], dtype=bool)}
  """
  leaves = _trees.named(packed, Packed)
  if not leaves:
    raise ValueError(f"a {type(packed).__name__} holds no packed mask")
  likes = {
    leaf.name: leaf.value
    for leaf in _trees.named(like)
    if _trees.is_array(leaf)
  }
  for name, mask, _ in leaves:
    _check_packed(name, mask, likes.get(name))

  def one(name, packed):
    size = math.prod(packed.shape)
    mask = jnp.unpackbits(_trees.ravel(packed.bits), count=size).astype(bool)
    return _trees.true_like(likes[name]) & mask.reshape(packed.shape)

  masks = [one(name, packed) for name, packed, _ in leaves]
  structure = jax.tree.structure(
    packed, is_leaf=lambda x: isinstance(x, Packed)
  )
  return jax.tree.unflatten(structure, masks)


def _check_packed(name, mask, like):
  """Raises a ValueError unless bits of a mask fit its shape and the array."""
  if not isinstance(mask, Packed):
    raise ValueError(f"{name!r} is a {type(mask).__name__}, not from pack")
  if like is None or mask.shape != like.shape:
    raise ValueError(
      f"packed mask {name!r} has shape {mask.shape}, params "
      f"{'have none' if like is None else like.shape}"
    )
  if mask.bits.shape != (-(-math.prod(mask.shape) // 8),):
    raise ValueError(
      f"packed mask {name!r} has {list(mask.bits.shape)} bytes for the shape "
      f"{mask.shape}"
    )
