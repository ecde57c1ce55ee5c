"""The key of every random number in a run, and who shares it.

Every key is a function of the run's seed and of where it is used, so that no
result depends on which trials, replicates or devices ran at the same time:

| what                   | from                            | shared by      |
|------------------------|---------------------------------|----------------|
| theta_0                | seed, replicate                 | rounds, arms * |
| train/validation split | seed, replicate                 | rounds, arms   |
| batch order, dropout,  | order seed, replicate, round    | arms           |
|   augmentation **      |                                 |                |
| reinit draw j          | seed, replicate, round, j       | nobody         |
| redraw, noise level j  | seed, replicate, round(, j)     | nobody         |
| random mask draw j     | seed, replicate, round, j       | random, _global|
| control of one's own   | seed, replicate, round, name    | nobody         |
| score                  | seed, replicate, round          | nobody         |

* except reinit. ** `--order=shared`: not from the round, and shared by rounds.

`seed` is the run's, 0 to 2**32 - 1; `replicate`, `draw` and `level` are indices
from 0; `round_index` is 1 or more. A key is a scalar key array `[]`. The
implementation is pinned to threefry: a change of JAX's default must not change
a published number.
"""

import zlib

import jax

# A new one is added at the end: the others' places decide published bits.
_INITIAL, _SPLIT, _ORDER, _REINIT, _RANDOM_MASKS, _REDRAW, _NOISE = range(7)
_MORE_RANDOM_MASKS, _OWN, _SCORE = 7, 8, 9


def initial(seed: int, replicate: int) -> jax.Array:
  """Returns the key of theta_0.

  >>> jax.random.key_data(initial(0, 3))
  Array([4257973933, 3811338087], dtype=uint32)
  """
  return _derive(seed, _INITIAL, replicate)


def split(seed: int, replicate: int) -> jax.Array:
  """Returns the key of the split into training and validation images.

  >>> bool(split(0, 3) == split(0, 3)), bool(split(0, 3) == initial(0, 3))
  (True, False)
  """
  return _derive(seed, _SPLIT, replicate)


def order(
  order_seed: int, replicate: int, round_index: int | None = None
) -> jax.Array:
  """Returns the key of batch order, augmentation and dropout.

  The training loop folds epochs and steps into it. The order's seed is by
  default the run's; with `round_index` None all rounds share one order.

  >>> bool(order(0, 3) == order(0, 3, round_index=1))
  False
  """
  key = _derive(order_seed, _ORDER, replicate)
  return key if round_index is None else jax.random.fold_in(key, round_index)


def control(
  arm: str, seed: int, replicate: int, round_index: int, draw: int = 0
) -> jax.Array:
  """Returns the key of a control, built in or one's own, by its arm.

  >>> bool(control("reinit", 0, 3, 1, draw=0) == control("reinit", 0, 3, 1, 1))
  False
  """
  where = replicate, round_index
  match arm:
    case "reinit":
      return _derive(seed, _REINIT, *where, draw)
    case "noise":
      return _derive(seed, _NOISE, *where, draw)
    case "redraw":
      return _derive(seed, _REDRAW, *where)
    case "random" | "random_global" if draw == 0:  # as when there was no other
      return _derive(seed, _RANDOM_MASKS, *where)
    case "random" | "random_global":
      return _derive(seed, _MORE_RANDOM_MASKS, *where, draw)
    case _:
      return _derive(seed, _OWN, *where, zlib.crc32(arm.encode()))


def score(seed: int, replicate: int, round_index: int) -> jax.Array:
  """Returns the key of the scores by which a round's masks are pruned.

  >>> bool(score(0, 3, 1) == score(0, 3, 2))
  False
  """
  return _derive(seed, _SCORE, replicate, round_index)


def _derive(seed: int, *path: int) -> jax.Array:
  key = jax.random.key(seed, impl="threefry2x32")
  for index in path:
    key = jax.random.fold_in(key, index)
  return key
