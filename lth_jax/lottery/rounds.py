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
    opt_state: final state of the optimizer, where it is kept.
  """

  params: PyTree
  stats: PyTree
  diverged: bool
  opt_state: PyTree = None


class Round(NamedTuple):
  """One density: the start of its ticket and the result of training it."""

  index: int
  start: Start
  trained: Trained


# (arm, round, start) -> result of the training
Train = Callable[[str, int, Start], Trained]
# (trained params, their masks, round) -> masks of this round
Prune = Callable[[PyTree, PyTree, int], PyTree]


def rewind_point(theta_0: Start, train: Train, step: Any) -> Start:
  """Returns the dense network at step k, where every round begins.

  Late rewinding of Frankle et al. (2019, arXiv 1903.01611). The arm of this
  training, from step 0 to `step`, [] int32, is called "rewind_point".

  >>> import jax.numpy as jnp
  >>> trained = Trained({"w": jnp.ones((1, 4))}, {}, False)
  >>> theta_0 = Start({"w": jnp.zeros((1, 4))}, {}, 0, {"w": None})
  >>> start = rewind_point(theta_0, lambda arm, index, start: trained, 100)
  >>> start.params["w"], start.step
  (Array([[1., 1., 1., 1.]], dtype=float32), 100)
  """
  trained = train("rewind_point", 0, theta_0)
  return theta_0._replace(
    params=trained.params,
    stats=trained.stats,
    step=step,
    opt_state=trained.opt_state,
  )


def rounds(
  initial: Start,
  train: Train,
  prune: Prune,
  num_rounds: int,
  keep_trained: bool = False,
) -> Iterator[Round]:
  """Iterative pruning with resetting (paper, section 1 and appendix B).

  With `keep_trained`, survivors keep their trained weights: learning-rate
  rewinding and fine-tuning (Renda et al. 2020, arXiv 2003.02389).

  Yields:
    Round 0 to `num_rounds`; fewer if a round diverges.

  >>> import jax.numpy as jnp
  >>> params, full = {"w": jnp.ones((1, 4))}, {"w": jnp.ones((1, 4), bool)}
  >>> initial = Start(params, {}, 0, full)
  >>> train = lambda arm, index, start: Trained(start.params, {}, False)
  >>> prune = lambda trained, masks, k: {"w": jnp.arange(4)[None] >= 2 * k}
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
    base = _current(initial, trained) if keep_trained else initial
    start = reset(base, prune(trained.params, start.masks, index + 1))


def one_shot_rounds(
  initial: Start,
  train: Train,
  prune: Prune,
  num_rounds: int,
  keep_trained: bool = False,
) -> Iterator[Round]:
  """One-shot pruning to each density of the ladder (paper, figure 4c).

  `keep_trained` is as for `rounds`.

  Yields:
    Round 0 to `num_rounds`; a ticket that diverges does not end the series,
    since no other was pruned from it.

  >>> import jax.numpy as jnp
  >>> params, full = {"w": jnp.ones((1, 4))}, {"w": jnp.ones((1, 4), bool)}
  >>> initial = Start(params, {}, 0, full)
  >>> train = lambda arm, index, start: Trained(start.params, {}, False)
  >>> prune = lambda trained, masks, k: {"w": jnp.arange(4)[None] >= k}
  >>> for found in one_shot_rounds(initial, train, prune, 2):
  ...   print(found.index, found.start.params["w"])
  0 [[1. 1. 1. 1.]]
  1 [[0. 1. 1. 1.]]
  2 [[0. 0. 1. 1.]]
  """
  dense = train("ticket", 0, initial)
  yield Round(0, initial, dense)
  if dense.diverged:
    return
  base = _current(initial, dense) if keep_trained else initial
  for index in range(1, num_rounds + 1):
    start = reset(base, prune(dense.params, initial.masks, index))
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
  >>> prune = lambda trained, masks, index: masks
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
    masks = prune(searched.params, masks, index)
    start = reset(initial, masks)
    yield Round(index, start, train("ticket", index, start))
    if index < num_rounds:
      current = reset(_current(initial, searched), masks)
      searched = train("search", index, current)


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


def _current(initial: Start, trained: Trained) -> Start:
  """Returns trained weights at the step at which a round begins."""
  return initial._replace(params=trained.params, stats=trained.stats)
