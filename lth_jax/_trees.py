"""Leaves of any pytree by path: names, and what lies at a mask's leaves.

A mask tree is shaped like the params, with `None` where nothing can be pruned.
To JAX `None` is a node without leaves, so the two differ in structure. All
modules therefore pair them here, by path. Everything else in the params (`None`
nodes, activation functions, numbers) passes through untouched.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any
Path = tuple[Any, ...]

# Counts are int32, the widest integer that JAX has by default.
_MAX_COUNT = 2**31 - 1


def name(path: Path) -> str:
  """`Dense_2/kernel`; the `.value` that NNX variables add is dropped."""
  match path:
    case (*_, jax.tree_util.DictKey(), jax.tree_util.GetAttrKey(name="value")):
      path = path[:-1]
  return jax.tree_util.keystr(path, simple=True, separator="/")


def names(tree: PyTree) -> list[str]:
  """Names of all leaves, in leaf order."""
  return [name(path) for path, _ in jax.tree.leaves_with_path(tree)]


def by_name(tree: PyTree, values: Sequence[Any]) -> dict[str, Any]:
  """One value for each leaf, by the leaf's name.

  Raises:
    ValueError: two leaves have the same name, such as `{"a/b": ...}` and
      `{"a": {"b": ...}}`.
  """
  named = dict(zip(names(tree), values))
  if len(named) < len(values):
    raise ValueError(f"leaves share a name: {sorted(names(tree))}")
  return named


def is_array(leaf: Any) -> bool:
  """Whether a leaf is an array, of JAX or of NumPy, or describes one."""
  return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def at_masks(tree: PyTree, masks: PyTree, what: str) -> list[Any]:
  """Leaves of `tree` where `masks` has leaves, in the masks' leaf order.

  Args:
    tree: any pytree with a leaf at every path at which `masks` has one.
    masks: a mask tree, or any tree with leaves at the same paths.
    what: how an error message calls `tree`.

  Returns:
    One leaf of `tree` for each leaf of `masks`.

  Raises:
    ValueError: names the first leaf that `tree` lacks.
  """
  leaves = dict(jax.tree.leaves_with_path(tree))
  for path, _ in jax.tree.leaves_with_path(masks):
    if path not in leaves:
      raise ValueError(f"masks have a leaf {name(path)!r}, {what} have none")
  return [leaves[path] for path, _ in jax.tree.leaves_with_path(masks)]


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
  found = at_masks(tree, masks, what)
  for (path, mask), leaf in zip(jax.tree.leaves_with_path(masks), found):
    if not is_array(leaf):
      raise ValueError(f"{what} have no array at {name(path)!r}: {leaf!r}")
    if mask.shape != leaf.shape:
      raise ValueError(
        f"mask {name(path)!r} has shape {mask.shape}, {what} {leaf.shape}"
      )


def check_masks(masks: PyTree) -> None:
  """Raises a ValueError that names the first leaf that is no bool array."""
  for path, mask in jax.tree.leaves_with_path(masks):
    if not is_array(mask) or mask.dtype != bool:
      kind = mask.dtype if is_array(mask) else type(mask).__name__
      raise ValueError(f"mask {name(path)!r} is {kind}, not a bool array")


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
  paths = [path for path, _ in jax.tree.leaves_with_path(masks)]
  columns = [at_masks(other, masks, what) for other in (masks, *others)]
  arguments = dict(zip(paths, zip(*columns)))

  def one(path, leaf):
    return function(leaf, *arguments[path]) if path in arguments else leaf

  return jax.tree.map_with_path(one, tree)


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
  """`tree` with other leaves, given in leaf order."""
  return jax.tree.unflatten(jax.tree.structure(tree), leaves)


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
