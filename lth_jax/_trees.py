"""Leaves of any pytree by name, and the leaves at a mask's place.

A mask tree is shaped like the params, with `None` where nothing can be pruned.
To JAX `None` is a node without leaves, so the two differ in structure; and the
same weights may be in an NNX module, its state, a pure dict or Linen's boxes.
All modules therefore pair leaves here, by name. Everything else in the params
(`None` nodes, activation functions, numbers) passes through untouched.
"""

import collections
import math
import operator
import re
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
  """Lists all leaves, in leaf order; nodes of a kind count as leaves."""
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
  """Lists the names of all leaves, in leaf order."""
  return [leaf.name for leaf in named(tree)]


def by_name(tree: PyTree, values: Sequence[Any]) -> dict[str, Any]:
  """Returns {name of the leaf: its value}.

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
  """Returns whether a leaf is an array of JAX or NumPy, or describes one.

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
  """Returns whether a leaf is an array of real or complex floats."""
  return is_array(leaf) and jnp.issubdtype(leaf.value.dtype, jnp.inexact)


def at_masks(tree: PyTree, masks: PyTree, what: str) -> list[Any]:
  """Lists the leaves of `tree` where `masks` has leaves, in its leaf order.

  Args:
    tree: any pytree.
    masks: any tree with leaves of the same names, of any kind.
    what: name of `tree` in an error message.

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


def arrays_at_masks(tree: PyTree, masks: PyTree, what: str) -> list[Any]:
  """Lists the arrays of `tree` that have a mask, as `at_masks`, and checks all.

  Raises:
    ValueError: names the leaf; a mask is not a bool array, `tree` has no array
      at its place, or the shapes differ.
  """
  check_masks(masks)
  arrays = at_masks(tree, masks, what)
  for (name, mask, _), array in zip(named(masks), arrays):
    if not is_array(Leaf(name, array, "")):
      raise ValueError(f"{what} have no array at {name!r}: {array!r}")
    if array.shape != mask.shape:
      raise ValueError(
        f"mask {name!r} has shape {mask.shape}, {what} {array.shape}"
      )
  return arrays


def check_masks(masks: PyTree) -> None:
  """Raises a ValueError that names the first leaf that is not a bool array.

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
  """Returns `tree` with `function(leaf, mask, *others)` at each mask.

  `tree` is checked by `arrays_at_masks`, each of `others` by `at_masks`.
  """
  arrays = arrays_at_masks(tree, masks, what)
  columns = [at_masks(other, masks, what) for other in others]
  rows = zip(arrays, jax.tree.leaves(masks), *columns)
  new = dict(zip(names(masks), [function(*row) for row in rows]))
  leaves = [new.get(leaf.name, leaf.value) for leaf in named(tree)]
  return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def true_like(leaf: Any) -> jax.Array:
  """Returns True for each entry of an array, on the devices of that entry."""
  if not isinstance(leaf, jax.Array):
    return jnp.ones(leaf.shape, bool)
  # Not `ones_like`: under `jit` its result would not depend on the leaf, and
  # without `jax.set_mesh` JAX could not tell its devices.
  return jnp.equal(leaf, leaf) | True


def ravel(leaf: jax.Array) -> jax.Array:
  """Returns all entries on one axis, not sharded, also of Explicit axes."""
  mesh = jax.typeof(leaf).sharding.mesh
  return jnp.ravel(leaf, out_sharding=jax.NamedSharding(mesh, jax.P(None)))


def replace_leaves(tree: PyTree, leaves: list[Any]) -> PyTree:
  """Returns `tree` with other leaves, given in leaf order.

  If a container of `tree` refuses or converts the leaves, such as a dataclass
  that checks its fields in `__post_init__`, the result is a flat dict by name,
  in the same order.
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
  """Counts the entries of all arrays.

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


def by_rules(names: Sequence[str], rules: Sequence[tuple[str, Any]]) -> list:
  """Lists the value that rules give to each name.

  Args:
    names: names of leaves.
    rules: `(pattern, value)`; the first pattern that is found decides.

  Raises:
    ValueError: a name that no rule matches, a rule that decides no name, or a
      pattern that is no regular expression or ends within a number of a name.
    TypeError: rules are no `(pattern, value)` pairs.
  """
  _check_rules(rules)
  patterns = [_compile(pattern) for pattern, _ in rules]
  decided = [_first_match(patterns, name) for name in names]
  for i, (pattern, _) in enumerate(rules):
    if i not in decided:
      raise ValueError(f"rule {pattern!r} decides no leaf of {list(names)}")
  return [rules[i][1] for i in decided]


def _check_rules(rules):
  if not isinstance(rules, Sequence):
    raise TypeError(
      f"rules are a {type(rules).__name__}, not a list of (pattern, rate) pairs"
    )
  for rule in rules:
    if not isinstance(rule, tuple | list) or len(rule) != 2:
      raise TypeError(f"rule {rule!r} is no (pattern, rate) pair")


def _compile(pattern):
  if not isinstance(pattern, str | re.Pattern):
    raise TypeError(f"rule {pattern!r} is no string")
  try:
    return re.compile(pattern)
  except re.error as error:
    raise ValueError(
      f"rule {pattern!r} is no regular expression: {error}"
    ) from None


def _first_match(patterns, name):
  for i, pattern in enumerate(patterns):
    if match := pattern.search(name):
      _check_whole(match, name)
      return i
  raise ValueError(f"no rule matches leaf {name!r}")


def _check_whole(match, name):
  """Refuses a match within a number: `Dense_1` does not mean `Dense_12`."""
  for end in match.span():
    if name[:end][-1:].isdigit() and name[end : end + 1].isdigit():
      raise ValueError(
        f"rule {match.re.pattern!r} matches only a part of a number in "
        f"{name!r}: write a slash behind the number, or \\d+ for any number"
      )
