"""Pruning of very many weights: seconds, extra memory, exact counts."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp

from benchmarks import pruning as timed
from benchmarks import tables
from benchmarks.accelerator import child
from lth_jax import pruning


def rows(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields a row for each size and scope."""
  for size in (10**5,) if asked.smoke else (10**8, 10**9):
    for scope in ("layer", "global"):
      yield _row(size, scope)


def _row(size, scope):
  scores, masks = timed.problem(size)
  removed = 0

  def prune():
    nonlocal removed
    smaller = pruning.prune(scores, masks, timed.RATE, scope=scope)
    removed = size - sum(int(jnp.sum(mask)) for mask in smaller)

  median = tables.alternate({"prune": prune}, 3)
  parts = 1 if scope == "global" else 10
  wanted = parts * pruning.num_removed(size // parts, timed.RATE)
  return {
    "weights": size,
    "scope": scope,
    "prune_s": median["prune"],
    "extra_memory": timed.extra_memory(scores, masks, scope),
    "removed": removed,
    "ok": removed == wanted,
  }
