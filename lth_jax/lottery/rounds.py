"""The algorithm of the paper: train, prune, reset the survivors, train again.

Each series is a generator of values for one replicate: `initial` is theta_0 (or
theta_k) under full masks, training and pruning are functions, nothing touches a
disk. A `train` that finds a result stored returns it without training, and so a
run resumes. Round 0 is the dense network; `num_rounds` prunings follow.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lth_jax import rewinding
from lth_jax.training import Start

PyTree = Any


class Trained(NamedTuple):
  """The result of one training.

  Attributes:
    params: final weights.
    stats: final statistics.
    diverged: whether a training loss was not finite: the series of rounds ends
      here.
  """

  params: PyTree
  stats: PyTree
  diverged: bool


class Round(NamedTuple):
  """One density: the start of its ticket and the result of training it."""

  index: int
  start: Start
  trained: Trained


# (arm, round, start) -> result of the training
Train = Callable[[str, int, Start], Trained]
# (trained params, masks) -> masks without a fraction of the survivors
Prune = Callable[[PyTree, PyTree], PyTree]
# (trained params, full masks, k) -> masks of round k
PruneAtOnce = Callable[[PyTree, PyTree, int], PyTree]


def rounds(
  initial: Start, train: Train, prune: Prune, num_rounds: int
) -> Iterator[Round]:
  """Iterative pruning with resetting (paper, section 1 and appendix B).

  Yields:
    Round 0 to `num_rounds`; fewer if a round diverges.

  >>> import jax.numpy as jnp
  >>> params, full = {"w": jnp.ones((1, 4))}, {"w": jnp.ones((1, 4), bool)}
  >>> initial = Start(params, {}, 0, full)
  >>> train = lambda arm, index, start: Trained(start.params, {}, False)
  >>> prune = lambda trained, masks: {"w": jnp.arange(4)[None] >= 2}
  >>> for found in rounds(initial, train, prune, 1):
  ...   print(found.index, found.start.params["w"])
  0 [[1. 1. 1. 1.]]
  1 [[0. 0. 1. 1.]]
  """
  start = initial
  for index in range(num_rounds + 1):
    trained = train("ticket", index, start)
    yield Round(index, start, trained)
    if trained.diverged or index == num_rounds:
      return
    start = reset(initial, prune(trained.params, start.masks))


def one_shot_rounds(
  initial: Start, train: Train, prune_at_once: PruneAtOnce, num_rounds: int
) -> Iterator[Round]:
  """One-shot pruning to each density of the ladder (paper, figure 4c).

  Yields:
    Round 0 to `num_rounds`; a ticket that diverges does not end the series,
    since no other was pruned from it.

  >>> import jax.numpy as jnp
  >>> params, full = {"w": jnp.ones((1, 4))}, {"w": jnp.ones((1, 4), bool)}
  >>> initial = Start(params, {}, 0, full)
  >>> train = lambda arm, index, start: Trained(start.params, {}, False)
  >>> at_once = lambda trained, masks, k: {"w": jnp.arange(4)[None] >= k}
  >>> for found in one_shot_rounds(initial, train, at_once, 2):
  ...   print(found.index, found.start.params["w"])
  0 [[1. 1. 1. 1.]]
  1 [[0. 1. 1. 1.]]
  2 [[0. 0. 1. 1.]]
  """
  dense = train("ticket", 0, initial)
  yield Round(0, initial, dense)
  if dense.diverged:
    return
  for index in range(1, num_rounds + 1):
    start = reset(initial, prune_at_once(dense.params, initial.masks, index))
    yield Round(index, start, train("ticket", index, start))


def continued_rounds(
  initial: Start, train: Train, prune: Prune, num_rounds: int
) -> Iterator[Round]:
  """Iterative pruning with continued training (paper, appendix B).

  The search trains on from its current weights between prunings; each density
  it passes is evaluated by one reset and training of its own, which the search
  does not see. The search's arm is called "search".

  Yields:
    The same rounds as `rounds`.

  >>> import jax.numpy as jnp
  >>> params, full = {"w": jnp.ones((1, 4))}, {"w": jnp.ones((1, 4), bool)}
  >>> initial = Start(params, {}, 0, full)
  >>> def train(arm, index, start):
  ...   print(arm, index)
  ...   return Trained(start.params, {}, False)
  >>> prune = lambda trained, masks: masks
  >>> found = list(continued_rounds(initial, train, prune, 2))
  ticket 0
  ticket 1
  search 1
  ticket 2
  """
  searched = train("ticket", 0, initial)
  yield Round(0, initial, searched)
  masks = initial.masks
  for index in range(1, num_rounds + 1):
    if searched.diverged:
      return
    masks = prune(searched.params, masks)
    start = reset(initial, masks)
    yield Round(index, start, train("ticket", index, start))
    if index < num_rounds:
      current = initial._replace(params=searched.params, stats=searched.stats)
      searched = train("search", index, reset(current, masks))


def reset(initial: Start, masks: PyTree) -> Start:
  """Returns the start of a ticket: initial weights, pruned to `masks`.

  Args:
    initial: theta_0 (or theta_k), or current weights to continue from.
    masks: masks of its params.

  Raises:
    ValueError: names the leaf at which masks do not fit.

  >>> import jax.numpy as jnp
  >>> initial = Start([jnp.array([1.0, 2.0])], {}, 0, [jnp.array([True, True])])
  >>> reset(initial, [jnp.array([False, True])]).params
  [Array([0., 2.], dtype=float32)]
  """
  params = rewinding.rewind(initial.params, masks)
  return initial._replace(params=params, masks=masks)
