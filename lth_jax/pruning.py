"""Pruning: scores and masks in, smaller masks out, by exact counts.

The lowest scores are pruned. Among equal scores the earlier in leaf order, then
in flat order, are pruned first; -0.0 equals 0.0. Pruned weights never return.
New masks and rates are in the containers of the masks that are given.
"""

import numbers
from collections.abc import Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np

from lth_jax import _ranking, _trees

PyTree = Any


def prune(
  scores: PyTree,
  masks: PyTree,
  fraction: float | PyTree,
  *,
  scope: str = "layer",
  signed: bool = False,
) -> PyTree:
  """Removes the lowest-scoring fraction of the weights that are left.

  Of n weights, `round(rate * n)` are pruned: a float64 product rounded half to
  even, eagerly and under `jax.jit` and `jax.vmap`. Inside `jax.shard_map` each
  device prunes its own part by its own counts.

  Args:
    scores: a tree with a float array for each mask.
    masks: a mask tree.
    fraction: one rate for every leaf, or a tree of rates as from `fractions`.
      A rate is a number in [0, 1), never traced; at 0 a leaf keeps what it
      has.
    scope: `layer`: each leaf loses its own fraction (paper, section 1).
      `global`: the leaves with a rate above 0 lose one fraction of all their
      weights together (paper, section 4).
    signed: whether scores below 0 are meant. Otherwise they are an error, since
      they are likely weights instead of their magnitudes.

  Raises:
    ValueError: a rate outside [0, 1), or one that removes all weights left in a
      layer (`global`: in all leaves); different nonzero rates in global scope,
      an unknown scope, trees that do not fit, NaN or negative scores of kept
      weights, or 2^31 entries or more to rank. Under tracing numbers cannot be
      checked: NaN ranks lowest, and a layer may lose all.
    TypeError: a rate that is traced or not a number; scores that are not real
      floats, or float64 that JAX would round to float32.

  >>> masks = {"w": jnp.ones((1, 5), bool), "b": None}
  >>> scores = {"w": jnp.array([[0.3, 0.1, 0.2, 0.5, 0.4]]), "b": None}
  >>> prune(scores, masks, 0.4)["w"]
  Array([[ True, False, False,  True,  True]], dtype=bool)
  """
  values = _ranking.at_masks(scores, masks)
  groups = _groups(masks, fraction, scope)
  for members, _ in groups:
    _trees.size([values[i] for i in members])
  kept = _ranking.kept_counts(values, masks, signed)
  removed = []
  for members, rate in groups:
    num_kept = sum(kept[i] for i in members)
    count = num_removed(num_kept, rate)
    removed.append((members, count))
    if isinstance(num_kept, int) and 0 < num_kept == count:
      emptied = [_trees.names(masks)[i] for i in members]
      raise ValueError(
        f"rate {rate} removes all {num_kept} weights of {emptied}"
      )
  return _remove(values, masks, removed)


def keep(
  scores: PyTree, masks: PyTree, counts: PyTree, *, signed: bool = False
) -> PyTree:
  """Keeps an exact number of weights of each leaf, those of highest score.

  Args:
    scores: a tree with a float array for each mask.
    masks: a mask tree.
    counts: an integer for each mask, in its containers or by leaf name (as from
      `count_schedule`); no more than the mask keeps; may be traced.
    signed: as for `prune`.

  Raises:
    ValueError: a count is negative or larger than what is left, or as `prune`.
    TypeError: a count is not an integer, or as `prune`.

  >>> scores = {"w": jnp.array([[3.0, 1.0, 2.0]])}
  >>> keep(scores, {"w": jnp.ones((1, 3), bool)}, {"w": 2})["w"]
  Array([[ True, False,  True]], dtype=bool)
  """
  values = _ranking.at_masks(scores, masks)
  for value in values:
    _trees.size(value)
  kept = _ranking.kept_counts(values, masks, signed)
  wanted = _trees.at_masks(counts, masks, "counts")
  for name, count, num_kept in zip(_trees.names(masks), wanted, kept):
    _check_count(name, count, num_kept)
  removed = [([i], n - count) for i, (n, count) in enumerate(zip(kept, wanted))]
  return _remove(values, masks, removed)


def fractions(masks: PyTree, rules: Sequence[tuple[str, float]]) -> PyTree:
  """Returns a rate for each mask, from rules on the leaf names.

  Args:
    masks: a mask tree.
    rules: `(pattern, rate)`; the first pattern that `re.search` finds in a
      leaf's name gives its rate, a number in [0, 1).

  Raises:
    ValueError: a leaf that no rule matches, a rule that decides no leaf, a
      pattern that is not a regular expression or ends within a number of a
      leaf's name, a rate outside [0, 1).
    TypeError: rules are not `(pattern, rate)` pairs.

  >>> mask = jnp.ones((2, 2), bool)
  >>> masks = {"fc": {"kernel": mask}, "out": {"kernel": mask, "bias": None}}
  >>> fractions(masks, [("out", 0.1), ("kernel", 0.2)])
  {'fc': {'kernel': 0.2}, 'out': {'bias': None, 'kernel': 0.1}}
  """
  _trees.check_masks(masks)
  rates = [_rate(rate) for rate in _trees.by_rules(_trees.names(masks), rules)]
  return _trees.replace_leaves(masks, rates)


def one_shot(fraction: float | PyTree, round: int) -> float | PyTree:
  """Returns the fraction that reaches a round of a schedule at once.

  Args:
    fraction: rate of one round: a number, or a tree as from `fractions`.
    round: number of rounds, 0 or more.

  Returns:
    `1 - (1 - rate) ** round`, for each rate.

  Raises:
    ValueError: no rate, one outside [0, 1), a negative round, or a fraction
      that is 1 in float64.
    TypeError: a rate that is no number, or a round that is no integer.

  >>> one_shot(0.5, 3)
  0.875
  """
  _check_rounds(round)

  def at_once(rate):
    removed = 1 - (1 - _rate(rate)) ** round
    if removed >= 1:
      raise ValueError(f"rate {rate} leaves nothing after {round} rounds")
    return removed

  if not jax.tree.leaves(fraction):
    raise ValueError(f"fraction {fraction} holds no rate: give one in [0, 1)")
  rates = [at_once(rate) for rate in jax.tree.leaves(fraction)]
  return _trees.replace_leaves(fraction, rates)


def count_schedule(
  masks: PyTree, fraction: float | PyTree, num_rounds: int
) -> tuple[dict[str, int], ...]:
  """Returns the count that each leaf keeps, round by round, in layer scope.

  In global scope the scores decide the count of each leaf; only the total is
  known beforehand, see `density_schedule`.

  Args:
    masks: concrete masks at which the schedule begins.
    fraction: as for `prune`.
    num_rounds: number of prunings.

  Returns:
    For each of the rounds 0 to `num_rounds`, exact counts by leaf name; 0 where
    `prune` would refuse to empty a layer.

  Raises:
    ValueError: as `prune`.

  >>> count_schedule({"w": jnp.ones((10, 10), bool)}, 0.2, 3)
  ({'w': 100}, {'w': 80}, {'w': 64}, {'w': 51})
  """
  _check_schedule(masks, num_rounds)
  rates = _rates(masks, fraction)
  kept = [int(np.sum(mask)) for mask in jax.tree.leaves(masks)]
  rounds = _ladder(kept, rates, num_rounds)
  return tuple(_trees.by_name(masks, counts) for counts in rounds)


def density_schedule(
  masks: PyTree,
  fraction: float | PyTree,
  num_rounds: int,
  *,
  scope: str = "layer",
) -> tuple[float, ...]:
  """Returns P_m, kept / all counted weights, in rounds 0 to `num_rounds`.

  Masks and errors are as for `count_schedule`; `scope` as for `prune`.

  >>> density_schedule({"w": jnp.ones((10, 10), bool)}, 0.2, 3)
  (1.0, 0.8, 0.64, 0.51)
  """
  _check_schedule(masks, num_rounds)
  leaves = jax.tree.leaves(masks)
  total = sum(mask.size for mask in leaves)
  if total == 0:
    raise ValueError("masks without an entry have no density")
  groups = _groups(masks, fraction, scope)
  kept = [int(np.sum(mask)) for mask in leaves]
  ranked = [sum(kept[i] for i in members) for members, _ in groups]
  rounds = _ladder(ranked, [rate for _, rate in groups], num_rounds)
  fixed = sum(kept) - sum(ranked)
  return tuple((fixed + sum(counts)) / total for counts in rounds)


@overload
def num_removed(kept: int, rate: float) -> int: ...
@overload
def num_removed(kept: jax.Array, rate: float) -> jax.Array: ...
def num_removed(kept, rate):
  """Returns `round(rate * kept)`: a float64 product, then half to even.

  Args:
    kept: a Python int, or an integer array below 2^31 (also traced), any shape;
      the result is an int or an int32 array of the same numbers.
    rate: Python float in [0, 1).

  Raises:
    ValueError: a rate outside [0, 1), a negative int, or NumPy integers that
      int32 cannot hold.
    TypeError: counts that are no integers, or a rate that is no number.

  >>> num_removed(5, 0.1), num_removed(15, 0.1), num_removed(50_000_003, 0.1)
  (0, 2, 5000000)
  >>> [int(n) for n in num_removed(jnp.array([5, 15, 50_000_003]), 0.1)]
  [0, 2, 5000000]
  """
  rate = _rate(rate)
  if isinstance(kept, numbers.Integral) and not isinstance(kept, bool):
    if kept < 0:
      raise ValueError(f"count {kept} is negative")
    return round(rate * int(kept))
  if not isinstance(kept, np.ndarray | jax.Array) or not jnp.issubdtype(
    kept.dtype, jnp.integer
  ):
    raise TypeError(f"counts {kept!r} are no integers")
  if isinstance(kept, np.ndarray) and np.any(kept != kept.astype(np.int32)):
    raise ValueError(f"counts {kept} do not fit in int32")
  return _ranking.round_half_even(jnp.asarray(kept, jnp.int32), rate)


def _remove(values, masks, removed):
  """Drops the lowest scores: `removed` is `[(leaf positions, count), ...]`."""
  new = jax.tree.leaves(masks)
  for members, count in removed:
    smaller = _ranking.remove_lowest(
      [values[i] for i in members], [new[i] for i in members], count
    )
    for i, mask in zip(members, smaller):
      new[i] = mask
  return _trees.replace_leaves(masks, new)


def _ladder(counts, rates, num_rounds):
  """Lists the counts after 0 to `num_rounds` prunings."""
  rounds = [counts]
  for _ in range(num_rounds):
    rounds.append([n - num_removed(n, r) for n, r in zip(rounds[-1], rates)])
  return rounds


def _check_count(name, count, num_kept):
  if not jnp.issubdtype(jnp.result_type(count), jnp.integer):
    raise TypeError(f"count {count!r} of {name!r} is not an integer")
  traced = any(isinstance(x, jax.core.Tracer) for x in (count, num_kept))
  if not traced and not 0 <= count <= num_kept:
    raise ValueError(
      f"count {count} of {name!r} is outside [0, {num_kept}], what it has left"
    )


def _groups(masks, fraction, scope):
  """`[(leaf positions, rate), ...]`: which leaves are ranked together."""
  _trees.check_scope(scope)
  rates = list(enumerate(_rates(masks, fraction)))
  ranked = [(i, rate) for i, rate in rates if rate > 0]
  if scope == "layer":
    return [([i], rate) for i, rate in ranked]
  distinct = sorted({rate for _, rate in ranked})
  if len(distinct) > 1:
    raise ValueError(f"scope 'global' takes one nonzero rate, not {distinct}")
  return [([i for i, _ in ranked], rate) for rate in distinct]


def _rates(masks, fraction):
  if jax.tree_util.treedef_is_leaf(jax.tree.structure(fraction)):
    return [_rate(fraction)] * len(jax.tree.leaves(masks))
  known = _trees.names(masks)
  for name in _trees.names(fraction):
    if name not in known:
      raise ValueError(f"fractions have a leaf {name!r}, masks have none")
  return [_rate(rate) for rate in _trees.at_masks(fraction, masks, "fractions")]


def _rate(rate):
  _check_concrete("rate", rate)
  real = isinstance(rate, numbers.Real) and not isinstance(rate, bool)
  if isinstance(rate, np.ndarray | jax.Array):
    real = rate.ndim == 0 and jnp.issubdtype(rate.dtype, jnp.floating)
  if not real:
    raise TypeError(f"rate {rate!r} is no real number: use one such as 0.2")
  if not 0 <= float(rate) < 1:
    raise ValueError(f"rate {rate} is outside [0, 1): 0.2 removes 20%")
  return float(rate)


def _check_concrete(what, value):
  if isinstance(value, jax.core.Tracer):
    raise TypeError(
      f"a {what} is traced, and an exact count needs its value: take it out of "
      "the arguments of jit, vmap or scan, and call once for each value"
    )


def _check_schedule(masks, num_rounds):
  _trees.check_masks(masks)
  for mask in jax.tree.leaves(masks):
    _check_concrete("mask of a schedule", mask)
    _trees.size(mask)
  _check_rounds(num_rounds)


def _check_rounds(num_rounds):
  _check_concrete("number of rounds", num_rounds)
  if not isinstance(num_rounds, numbers.Integral):
    raise TypeError(f"{num_rounds!r} rounds: must be an integer")
  if num_rounds < 0:
    raise ValueError(f"{num_rounds} rounds: must be 0 or more")
