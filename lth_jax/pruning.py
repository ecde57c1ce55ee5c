"""Pruning: scores and masks in, smaller masks out, by exact counts.

The lowest scores leave. Among equal scores the earlier in leaf order, then in
flat order, leaves first; -0.0 equals 0.0. What was pruned never returns.
"""

import math
import numbers
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
  signed: bool = False,
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
    signed: whether scores below 0 are meant. Otherwise they are an error, since
      they are likely weights instead of their magnitudes.

  Returns:
    Masks in the containers of `masks`.

  Raises:
    ValueError: a rate outside [0, 1), or one that removes all that a layer
      (`global`: all leaves) has left; different nonzero rates in global scope,
      an unknown scope, trees that do not fit, NaN or negative numbers among the
      scores of kept weights, or 2^31 entries or more to rank. Under tracing
      numbers are not seen: NaN ranks lowest, and a layer may lose all.
    TypeError: a rate that is traced or no number, scores that are not real
      floats, or are float64 while JAX is limited to float32, which would make
      ties of different scores.

  >>> masks = {"w": jnp.ones((1, 5), bool), "b": None}
  >>> scores = {"w": jnp.array([[0.3, 0.1, 0.2, 0.5, 0.4]]), "b": None}
  >>> prune(scores, masks, 0.4)["w"]
  Array([[ True, False, False,  True,  True]], dtype=bool)
  """
  _check_scores(scores, masks)
  groups = _groups(masks, fraction, scope)
  for members, _ in groups:
    _trees.size([jax.tree.leaves(masks)[i] for i in members])
  kept = _kept_counts(scores, masks, signed)
  removed = []
  for members, rate in groups:
    num_kept = sum(kept[i] for i in members)
    removed.append((members, num_removed(num_kept, rate)))
    if isinstance(num_kept, int) and 0 < num_kept == removed[-1][1]:
      emptied = [_trees.names(masks)[i] for i in members]
      raise ValueError(
        f"rate {rate} removes all {num_kept} weights of {emptied}"
      )
  return _remove(scores, masks, removed)


def keep(
  scores: PyTree, masks: PyTree, counts: PyTree, *, signed: bool = False
) -> PyTree:
  """Keeps an exact number of weights of each leaf: those that score highest.

  Args:
    scores: a tree with a float array for each mask.
    masks: a mask tree.
    counts: an integer for each mask, in its containers or by leaf name (as from
      `count_schedule`); at most as many as the mask keeps, and may be traced.
    signed: as for `prune`.

  Returns:
    Masks in the containers of `masks`.

  Raises:
    ValueError: a count is negative or larger than what is left, or as `prune`.
    TypeError: a count is not an integer, or as `prune`.

  >>> scores = {"w": jnp.array([[3.0, 1.0, 2.0]])}
  >>> keep(scores, {"w": jnp.ones((1, 3), bool)}, {"w": 2})["w"]
  Array([[ True, False,  True]], dtype=bool)
  """
  _check_scores(scores, masks)
  for mask in jax.tree.leaves(masks):
    _trees.size(mask)
  kept = _kept_counts(scores, masks, signed)
  wanted = _trees.at_masks(counts, masks, "counts")
  for name, count, num_kept in zip(_trees.names(masks), wanted, kept):
    _check_count(name, count, num_kept)
  removed = [([i], n - count) for i, (n, count) in enumerate(zip(kept, wanted))]
  return _remove(scores, masks, removed)


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
      pattern that is no regular expression or ends within a number of a leaf
      that it decides, a rate outside [0, 1).
    TypeError: rules that are no `(pattern, rate)` pairs, such as a dict.

  >>> mask = jnp.ones((2, 2), bool)
  >>> masks = {"fc": {"kernel": mask}, "out": {"kernel": mask, "bias": None}}
  >>> fractions(masks, [("out", 0.1), ("kernel", 0.2)])
  {'fc': {'kernel': 0.2}, 'out': {'bias': None, 'kernel': 0.1}}
  """
  _trees.check_masks(masks)
  _check_rules(rules)
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
  """Weights that each leaf keeps, round by round, in layer scope.

  In global scope the scores decide what each leaf keeps; only the total is
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
  return _num_removed_array(jnp.asarray(kept, jnp.int32), rate)


def _remove(scores, masks, removed):
  """Drops the lowest scores: `removed` is `[(leaf positions, count), ...]`."""
  values = _trees.at_masks(scores, masks, "scores")
  new = jax.tree.leaves(masks)
  for members, count in removed:
    smaller = _ranking.remove_lowest(
      [values[i] for i in members], [new[i] for i in members], count
    )
    for i, mask in zip(members, smaller):
      new[i] = mask
  return _trees.replace_leaves(masks, new)


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
  _check_no_other(fraction, masks)
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


def _check_no_other(fraction, masks):
  known = _trees.names(masks)
  for name in _trees.names(fraction):
    if name not in known:
      raise ValueError(f"fractions have a leaf {name!r}, masks have none")


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
  if not isinstance(num_rounds, numbers.Integral):
    raise TypeError(f"{num_rounds!r} rounds: must be an integer")
  if num_rounds < 0:
    raise ValueError(f"{num_rounds} rounds: must be 0 or more")


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


def _first_match(compiled, name):
  for i, (pattern, _) in enumerate(compiled):
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


def _kept_counts(scores, masks, signed):
  """Weights kept in each leaf: Python ints, int32 scalars where traced."""
  values = _trees.at_masks(scores, masks, "scores")
  counts = _survey(values, jax.tree.leaves(masks))
  if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(counts)):
    return counts[0]
  counts = jax.device_get(counts)
  for name, num_nan, num_negative in zip(_trees.names(masks), *counts[1:]):
    if num_nan:
      raise ValueError(f"scores {name!r} of kept weights contain NaN")
    if num_negative and not signed:
      raise ValueError(
        f"scores {name!r} of kept weights are negative: are they weights? "
        "Use scores.magnitude(params), or signed=True for scores below 0"
      )
  return [int(count) for count in counts[0]]


@jax.jit
def _survey(values, masks):
  """Counts the kept weights of each leaf, the NaN and negative among them."""
  counts = [
    _ranking.count_true([m, m & jnp.isnan(v), m & (v < 0)])
    for v, m in zip(values, masks)
  ]
  return tuple(zip(*counts))


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
    spare = 9 + (product >> 62)  # 62 or 63 bits, of which 53 stay
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
