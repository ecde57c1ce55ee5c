"""Leaves of any pytree by name, and what lies at a mask's leaves.

A mask tree is shaped like the params, with `None` where nothing can be pruned.
To JAX `None` is a node without leaves, so the two differ in structure; and the
same weights may lie in an NNX module, its state, a pure dict or Linen's boxes.
All modules therefore pair leaves here, by name. Everything else in the params
(`None` nodes, activation functions, numbers) passes through untouched.
"""

import collections
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any

_VALUE = jax.tree_util.GetAttrKey("value")

# Counts are int32, the widest integer that JAX has by default.
_MAX_COUNT = 2**31 - 1


class Leaf(NamedTuple):
  """A leaf of a tree.

  Attributes:
    name: keys from the root, such as `Dense_2/kernel`, without the `value` of
      a box around a single leaf (NNX variables, Linen's partitioning metadata).
    value: the leaf.
    owner: names of the classes, bases last, of the innermost node around it
      that is no tuple, list or dict.
  """

  name: str
  value: Any
  owner: str


def named(tree: PyTree, kind: type | tuple[type, ...] = ()) -> list[Leaf]:
  """All leaves, in leaf order; nodes of a kind count as leaves."""
  owners, num_children = {}, collections.Counter()

  def visit(path, node):
    if type(node) in (tuple, list, dict):
      owners[path] = owners.get(path[:-1], "")
    else:
      owners[path] = " ".join(kind.__name__ for kind in type(node).__mro__)
    num_children[path[:-1]] += len(path) > 0
    return isinstance(node, kind)

  def name(path):
    while path[-1:] == (_VALUE,) and num_children[path[:-1]] == 1:
      path = path[:-1]
    return jax.tree_util.keystr(path, simple=True, separator="/")

  leaves = jax.tree.leaves_with_path(
    tree, is_leaf=visit, is_leaf_takes_path=True
  )
  return [Leaf(name(path), value, owners[path[:-1]]) for path, value in leaves]


def names(tree: PyTree) -> list[str]:
  """Names of all leaves, in leaf order."""
  return [leaf.name for leaf in named(tree)]


def by_name(tree: PyTree, values: Sequence[Any]) -> dict[str, Any]:
  """One value for each leaf, by the leaf's name.

  Raises:
    ValueError: two leaves have the same name, such as `{"a/b": ...}` and
      `{"a": {"b": ...}}`.
  """
  keys = names(tree)
  found = dict(zip(keys, values, strict=True))
  if len(found) < len(keys):
    raise ValueError(f"leaves share a name: {sorted(keys)}")
  return found


def is_array(leaf: Leaf) -> bool:
  """Whether a leaf is an array, of JAX or of NumPy, or describes one.

  Raises:
    TypeError: the array is one of another library.
  """
  if not (hasattr(leaf.value, "shape") and hasattr(leaf.value, "dtype")):
    return False
  try:
    jnp.issubdtype(leaf.value.dtype, np.generic)
  except TypeError:
    kind = type(leaf.value)
    raise TypeError(
      f"{leaf.name!r} is a {kind.__module__}.{kind.__qualname__}, not an array "
      "of JAX or NumPy: convert it first"
    ) from None
  return True


def is_float(leaf: Leaf) -> bool:
  """Whether a leaf is an array of real or complex floats."""
  return is_array(leaf) and jnp.issubdtype(leaf.value.dtype, jnp.inexact)


def at_masks(tree: PyTree, masks: PyTree, what: str) -> list[Any]:
  """Leaves of `tree` where `masks` has leaves, in the masks' leaf order.

  Args:
    tree: any pytree with a leaf of each name that `masks` has.
    masks: a mask tree, or any tree with leaves of the same names.
    what: how an error message calls `tree`.

  Returns:
    One leaf of `tree` for each leaf of `masks`.

  Raises:
    ValueError: names the first leaf that `tree` lacks, or leaves that share a
      name.
  """
  leaves = by_name(tree, jax.tree.leaves(tree))
  wanted = by_name(masks, jax.tree.leaves(masks))
  for name in wanted:
    if name not in leaves:
      raise ValueError(f"masks have a leaf {name!r}, {what} have none")
  return [leaves[name] for name in wanted]


def check(tree: PyTree, masks: PyTree, what: str) -> None:
  """Raises a ValueError that names the leaf at which masks do not fit.

  Args:
    tree: a pytree with an array wherever `masks` has a leaf.
    masks: a mask tree.
    what: how an error message calls `tree`.

  Raises:
    ValueError: a mask is not a bool array, `tree` has no array at its place, or
      the shapes differ.
  """
  check_masks(masks)
  at_masks(tree, masks, what)
  shapes = {leaf.name: leaf.value.shape for leaf in named(masks)}
  for leaf in named(tree):
    if leaf.name not in shapes:
      continue
    if not is_array(leaf):
      raise ValueError(f"{what} have no array at {leaf.name!r}: {leaf.value!r}")
    if leaf.value.shape != shapes[leaf.name]:
      raise ValueError(
        f"mask {leaf.name!r} has shape {shapes[leaf.name]}, "
        f"{what} {leaf.value.shape}"
      )


def check_masks(masks: PyTree) -> None:
  """Raises a ValueError that names the first leaf that is no bool array.

  Raises:
    ValueError: also if there is no leaf at all.
  """
  leaves = named(masks)
  if not leaves:
    raise ValueError(
      f"the masks, a {type(masks).__name__}, hold no mask: masks.full(params) "
      "makes them"
    )
  for leaf in leaves:
    if not is_array(leaf) or leaf.value.dtype != bool:
      kind = getattr(leaf.value, "dtype", type(leaf.value).__name__)
      raise ValueError(f"mask {leaf.name!r} is {kind}, not a bool array")


def map_masked(
  function: Callable[..., Any],
  tree: PyTree,
  masks: PyTree,
  *others: PyTree,
  what: str,
) -> PyTree:
  """`tree` with `function(leaf, mask, *others)` where there is a mask.

  Args:
    function: gives the new leaf.
    tree: any pytree; its other leaves pass through.
    masks: a mask tree.
    *others: more trees with a leaf for each mask.
    what: how an error message calls `tree`.

  Returns:
    The new leaves, in the containers of `tree`.

  Raises:
    ValueError: as `check`.
  """
  check(tree, masks, what)
  columns = [at_masks(other, masks, what) for other in (masks, *others)]
  arguments = dict(zip(names(masks), zip(*columns)))
  leaves = [
    function(leaf.value, *arguments[leaf.name])
    if leaf.name in arguments
    else leaf.value
    for leaf in named(tree)
  ]
  return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def true_like(leaf: Any) -> jax.Array:
  """True for each entry of an array, on the devices where that entry lies."""
  if not isinstance(leaf, jax.Array):
    return jnp.ones(leaf.shape, bool)
  # Not `ones_like`: under `jit` its result would not depend on the leaf, and
  # without `jax.set_mesh` JAX could not tell its devices.
  return jnp.equal(leaf, leaf) | True


def ravel(leaf: jax.Array) -> jax.Array:
  """All entries on one axis that is not sharded, also of Explicit axes."""
  mesh = jax.typeof(leaf).sharding.mesh
  return jnp.ravel(leaf, out_sharding=jax.NamedSharding(mesh, jax.P(None)))


def replace_leaves(tree: PyTree, leaves: list[Any]) -> PyTree:
  """`tree` with other leaves, given in leaf order.

  Returns:
    The leaves in the containers of `tree`. If one of them refuses or converts
    what is not a weight, such as a dataclass that looks at its fields in
    `__post_init__`, a flat dict of the leaves by name, in the same order.
  """
  try:
    replaced = jax.tree.unflatten(jax.tree.structure(tree), leaves)
  except Exception:  # whatever the container raises
    replaced = None
  found, wanted = jax.tree.leaves(replaced), jax.tree.leaves(leaves)
  if len(found) == len(wanted) and all(map(operator.is_, found, wanted)):
    return replaced
  return collections.OrderedDict(by_name(tree, leaves))


def size(tree: PyTree) -> int:
  """Number of entries of all arrays.

  Raises:
    ValueError: there are 2^31 or more, too many to count on the device.
  """
  entries = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
  if entries > _MAX_COUNT:
    raise ValueError(
      f"{entries} entries to count together, of which int32 holds {_MAX_COUNT}:"
      " prune or count leaf by leaf (scope='layer', density_by_name), and split"
      " a leaf that is too large by itself"
    )
  return entries


def check_scope(scope: str) -> None:
  """Raises a ValueError unless a scope is `layer` or `global`."""
  if scope not in ("layer", "global"):
    raise ValueError(f"unknown scope {scope!r}: use 'layer' or 'global'")
