"""Selection of the lowest scores by rank: exact, linear, without a sort."""

import jax
import jax.numpy as jnp


@jax.jit
def remove_lowest(
  values: list[jax.Array], masks: list[jax.Array], count: int | jax.Array
) -> list[jax.Array]:
  """Drops `count` entries of a list of leaves that are ranked together.

  A bisection on the bits of the scores finds the score at which to stop, one on
  the positions how many of that score go too. Each step counts in one pass: no
  sort, no gather, and sharded leaves stay where they are.

  Args:
    values: scores, real floats; in all fewer than 2^31 entries.
    masks: bool arrays of the same shapes.
    count: how many kept entries leave, an int or int32 scalar; at most as many
      as there are. It is data: another count compiles nothing.

  Returns:
    The smaller masks. Ties leave in the order of the list, then in flat order.
  """
  dtype = jnp.result_type(*values)
  keys = [_ordered_bits(v.astype(dtype), m) for v, m in zip(values, masks)]
  limit = _limit(keys, count)
  rest = count - _num_below(keys, limit)
  positions = [
    jnp.where(key == limit, index, _top(index))
    for key, index in zip(keys, _flat_indices(masks))
  ]
  end = jax.lax.cond(
    rest > 0, lambda: _limit(positions, rest), lambda: jnp.uint32(0)
  )
  return [
    mask & (key >= limit) & (position >= end)
    for mask, key, position in zip(masks, keys, positions)
  ]


def _limit(arrays, count):
  """Largest unsigned integer below which at most `count` entries lie."""
  dtype = arrays[0].dtype
  width = jnp.iinfo(dtype).bits

  def set_bit(i, limit):
    bit = jnp.ones((), dtype) << (width - 1 - i).astype(dtype)
    fits = _num_below(arrays, limit | bit) <= count
    return jnp.where(fits, limit | bit, limit)

  return jax.lax.fori_loop(0, width, set_bit, jnp.zeros((), dtype))


def _num_below(arrays, limit):
  return sum(jnp.sum(array < limit, dtype=jnp.int32) for array in arrays)


def _top(unsigned):
  return ~jnp.zeros((), unsigned.dtype)


def _ordered_bits(values, mask):
  """Unsigned integers in the order of the scores.

  NaN is lowest, and pruned entries are above all, where none is counted.
  The two zeros are made equal on the bits, since the CPU's float comparison
  takes subnormal numbers for zeros.
  """
  unsigned = jnp.dtype(f"uint{8 * values.dtype.itemsize}")
  bits = jax.lax.bitcast_convert_type(values, unsigned)
  sign = jnp.asarray(1 << (8 * unsigned.itemsize - 1), unsigned)
  zero = jnp.zeros((), unsigned)
  bits = jnp.where(bits == sign, zero, bits)
  ordered = jnp.where(bits >= sign, ~bits, bits | sign)
  ordered = jnp.where(jnp.isnan(values), zero, ordered)
  return jnp.where(mask, ordered, _top(bits))


def _flat_indices(leaves):
  """Index of each entry in the concatenation of all leaves, as uint32."""
  indices, start = [], 0
  for leaf in leaves:
    index, stride = jnp.full(leaf.shape, start, jnp.uint32), 1
    for axis in reversed(range(leaf.ndim)):
      iota = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
      index, stride = index + iota * stride, stride * leaf.shape[axis]
    indices.append(index)
    start += leaf.size
  return indices
