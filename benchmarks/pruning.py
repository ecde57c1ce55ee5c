"""`prune` against np.partition and JAX's stable argsort: time and memory.

  python -m benchmarks.pruning [--json] [--sizes 1000000 10000000 100000000]

There are ten leaves of equal size. Extra memory is allocated by XLA in addition
to arguments and result, as a fraction of the scores; a NumPy partition copies
them all. The argsort is timed once and left out above `--sort_up_to`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import tables
from lth_jax import _ranking, pruning

RATE = 0.2


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__.splitlines()[0])
  parser.add_argument(
    "--sizes", type=int, nargs="+", default=[10**6, 10**7, 10**8]
  )
  parser.add_argument("--sort_up_to", type=int, default=10**7)
  parser.add_argument("--repeats", type=int, default=5)
  options = parser.parse_args()
  rows = [
    _row(size, scope, options)
    for size in options.sizes
    for scope in ("layer", "global")
  ]
  tables.show(rows, options.json)


def _row(size, scope, options):
  scores, masks = problem(size)
  flat = [np.asarray(s).ravel() for s in scores]
  parts = flat if scope == "layer" else [np.concatenate(flat)]

  def prune():
    jax.block_until_ready(pruning.prune(scores, masks, RATE, scope=scope))

  def partition():
    for part in parts:
      np.partition(part, int(RATE * part.size))

  def sort():
    for part in parts:
      jnp.argsort(part, stable=True).block_until_ready()

  sides = {"prune": prune, "partition": partition}
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
    "extra_memory": extra_memory(scores, masks, scope),
  }


def problem(size: int) -> tuple[list[jax.Array], list[jax.Array]]:
  """Returns scores and full masks of ten leaves, `size` weights in all."""
  shapes = [(10, size // 100)] * 10
  keys = jax.random.split(jax.random.key(0), len(shapes))
  scores = [jnp.abs(jax.random.normal(k, s)) for k, s in zip(keys, shapes)]
  return scores, [jnp.ones(s, bool) for s in shapes]


def extra_memory(scores, masks, scope: str) -> float:
  """Returns the memory that pruning allocates, as a fraction of the scores."""
  if scope == "layer":
    scores, masks = scores[:1], masks[:1]
  program = _ranking.remove_lowest.lower(scores, masks, 1).compile()
  return program.memory_analysis().temp_size_in_bytes / sum(
    s.nbytes for s in scores
  )


if __name__ == "__main__":
  main()
