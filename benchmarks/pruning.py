"""`prune` against np.partition and JAX's stable argsort: time and memory.

  python -m benchmarks.pruning [--json] [--sizes 1000000 10000000 100000000]

There are ten leaves of equal size. Extra memory is allocated by XLA in addition
to arguments and result, as a fraction of the scores; a NumPy partition copies
them all. The argsort is timed once and left out above `--sort_up_to`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import tables
from lth_jax import _ranking, pruning

_RATE = 0.2
_LEAVES = 10
SCOPES = ("layer", "global")


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__)
  parser.add_argument(
    "--sizes", type=int, nargs="+", default=[10**6, 10**7, 10**8]
  )
  parser.add_argument("--sort_up_to", type=int, default=10**7)
  parser.add_argument("--repeats", type=int, default=5)
  options = parser.parse_args()
  rows = [
    _row(size, scope, options) for size in options.sizes for scope in SCOPES
  ]
  tables.show(rows, options.json)


def _row(size, scope, options):
  scores = _scores(size)
  flat = [np.asarray(leaf).ravel() for leaf in scores]
  parts = flat if scope == "layer" else [np.concatenate(flat)]

  def partition():
    for part in parts:
      np.partition(part, int(_RATE * part.size))

  def sort():
    for part in parts:
      jnp.argsort(part, stable=True).block_until_ready()

  sides = {"prune": _prune(scores, scope), "partition": partition}
  median = tables.alternate(sides, options.repeats)
  sort_s = None
  if size <= options.sort_up_to:
    sort_s = tables.alternate({"sort": sort}, 1)["sort"]
  return {
    "weights": size,
    "scope": scope,
    "prune_s": median["prune"],
    "np_partition_s": median["partition"],
    "jax_argsort_s": sort_s,
    "times_partition": median["prune"] / median["partition"],
    "argsort_over_prune": sort_s and sort_s / median["prune"],
    "extra_memory": _extra_memory(scores, scope),
  }


def check(size: int, scope: str) -> tables.Row:
  """Returns a row on pruning alone, with `ok` for the number removed."""
  scores = _scores(size)
  prune = _prune(scores, scope)
  removed = size - sum(int(jnp.sum(mask)) for mask in prune())
  parts = _LEAVES if scope == "layer" else 1
  return {
    "weights": size,
    "scope": scope,
    "prune_s": tables.alternate({"prune": prune}, 3)["prune"],
    "extra_memory": _extra_memory(scores, scope),
    "removed": removed,
    "ok": removed == parts * pruning.num_removed(size // parts, _RATE),
  }


def _scores(size):
  """Returns ten leaves of scores, `size` in all."""
  keys = jax.random.split(jax.random.key(0), _LEAVES)
  shape = (10, size // 10 // _LEAVES)
  return [jnp.abs(jax.random.normal(key, shape)) for key in keys]


def _full(scores):
  return [jnp.ones(leaf.shape, bool) for leaf in scores]


def _prune(scores, scope):
  full = _full(scores)
  prune = functools.partial(pruning.prune, scores, full, _RATE, scope=scope)
  return lambda: jax.block_until_ready(prune())


def _extra_memory(scores, scope):
  if scope == "layer":
    scores = scores[:1]  # leaves are pruned one after the other
  program = _ranking.remove_lowest.lower(scores, _full(scores), 1).compile()
  extra = program.memory_analysis().temp_size_in_bytes
  return extra / sum(leaf.nbytes for leaf in scores)


if __name__ == "__main__":
  main()
