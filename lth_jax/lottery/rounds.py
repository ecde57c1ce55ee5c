"""The algorithm of the paper: train, prune, reset the survivors, train again.

Each function here is a generator of values for one replicate; training and
pruning are passed in, nothing touches a disk. `train(arm, index, start)` runs
one training and returns what came out; a caller that finds the result stored
returns it without training, and so resumes.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lth_jax import rewinding
from lth_jax.training.loop import Start

PyTree = Any


class Trained(NamedTuple):
  """The outcome of one training run.

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
  """One density: where it began and what training made of it."""

  index: int
  start: Start
  trained: Trained


Train = Callable[[str, int, Start], Trained]
# (trained params, masks) -> smaller masks
Prune = Callable[[PyTree, PyTree], PyTree]


def rounds(
  saved: Start, train: Train, prune: Prune, num_rounds: int
) -> Iterator[Round]:
  """Iterative pruning with resetting (paper, section 1 and appendix B).

  Args:
    saved: theta_0 (or theta_k) under full masks.
    train: runs one training.
    prune: removes the same fraction of the survivors at each call.
    num_rounds: how often to prune; round 0 is the dense network.

  Yields:
    Round 0 to `num_rounds`; fewer if a round diverges.

  >>> import jax.numpy as jnp
  >>> params, full = {"w": jnp.ones((1, 4))}, {"w": jnp.ones((1, 4), bool)}
  >>> saved = Start(params, {}, 0, full)
  >>> train = lambda arm, index, start: Trained(start.params, {}, False)
  >>> prune = lambda trained, masks: {"w": jnp.arange(4)[None] >= 2}
  >>> for found in rounds(saved, train, prune, 1):
  ...   print(found.index, found.start.params["w"])
  0 [[1. 1. 1. 1.]]
  1 [[0. 0. 1. 1.]]
  """
  start = saved
  for index in range(num_rounds + 1):
    trained = train("ticket", index, start)
    yield Round(index, start, trained)
    if trained.diverged or index == num_rounds:
      return
    start = rewind(saved, prune(trained.params, start.masks))


def one_shot_rounds(
  saved: Start,
  train: Train,
  prune_at_once: Callable[[PyTree, PyTree, int], PyTree],
  num_rounds: int,
) -> Iterator[Round]:
  """One-shot pruning to each density of the ladder (paper, figure 4c).

  Args:
    saved: theta_0 (or theta_k) under full masks.
    train: runs one training.
    prune_at_once: (trained params, masks, k) -> the masks of step k.
    num_rounds: steps of the ladder.

  Yields:
    The dense network as round 0, then one ticket for each step; a ticket that
    diverges does not end the series, since no other was pruned from it.

  >>> import jax.numpy as jnp
  >>> params, full = {"w": jnp.ones((1, 4))}, {"w": jnp.ones((1, 4), bool)}
  >>> saved = Start(params, {}, 0, full)
  >>> train = lambda arm, index, start: Trained(start.params, {}, False)
  >>> at_once = lambda trained, masks, k: {"w": jnp.arange(4)[None] >= k}
  >>> for found in one_shot_rounds(saved, train, at_once, 2):
  ...   print(found.index, found.start.params["w"])
  0 [[1. 1. 1. 1.]]
  1 [[0. 1. 1. 1.]]
  2 [[0. 0. 1. 1.]]
  """
  dense = train("ticket", 0, saved)
  yield Round(0, saved, dense)
  if dense.diverged:
    return
  for index in range(1, num_rounds + 1):
    start = rewind(saved, prune_at_once(dense.params, saved.masks, index))
    yield Round(index, start, train("ticket", index, start))


def continued_rounds(
  saved: Start, train: Train, prune: Prune, num_rounds: int
) -> Iterator[Round]:
  """Iterative pruning with continued training (paper, appendix B).

  The search trains on from its current weights between prunings; each density
  it passes is evaluated by one reset and training of its own, which the search
  does not see.

  Args:
    saved: theta_0 (or theta_k) under full masks.
    train: runs one training; the search's arm is called "search".
    prune: removes the same fraction of the survivors at each call.
    num_rounds: how often to prune.

  Yields:
    The same rounds as `rounds`.

  >>> import jax.numpy as jnp
  >>> params, full = {"w": jnp.ones((1, 4))}, {"w": jnp.ones((1, 4), bool)}
  >>> saved = Start(params, {}, 0, full)
  >>> def train(arm, index, start):
  ...   print(arm, index)
  ...   return Trained(start.params, {}, False)
  >>> prune = lambda trained, masks: masks
  >>> found = list(continued_rounds(saved, train, prune, 2))
  ticket 0
  ticket 1
  search 1
  ticket 2
  """
  searched = train("ticket", 0, saved)
  yield Round(0, saved, searched)
  masks = saved.masks
  for index in range(1, num_rounds + 1):
    if searched.diverged:
      return
    masks = prune(searched.params, masks)
    start = rewind(saved, masks)
    yield Round(index, start, train("ticket", index, start))
    if index < num_rounds:
      current = saved._replace(params=searched.params, stats=searched.stats)
      searched = train("search", index, rewind(current, masks))


def rewind(saved: Start, masks: PyTree) -> Start:
  """Returns `saved` with its weights pruned to `masks`.

  Args:
    saved: theta_0 (or theta_k), or current weights to continue from.
    masks: masks of its params.

  Raises:
    ValueError: names the leaf at which masks do not fit.

  >>> import jax.numpy as jnp
  >>> saved = Start([jnp.array([1.0, 2.0])], {}, 0, [jnp.array([True, True])])
  >>> rewind(saved, [jnp.array([False, True])]).params
  [Array([0., 2.], dtype=float32)]
  """
  return saved._replace(
    params=rewinding.rewind(saved.params, masks), masks=masks
  )
