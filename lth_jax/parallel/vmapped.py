"""One compiled program for several trials, side by side under `jax.vmap`.

The trials take the same steps at the same time, each from its own start, on its
own images, in its own order.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lth_jax.training import loop
from lth_jax.training.loop import Progress, Start, TrainState

# Axes of a stack; typed as they are because they stand in for arrays. What the
# trials share (step, epoch, plan) stays a scalar under vmap: else each branch
# on it would become a selection, and every pause would pay for an evaluation.
_EACH: Any = 0
_SHARED: Any = None
_START = Start(
  params=_EACH, stats=_EACH, step=_SHARED, masks=_EACH, opt_state=_EACH
)
_PROGRESS = Progress(
  TrainState(
    step=_SHARED, params=_EACH, stats=_EACH, opt_state=_EACH, masks=_EACH
  ),
  best=_EACH,
  batches=_EACH,
  epoch=_SHARED,
  loss_sum=_EACH,
  loss_steps=_SHARED,
  finite=_EACH,
)


class Vmapped(NamedTuple):
  """Functions that train several trials as one program.

  Attributes:
    width: number of trials.
    trainer: compiled functions of stacks.
    stack: `width` items of one trial each -> one stack. Items are starts,
      progresses, which must be at one step, or any other pytrees.
    unstack: the inverse; its items are on the host.
  """

  width: int
  trainer: loop.Trainer
  stack: Callable[[Sequence[Any]], Any]
  unstack: Callable[[Any], list[Any]]


@functools.cache  # so that runs of one process share their programs
def make(trainer: loop.Trainer, width: int) -> Vmapped:
  """Returns functions that train `width` trials together.

  A trial's bits depend on the width, which is part of the program, but not on
  the other trials. Width 1 is the trainer itself, without `jax.vmap`.
  """
  if width == 1:
    return Vmapped(1, trainer, _only, lambda stack: [jax.device_get(stack)])

  def unstack(stack):
    stack = jax.device_get(stack)
    return [_take(stack, index) for index in range(width)]

  begin = jax.vmap(trainer.begin, in_axes=(_START, 0), out_axes=_PROGRESS)
  inputs = loop.Inputs(_SHARED, _EACH, _EACH, _EACH)
  advance = jax.vmap(
    trainer.advance,
    in_axes=(_PROGRESS, None, inputs),
    out_axes=(_PROGRESS, 0),
  )
  summarize = jax.vmap(trainer.summarize, in_axes=(_PROGRESS, inputs))
  stacked = map(jax.jit, (begin, advance, summarize))
  return Vmapped(width, loop.Trainer(*stacked), _stack, unstack)


def _only(items):
  (item,) = items
  return item


def _stack(items):
  def join(axis, first, *others):
    if axis is None:
      return first
    return jax.tree.map(lambda *parts: jnp.stack(parts), first, *others)

  return _map_axes(join, *items)


def _take(stack, index):
  def part(axis, tree):
    if axis is None:
      return tree
    return jax.tree.map(lambda leaf: np.array(leaf[index]), tree)

  return _map_axes(part, stack)


def _map_axes(function, *trees):
  """Maps over the subtrees that have one axis: function(axis, *subtrees)."""
  axes = {Start: _START, Progress: _PROGRESS}.get(type(trees[0]), 0)
  return jax.tree.map(function, axes, *trees, is_leaf=lambda x: x is None)
