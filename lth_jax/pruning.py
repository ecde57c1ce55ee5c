"""Pruning: scores and masks in, smaller masks out, by exact counts.

The lowest scores leave. Among equal scores the earlier in leaf order, then in
flat order, leaves first; -0.0 equals 0.0. What was pruned never returns.
"""

import math
import numbers
import operator
import re
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
) -> PyTree:
  """Removes the lowest-scoring fraction of the weights that are left.

  Of n weights, `round(rate * n)` leave: a float64 product rounded half to
  even, as Python does it, eagerly and under `jax.jit` and `jax.vmap`. Inside
  `jax.shard_map` each device prunes what it holds, by counts of its own.

  Args:
    scores: a tree with a float array for each mask.
    masks: a mask tree.
    fraction: one rate for every leaf, or a tree of rates as from `fractions`.
      A rate is a number in [0, 1), never traced; at 0 a leaf keeps what it
      has.
    scope: `layer`: each leaf loses its own fraction (paper, section 1).
      `global`: the leaves with a rate above 0 lose one fraction of all their
      weights together (paper, section 4).

  Returns:
    Masks in the containers of `masks`.

  Raises:
    ValueError: a rate outside [0, 1), different nonzero rates in global scope,
      an unknown scope, trees that do not fit, NaN among the scores of kept
      weights (traced, NaN ranks lowest), or 2^31 entries or more to rank.
    TypeError: a traced rate, scores that are not real floats, or are float64
      while JAX is limited to float32, which would make ties of different
      scores.

  >>> masks = {"w": jnp.ones((1, 5), bool), "b": None}
  >>> scores = {"w": jnp.array([[0.3, 0.1, 0.2, 0.5, 0.4]]), "b": None}
  >>> prune(scores, masks, 0.4)["w"]
  Array([[ True, False, False,  True,  True]], dtype=bool)
  """
  _check_scores(scores, masks)
  groups = _groups(masks, fraction, scope)
  for members, _ in groups:
    _trees.size([jax.tree.leaves(masks)[i] for i in members])
  values = _trees.at_masks(scores, masks, "scores")
  kept = _kept_counts(masks, values)
  new = jax.tree.leaves(masks)
  for members, rate in groups:
    chosen = [new[i] for i in members]
    count = num_removed(sum(kept[i] for i in members), rate)
    smaller = _ranking.remove_lowest(
      [values[i] for i in members], chosen, count
    )
    for i, mask in zip(members, smaller):
      new[i] = mask
  return _trees.replace_leaves(masks, new)


def fractions(masks: PyTree, rules: Sequence[tuple[str, float]]) -> PyTree:
  """A rate for each mask, from rules on the leaf names.

  Args:
    masks: a mask tree.
    rules: `(pattern, rate)`; the first pattern that `re.search` finds in a
      leaf's name gives its rate, a number in [0, 1).

  Returns:
    Python floats in the containers of `masks`, `None` where masks have it.

  Raises:
    ValueError: a leaf that no rule matches, a rule that decides no leaf, a
      pattern that is no regular expression, a rate outside [0, 1).

  >>> mask = jnp.ones((2, 2), bool)
  >>> masks = {"fc": {"kernel": mask}, "out": {"kernel": mask, "bias": None}}
  >>> fractions(masks, [("out", 0.1), ("kernel", 0.2)])
  {'fc': {'kernel': 0.2}, 'out': {'bias': None, 'kernel': 0.1}}
  """
  compiled = [(_compile(pattern), _rate(rate)) for pattern, rate in rules]
  decided = [_first_match(compiled, name) for name in _trees.names(masks)]
  for i, (pattern, _) in enumerate(rules):
    if i not in decided:
      raise ValueError(
        f"rule {pattern!r} decides no leaf of {_trees.names(masks)}"
      )
  return _trees.replace_leaves(masks, [compiled[i][1] for i in decided])


def one_shot(fraction: float | PyTree, round: int) -> float | PyTree:
  """The fraction that reaches a round of an iterative schedule at once.

  Args:
    fraction: rate of one round: a number, or a tree as from `fractions`.
    round: number of rounds, 0 or more.

  Returns:
    `1 - (1 - rate) ** round`, for each rate.

  Raises:
    ValueError: a rate outside [0, 1), a negative round, or a fraction that is
      1 in float64.

  >>> one_shot(0.5, 3)
  0.875
  """
  _check_rounds(round)

  def at_once(rate):
    removed = 1 - (1 - _rate(rate)) ** round
    if removed >= 1:
      raise ValueError(f"rate {rate} leaves nothing after {round} rounds")
    return removed

  return jax.tree.map(at_once, fraction)


def count_schedule(
  masks: PyTree, fraction: float | PyTree, num_rounds: int
) -> tuple[dict[str, int], ...]:
  """Weights that each leaf keeps, round by round, in layer scope.

  In global scope the scores decide what each leaf keeps; only the total is
  known beforehand, see `density_schedule`.

  Args:
    masks: concrete masks at which the schedule begins.
    fraction: as for `prune`.
    num_rounds: number of prunings.

  Returns:
    For each of the rounds 0 to `num_rounds`, exact counts by leaf name.

  Raises:
    ValueError: as `prune`.

  >>> count_schedule({"w": jnp.ones((10, 10), bool)}, 0.2, 3)
  ({'w': 100}, {'w': 80}, {'w': 64}, {'w': 51})
  """
  _check_counted(masks)
  _check_rounds(num_rounds)
  rates = _rates(masks, fraction)
  rounds = [[int(np.sum(mask)) for mask in jax.tree.leaves(masks)]]
  for _ in range(num_rounds):
    rounds.append([n - num_removed(n, r) for n, r in zip(rounds[-1], rates)])
  return tuple(_trees.by_name(masks, counts) for counts in rounds)


def density_schedule(
  masks: PyTree,
  fraction: float | PyTree,
  num_rounds: int,
  *,
  scope: str = "layer",
) -> tuple[float, ...]:
  """P_m, kept / all counted weights, round by round.

  Args:
    masks: concrete masks at which the schedule begins.
    fraction: as for `prune`.
    num_rounds: number of prunings.
    scope: as for `prune`.

  Returns:
    The densities of rounds 0 to `num_rounds`.

  Raises:
    ValueError: as `prune`.

  >>> density_schedule({"w": jnp.ones((10, 10), bool)}, 0.2, 3)
  (1.0, 0.8, 0.64, 0.51)
  """
  _check_counted(masks)
  _check_rounds(num_rounds)
  leaves = jax.tree.leaves(masks)
  total = sum(mask.size for mask in leaves)
  if total == 0:
    raise ValueError("masks without an entry have no density")
  groups = _groups(masks, fraction, scope)
  counts = [sum(int(np.sum(leaves[i])) for i in group) for group, _ in groups]
  fixed = sum(int(np.sum(mask)) for mask in leaves) - sum(counts)
  densities = [(fixed + sum(counts)) / total]
  for _ in range(num_rounds):
    counts = [n - num_removed(n, r) for n, (_, r) in zip(counts, groups)]
    densities.append((fixed + sum(counts)) / total)
  return tuple(densities)


@overload
def num_removed(kept: int, rate: float) -> int: ...
@overload
def num_removed(kept: jax.Array, rate: float) -> jax.Array: ...
def num_removed(kept, rate):
  """`round(rate * kept)`: a float64 product, then half to even.

  Args:
    kept: a Python int, or an integer array below 2^31 (also traced), any shape.
    rate: Python float in [0, 1).

  Returns:
    A Python int for an int, an int32 array for an array; the same numbers.

  >>> num_removed(5, 0.1), num_removed(15, 0.1), num_removed(50_000_003, 0.1)
  (0, 2, 5000000)
  >>> [int(n) for n in num_removed(jnp.array([5, 15, 50_000_003]), 0.1)]
  [0, 2, 5000000]
  """
  rate = _rate(rate)
  if isinstance(kept, numbers.Integral):
    return round(rate * int(kept))
  return _num_removed_array(jnp.asarray(kept, jnp.int32), rate)


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
  if isinstance(fraction, numbers.Real) or (
    np.ndim(fraction) == 0 and (_trees.is_array(fraction))
  ):
    return [_rate(fraction)] * len(jax.tree.leaves(masks))
  _check_no_other(fraction, masks)
  return [_rate(rate) for rate in _trees.at_masks(fraction, masks, "fractions")]


def _rate(rate):
  _check_concrete("rate", rate)
  if not 0 <= float(rate) < 1:
    raise ValueError(f"rate {rate} is outside [0, 1)")
  return float(rate)


def _check_no_other(fraction, masks):
  known = {path for path, _ in jax.tree.leaves_with_path(masks)}
  for path, _ in jax.tree.leaves_with_path(fraction):
    if path not in known:
      raise ValueError(
        f"fractions have a leaf {_trees.name(path)!r}, masks have none"
      )


def _check_concrete(what, value):
  if isinstance(value, jax.core.Tracer):
    raise TypeError(
      f"a {what} is traced, and an exact count needs its value: take it out of "
      "the arguments of jit, vmap or scan, and call once for each value"
    )


def _check_counted(masks):
  _trees.check_masks(masks)
  for mask in jax.tree.leaves(masks):
    _check_concrete("mask of a schedule", mask)
    _trees.size(mask)


def _check_rounds(num_rounds):
  _check_concrete("number of rounds", num_rounds)
  if operator.index(num_rounds) < 0:
    raise ValueError(f"{num_rounds} rounds: must be 0 or more")


def _compile(pattern):
  try:
    return re.compile(pattern)
  except re.error as error:
    raise ValueError(
      f"rule {pattern!r} is no regular expression: {error}"
    ) from None


def _first_match(compiled, name):
  for i, (pattern, _) in enumerate(compiled):
    if pattern.search(name):
      return i
  raise ValueError(f"no rule matches leaf {name!r}")


def _check_scores(scores, masks):
  _trees.check(scores, masks, "scores")
  values = _trees.at_masks(scores, masks, "scores")
  for name, value in zip(_trees.names(masks), values):
    if not jnp.issubdtype(value.dtype, jnp.floating):
      raise TypeError(f"scores {name!r} are {value.dtype}, not real floats")
    if jax.dtypes.canonicalize_dtype(value.dtype) != value.dtype:
      raise TypeError(
        f"scores {name!r} are {value.dtype}, which JAX would round: cast them, "
        "or enable jax_enable_x64"
      )


def _kept_counts(masks, values):
  """Weights kept in each leaf: Python ints, int32 scalars where traced."""
  leaves = jax.tree.leaves(masks)
  kept, num_nan = _survey(values, leaves)
  if any(isinstance(x, jax.core.Tracer) for x in (*kept, *num_nan)):
    return kept
  for name, num in zip(_trees.names(masks), jax.device_get(num_nan)):
    if num:
      raise ValueError(f"scores {name!r} of kept weights contain NaN")
  return [int(count) for count in jax.device_get(kept)]


@jax.jit
def _survey(values, masks):
  """Counts the kept weights of each leaf, and the NaN among them."""
  counts = [
    _ranking.count_true([m, m & jnp.isnan(v)]) for v, m in zip(values, masks)
  ]
  return tuple(zip(*counts)) or ((), ())


def _num_removed_array(kept, rate):
  """`round(rate * kept)` in integers, since a TPU has no exact float64.

  The product of the 53-bit mantissa and `kept`, shifted left until its leading
  bit is in place, is rounded twice as the processor does it: to the 53 bits of
  a float64, then to an integer.
  """
  mantissa, exponent = math.frexp(rate)
  mantissa = int(mantissa * 2**53)
  with jax.enable_x64(True):
    unused = jax.lax.clz(kept).astype(jnp.uint64) - 1
    kept = kept.astype(jnp.uint64) << unused
    low = kept * jnp.uint64(mantissa & 0xFFFFFFFF)
    high = kept * jnp.uint64(mantissa >> 32) + (low >> 32)
    # The 84-bit product over 2^21; its last bit tells of what is cut off.
    product = (high << 11) | ((low >> 21) & 0x7FF)
    product |= ((low & 0x1FFFFF) != 0).astype(jnp.uint64)
    spare = jnp.where(product >> 62, 10, 9).astype(jnp.uint64)
    product = _shift_half_even(product, spare) << spare
    shift = unused + jnp.uint64(53 - exponent - 21)
    rounded = _shift_half_even(product, jnp.minimum(shift, 63))
    return jnp.where(shift < 64, rounded, 0).astype(jnp.int32)


def _shift_half_even(value, bits):
  """`value / 2**bits` rounded half to even; `bits` is at least 1."""
  quotient = value >> bits
  rest = value - (quotient << bits)
  half = jnp.uint64(1) << (bits - 1)
  up = (rest > half) | ((rest == half) & (quotient % 2 == 1))
  return quotient + up.astype(jnp.uint64)
