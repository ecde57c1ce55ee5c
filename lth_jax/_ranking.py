"""Selection of the lowest scores by exact counts: linear, without a sort."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lth_jax import _trees

PyTree = Any

# Bits of the limit that one pass over the data finds; must divide 8.
_BITS = 2


@jax.jit
def remove_lowest(
  values: list[jax.Array], masks: list[jax.Array], count: int | jax.Array
) -> list[jax.Array]:
  """Drops `count` entries of a list of leaves that are ranked together.

  A search over the bits of the scores finds the score at which to stop, a
  second one over the positions how many entries of that score are dropped.
  Each pass only counts: no sort, no gather, no copy of the scores, and sharded
  leaves stay where they are.

  Args:
    values: scores, real floats; in all fewer than 2^31 entries.
    masks: bool arrays of the same shapes.
    count: number of kept entries to drop, an int or int32 scalar; no more than
      there are. It is data: another count compiles nothing.

  Returns:
    The smaller masks. Ties leave in the order of the list, then in flat order.
  """
  dtype = jnp.result_type(*values)

  def keys(values, masks):
    return [_ordered_bits(v.astype(dtype), m) for v, m in zip(values, masks)]

  def positions(values, masks, limit, first):
    return [
      jnp.where(key == limit, index, _top(index.dtype))
      for key, index in zip(keys(values, masks), _flat_indices(masks, first))
    ]

  limit, num_below = _limit(keys, (values, masks), _unsigned(dtype), count)
  ties = values, masks, limit, jnp.uint32(0)
  end, _ = _limit(positions, ties, jnp.uint32, count - num_below)
  return [
    mask & (key >= limit) & (position >= end)
    for mask, key, position in zip(masks, keys(values, masks), positions(*ties))
  ]


def _limit(keys: Callable[..., list[jax.Array]], leaves, dtype, count):
  """Returns an unsigned integer below which `count` keys lie.

  With ties there may be none; then it is the largest below which fewer lie.

  Args:
    keys: makes them from `leaves`, again in each pass.
    leaves: arguments of `keys`.
    dtype: of the keys, unsigned.
    count: int32 scalar.

  Returns:
    The integer, and how many keys lie below it.
  """

  def unfinished(carry):
    shift, (_, num_below) = carry
    return (shift > 0) & (num_below < count)

  def set_bits(carry):
    shift, found = carry
    # Without the barrier XLA makes the keys before the loop: a second copy of
    # all scores.
    inputs, (limit, num_below) = jax.lax.optimization_barrier((leaves, found))
    shift -= _BITS
    limits = limit + (jnp.arange(2**_BITS, dtype=dtype) << shift.astype(dtype))
    below = jnp.array([num_below, *_num_below(keys(*inputs), limits[1:])])
    # Both ascend, and the first fits. An index would be a gather, which
    # Explicit axes refuse under `vmap`.
    fits = below <= count
    last = [jnp.max(jnp.where(fits, x, 0)) for x in (limits, below)]
    return shift, tuple(last)

  # Made of the count, to have its type: what is on one device and on another
  # differs inside `shard_map`, and Explicit axes of `vmap` belong to a mesh.
  found = jnp.zeros_like(count, dtype), jnp.zeros_like(count, jnp.int32)
  shift = jnp.full_like(count, jnp.iinfo(dtype).bits, jnp.int32)
  return jax.lax.while_loop(unfinished, set_bits, (shift, found))[1]


def at_masks(scores: PyTree, masks: PyTree) -> list[Any]:
  """Lists the scores at each mask.

  Raises:
    ValueError: names the leaf at which the trees do not fit.
    TypeError: scores are no real floats, or JAX would round them.
  """
  values = _trees.arrays_at_masks(scores, masks, "scores")
  for name, value in zip(_trees.names(masks), values):
    if not jnp.issubdtype(value.dtype, jnp.floating):
      raise TypeError(f"scores {name!r} are {value.dtype}, not real floats")
    if jax.dtypes.canonicalize_dtype(value.dtype) != value.dtype:
      raise TypeError(
        f"scores {name!r} are {value.dtype}, which JAX would round: cast them, "
        "or enable jax_enable_x64"
      )
  return values


def kept_counts(
  values: list[Any], masks: PyTree, signed: bool
) -> Sequence[Any]:
  """Counts the weights kept in each leaf: ints, int32 scalars where traced.

  Raises:
    ValueError: concrete scores of kept weights are NaN or, unless `signed`,
      negative.
  """
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


def count_true(arrays: Sequence[jax.Array]) -> Sequence[jax.Array]:
  """Counts the True entries of several bool arrays of one shape, in one pass.

  One reduction of several operands: XLA on CPU takes a tenth of the time that
  it takes for several reductions, or for one of a single operand.

  Args:
    arrays: two or more.

  Returns:
    An int32 scalar for each.
  """
  ones = [array.astype(jnp.int32) for array in arrays]
  zeros = [jnp.int32(0)] * len(ones)
  return jax.lax.reduce(ones, zeros, _add, range(ones[0].ndim))


def round_half_even(kept: jax.Array, rate: float) -> jax.Array:
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


def _num_below(keys, limits):
  """Counts the keys below each limit, over all keys."""
  counts = [count_true([key < limit for limit in limits]) for key in keys]
  return functools.reduce(_add, counts)


def _add(counts, others):
  return [count + other for count, other in zip(counts, others)]


def _top(dtype):
  return ~jnp.zeros((), dtype)


def _unsigned(dtype):
  return jnp.dtype(f"uint{8 * dtype.itemsize}")


def _ordered_bits(values, mask):
  """Unsigned integers in the order of the scores.

  NaN is lowest, and pruned entries are above all, where none is counted.
  The two zeros are made equal on the bits, since the CPU's float comparison
  takes subnormal numbers for zeros.
  """
  unsigned = _unsigned(values.dtype)
  bits = jax.lax.bitcast_convert_type(values, unsigned)
  sign = jnp.asarray(1 << (8 * unsigned.itemsize - 1), unsigned)
  zero = jnp.zeros((), unsigned)
  bits = jnp.where(bits == sign, zero, bits)
  ordered = jnp.where(bits >= sign, ~bits, bits | sign)
  ordered = jnp.where(jnp.isnan(values), zero, ordered)
  return jnp.where(mask, ordered, _top(unsigned))


def _flat_indices(leaves, first):
  """Index of each entry in the concatenation of all leaves, as uint32.

  `first` is that of the very first, 0; an argument, so that XLA cannot know it
  and make the indices before a loop.
  """
  indices, start = [], 0
  for leaf in leaves:
    index, stride = jnp.full(leaf.shape, first + start, jnp.uint32), 1
    for axis in reversed(range(leaf.ndim)):
      iota = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
      index, stride = index + iota * stride, stride * leaf.shape[axis]
    indices.append(index)
    start += leaf.size
  return indices


def _shift_half_even(value, bits):
  """`value / 2**bits` rounded half to even; `bits` is at least 1."""
  quotient = value >> bits
  rest = value - (quotient << bits)
  half = jnp.uint64(1) << (bits - 1)
  up = (rest > half) | ((rest == half) & (quotient % 2 == 1))
  return quotient + up.astype(jnp.uint64)


@jax.jit
def _survey(values, masks):
  """Counts the kept weights of each leaf, the NaN and negative among them."""
  counts = [
    count_true([m, m & jnp.isnan(v), m & (v < 0)])
    for v, m in zip(values, masks)
  ]
  return tuple(zip(*counts))
