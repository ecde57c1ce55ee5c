"""Pruning of very many weights: seconds, and memory beside the scores."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import pruning as timed
from benchmarks import tables
from benchmarks.accelerator import child
from lth_jax import pruning

_RATE = 0.2


def rows(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields a row a size and scope."""
  for size in (10**5,) if asked.smoke else (10**8, 10**9):
    for scope in ("layer", "global"):
      yield _row(size, scope)


def _row(size, scope):
  shapes = [(10, size // 100)] * 10
  keys = jax.random.split(jax.random.key(0), len(shapes))
  scores = [jnp.abs(jax.random.normal(k, s)) for k, s in zip(keys, shapes)]
  masks = [jnp.ones(s, bool) for s in shapes]
  removed = 0

  def prune():
    nonlocal removed
    smaller = pruning.prune(scores, masks, _RATE, scope=scope)
    removed = size - sum(int(jnp.sum(mask)) for mask in smaller)

  median = tables.alternate({"prune": prune}, 3)
  wanted = (
    pruning.num_removed(size, _RATE)
    if scope == "global"
    else 10 * pruning.num_removed(size // 10, _RATE)
  )
  return {
    "weights": size,
    "scope": scope,
    "prune_s": median["prune"],
    "extra_memory": timed.extra_memory(scores, masks, scope),
    "removed": removed,
    "ok": removed == wanted,
  }
