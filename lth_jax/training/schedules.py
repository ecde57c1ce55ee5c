"""Learning rates as data: arguments of a compiled program, not its code.

Runs that differ only in their rates share one program.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


class Schedule(NamedTuple):
  """The learning rate as a function of the training step.

  Attributes:
    peak: [] float32, the rate between warm-up and the first drop.
    warmup: [] int32, steps over which it rises linearly from 0.
    drops: `[D]` int32, steps from which on it is `factor` times lower.
    factor: [] float32.
  """

  peak: Array
  warmup: Array
  drops: Array
  factor: Array


def make(
  peak: float,
  *,
  warmup: int = 0,
  drops: Sequence[int] = (),
  factor: float = 0.1,
) -> Schedule:
  """Returns a schedule of NumPy arrays.

  The paper's ResNet drops its rate tenfold at steps 20,000 and 25,000, and
  warms up over 20,000 (figures 2 and 8, appendix I).

  Args:
    peak: the learning rate.
    warmup: steps until it is reached; 0 for at once.
    drops: steps of the drops.
    factor: what a drop multiplies it by.

  >>> schedule = make(0.03, warmup=20_000, drops=(20_000, 25_000))
  >>> [round(float(rate(schedule, step)), 5) for step in (0, 10_000, 25_000)]
  [0.0, 0.015, 0.0003]
  """
  return Schedule(
    np.array(peak, np.float32),
    np.array(warmup, np.int32),
    np.asarray(drops, np.int32),
    np.array(factor, np.float32),
  )


def constant(schedule: Schedule, step: int) -> Schedule:
  """Returns a schedule of the same shapes that keeps the rate of a step.

  >>> last = constant(make(0.1, warmup=5, drops=(10,)), step=19)
  >>> round(float(rate(last, 0)), 5), round(float(rate(last, 30)), 5)
  (0.01, 0.01)
  """
  return Schedule(
    np.asarray(rate(schedule, step)),
    np.zeros_like(schedule.warmup),
    np.full_like(schedule.drops, np.iinfo(np.int32).max),
    schedule.factor,
  )


def rate(schedule: Schedule, step: jax.typing.ArrayLike) -> jax.Array:
  """Returns the learning rate of a step, counted from 0: [] float32.

  >>> float(rate(make(0.5), 0)), float(rate(make(0.5, warmup=4), 1))
  (0.5, 0.125)
  """
  risen = jnp.minimum(step / jnp.maximum(schedule.warmup, 1), 1)
  risen = jnp.where(schedule.warmup > 0, risen, 1)
  num_drops = jnp.sum(step >= schedule.drops)
  rate = schedule.peak * risen * schedule.factor**num_drops
  return jnp.asarray(rate, jnp.float32)
