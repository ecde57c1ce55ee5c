"""Masks: which weights are kept.

A mask tree is shaped like the params, which are any pytree: a bool array (True
= kept) at each leaf that can be pruned, `None` at every other leaf. It is
passed along with the params, never inside the optimizer state. Every function
works under `jax.jit` and `jax.vmap`; only shapes and dtypes, which are static
there, can raise. An error about trees that do not fit names the leaf. Counts
are int32, so that masks of 2^31 entries or more can be counted leaf by leaf
only.
"""

import itertools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lth_jax import _trees
from lth_jax._packing import Packed as Packed
from lth_jax._packing import pack as pack
from lth_jax._packing import unpack as unpack

PyTree = Any

# Last parts of leaf names in Flax, Haiku, Equinox and their users' layers; NNX
# keeps the scales of WeightNorm under the names of the weights. Running
# statistics (`mean`, `var`) may lie among the params.
_NO_WEIGHT = re.compile(
  r"(^|/)((\w+_)?bias(_\w+)?|b|(\w+_)?scale|scales/[^/]+|offset|gamma|beta"
  r"|negative_slope|mean|var)$"
)
# Equinox calls the scale of a normalisation `weight`, as it does a kernel, and
# keeps statistics in a StateIndex, NNX in a BatchStat.
_NO_WEIGHT_OWNER = re.compile(r"Norm\b|\b(StateIndex|BatchStat)\b")


def is_kernel(name: str, leaf: jax.Array) -> bool:
  """Returns whether a leaf is a weight by its name, dtype and rank.

  A weight has a float dtype, two or more axes, and none of the names of biases,
  normalisation and PReLU: `bias`, `b`, `scale`, `offset`, `gamma`, `beta`,
  `mean`, `var`, `negative_slope`, also as in `query_bias`, `bias_n` or
  `kernel_scale`. Names matter since such leaves have two axes or more in
  attention and in layers stacked by scan or vmap. The name has the keys from
  the root, such as `Dense_0/kernel`.

  >>> is_kernel("kernel", jnp.ones((2, 3))), is_kernel("bias", jnp.ones((2, 3)))
  (True, False)
  """
  return (
    jnp.issubdtype(leaf.dtype, jnp.floating)
    and leaf.ndim >= 2
    and not _NO_WEIGHT.search(name)
  )


def full(
  params: PyTree, *, prunable: Callable[[str, jax.Array], bool] | None = None
) -> PyTree:
  """Returns masks that keep everything.

  By default the weights are prunable, plain or stacked: each leaf for which
  `is_kernel` holds, unless it lies directly in a layer whose class, or a base
  of it, ends in `Norm`, or among running statistics. This means

  * kernels of dense, convolution, attention and recurrent layers, of LoRA, and
    of layers under WeightNorm and SpectralNorm, without biases and the norms'
    own parameters;
  * tables of embeddings and vector quantizers;
  * position tables, class tokens and other params with two or more axes,
    although they weigh no input. `prunable` can leave them out.

  Args:
    params: any pytree. Leaves that are not arrays of real or complex floats
      are never prunable.
    prunable: `(name, leaf) -> bool`, to decide instead of the default.

  Returns:
    Masks in the containers of `params`; in a flat dict by leaf name if those
    refuse masks or `None`, as a dataclass may in `__post_init__`.

  Raises:
    ValueError: no leaf is prunable.
    TypeError: an array of a library other than JAX and NumPy, or `prunable` is
      no function.

  >>> full({"kernel": jnp.ones((1, 2)), "bias": jnp.ones(2)})
  {'bias': None, 'kernel': Array([[ True,  True]], dtype=bool)}
  >>> table = {"pos_embedding": jnp.ones((1, 2)), "kernel": jnp.ones((1, 2))}
  >>> full(table, prunable=lambda name, leaf: name == "kernel")
  {'kernel': Array([[ True,  True]], dtype=bool), 'pos_embedding': None}
  """
  if prunable is not None and not callable(prunable):
    raise TypeError(
      f"prunable is {prunable!r}, not a function of name and leaf"
    )

  def is_prunable(leaf):
    if not _trees.is_float(leaf):
      return False
    if prunable is not None:
      return prunable(leaf.name, leaf.value)
    of_norm = _NO_WEIGHT_OWNER.search(leaf.owner)
    return not of_norm and is_kernel(leaf.name, leaf.value)

  leaves = _trees.named(params)
  found = [
    _trees.true_like(leaf.value) if is_prunable(leaf) else None
    for leaf in leaves
  ]
  masks = _trees.replace_leaves(params, found)
  if not jax.tree.leaves(masks):
    raise ValueError(f"no prunable leaf among {[leaf.name for leaf in leaves]}")
  return masks


def check(masks: PyTree, params: PyTree) -> None:
  """Raises if masks do not belong to params.

  Raises:
    ValueError: at a leaf the masks hold something else than bools, or the
      params hold no array, or the shapes differ.

  >>> check({"w": jnp.ones((2, 2), bool)}, {"w": jnp.ones((2, 3))})
  Traceback (most recent call last):
    ...
  ValueError: mask 'w' has shape (2, 2), params (2, 3)
  """
  _trees.arrays_at_masks(params, masks, "params")


def apply(params: PyTree, masks: PyTree) -> PyTree:
  """Returns params with 0.0 where a mask is False.

  Pruned entries may be infinite or NaN. NumPy's float64 becomes float32 unless
  x64 is enabled.

  Raises:
    ValueError: masks do not fit.

  >>> masks = {"w": jnp.array([[True, False]])}
  >>> apply({"w": jnp.array([[1.0, jnp.nan]])}, masks)
  {'w': Array([[1., 0.]], dtype=float32)}
  """
  return map(
    lambda leaf, mask: jnp.where(mask, leaf, jnp.zeros((), leaf.dtype)),
    params,
    masks,
  )


def map(
  function: Callable[..., Any], params: PyTree, masks: PyTree, *others: PyTree
) -> PyTree:
  """Returns params with other leaves where there is a mask.

  Args:
    function: `(leaf, mask, *others) -> leaf`.
    params: any pytree; its other leaves stay as they are.
    masks: its masks.
    *others: more trees with a leaf for each mask, or dicts by leaf name.

  Raises:
    ValueError: the trees do not fit.

  >>> masks = {"w": jnp.array([[True, False]]), "b": None}
  >>> params = {"w": jnp.ones((1, 2)), "b": 0.5}
  >>> map(lambda leaf, mask: leaf - mask, params, masks)
  {'b': 0.5, 'w': Array([[0., 1.]], dtype=float32)}
  """
  return _trees.map_masked(function, params, masks, *others, what="params")


def by_name(masks: PyTree, *trees: PyTree) -> dict[str, tuple]:
  """Collects each mask with the leaves of other trees at its place.

  Args:
    masks: a mask tree.
    *trees: params, gradients or others with an array for each mask.

  Returns:
    `(mask, leaf, ...)` by leaf name, in leaf order.

  Raises:
    ValueError: the trees do not fit, or leaves share a name.

  >>> mask = jnp.array([[True, False]])
  >>> list(by_name({"fc": {"kernel": mask, "bias": None}}))
  ['fc/kernel']
  """
  columns = [
    _trees.arrays_at_masks(tree, masks, "params") for tree in (masks, *trees)
  ]
  return _trees.by_name(masks, list(zip(*columns)))


def num_kept(masks: PyTree) -> jax.Array:
  """Counts the kept weights: an int32 scalar.

  Raises:
    ValueError: the masks have 2^31 entries or more, or one is not bool.

  >>> int(num_kept({"w": jnp.array([[True, False]]), "b": None}))
  1
  """
  _trees.check_masks(masks)
  _trees.size(masks)
  counts = [jnp.sum(m, dtype=jnp.int32) for m in jax.tree.leaves(masks)]
  return sum(counts, jnp.zeros((), jnp.int32))


def density(masks: PyTree) -> jax.Array:
  """Returns P_m of the paper, kept weights / all counted weights.

  It is a float32 scalar; use `num_kept` where the exact count matters.

  Raises:
    ValueError: the masks have no entry, or 2^31 or more, or one is not bool.

  >>> float(density({"w": jnp.array([[True, False]]), "b": None}))
  0.5
  """
  _trees.check_masks(masks)
  size = _trees.size(masks)
  if size == 0:
    raise ValueError("masks without an entry have no density")
  return num_kept(masks).astype(jnp.float32) / size


def density_by_name(masks: PyTree) -> dict[str, jax.Array]:
  """Returns the density of each leaf, by name, in leaf order.

  Raises:
    ValueError: a leaf has no entry, or 2^31 or more, or is not bool, or two
      leaves share a name.

  >>> masks = {"fc": {"kernel": jnp.array([[True, False]]), "bias": None}}
  >>> {name: float(d) for name, d in density_by_name(masks).items()}
  {'fc/kernel': 0.5}
  """
  return {name: density(mask) for name, (mask,) in by_name(masks).items()}


def intersection(a: PyTree, b: PyTree) -> PyTree:
  """Returns masks that keep what both keep, in the containers of `a`.

  It raises a ValueError if only one has a leaf, or the shapes differ.

  >>> a, b = jnp.array([True, True, False]), jnp.array([True, False, False])
  >>> intersection([a], [b])
  [Array([ True, False, False], dtype=bool)]
  """
  return _combine(jnp.logical_and, a, b)


def union(a: PyTree, b: PyTree) -> PyTree:
  """Returns masks that keep what either keeps; else as `intersection`.

  >>> a, b = jnp.array([True, True, False]), jnp.array([True, False, False])
  >>> union([a], [b])
  [Array([ True,  True, False], dtype=bool)]
  """
  return _combine(jnp.logical_or, a, b)


def difference(a: PyTree, b: PyTree) -> PyTree:
  """Returns masks that keep what only `a` keeps; else as `intersection`.

  >>> a, b = jnp.array([True, True, False]), jnp.array([True, False, False])
  >>> difference([a], [b])
  [Array([False,  True, False], dtype=bool)]
  """
  return _combine(lambda x, y: jnp.logical_and(x, ~y), a, b)


def overlap(a: PyTree, b: PyTree) -> jax.Array:
  """Returns the Jaccard index, kept by both / kept by either: float32.

  It is 1 for two masks that keep nothing, which are equal.

  Raises:
    ValueError: as `intersection`, or 2^31 entries or more.

  >>> a, b = jnp.array([True, True, False]), jnp.array([True, False, False])
  >>> float(overlap([a], [b]))
  0.5
  """
  both, either = num_kept(intersection(a, b)), num_kept(union(a, b))
  some = jnp.maximum(either, 1).astype(jnp.float32)
  ratio = both.astype(jnp.float32) / some
  return jnp.where(either == 0, 1, ratio)


def hamming(a: PyTree, b: PyTree) -> jax.Array:
  """Counts the entries in which two masks differ: an int32 scalar.

  Raises:
    ValueError: as `intersection`, or 2^31 entries or more.

  >>> a, b = jnp.array([True, True, False]), jnp.array([True, False, False])
  >>> int(hamming([a], [b]))
  1
  """
  return num_kept(_combine(jnp.logical_xor, a, b))


def permute(key: jax.Array, masks: PyTree, *, scope: str = "layer") -> PyTree:
  """Returns random masks with the same counts.

  Args:
    key: PRNG key, consumed.
    masks: a mask tree.
    scope: `layer` keeps the count of each leaf, `global` only the total.

  Returns:
    Masks in the containers of `masks`, uniform among those of equal counts.

  Raises:
    ValueError: unknown scope, or a mask that is not bool.

  >>> mask = permute(jax.random.key(0), jnp.array([[True, False, False]]))
  >>> int(num_kept(mask)), mask.shape
  (1, (1, 3))
  """
  _trees.check_scope(scope)
  _trees.check_masks(masks)
  leaves = jax.tree.leaves(masks)
  flat = [_trees.ravel(leaf) for leaf in leaves]
  if scope == "global":
    ends = itertools.accumulate(leaf.size for leaf in leaves[:-1])
    mixed = jax.random.permutation(key, jnp.concatenate(flat))
    flat = jnp.split(mixed, list(ends))
  else:
    keys = jax.random.split(key, len(flat))
    flat = [jax.random.permutation(k, f) for k, f in zip(keys, flat)]
  mixed = [
    _trees.true_like(leaf) & f.reshape(leaf.shape)
    for f, leaf in zip(flat, leaves)
  ]
  return _trees.replace_leaves(masks, mixed)


def _combine(function, a, b):
  _trees.check_masks(b)
  others = _trees.arrays_at_masks(b, a, "the other masks")
  _trees.at_masks(a, b, "the other masks")
  pairs = zip(jax.tree.leaves(a), others)
  return _trees.replace_leaves(a, [function(x, y) for x, y in pairs])
