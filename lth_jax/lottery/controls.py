"""Controls that a ticket is compared with, each a function Start -> Start.

All keep the number of weights; they differ in what else of the ticket they
keep. `ticket` is the ticket's start, `initial` theta_0 (or theta_k) under full
masks; a key is consumed.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lth_jax import masks as masks_lib
from lth_jax import pruning, scores
from lth_jax.lottery import rounds
from lth_jax.training import Start

PyTree = Any
Init = Callable[[jax.Array], tuple[PyTree, PyTree]]
# (key, theta_0 or theta_k under full masks, the ticket) -> where the control
# begins: the ticket's step, its structure and shapes, zeros where pruned
Control = Callable[[jax.Array, Start, Start], Start]


def built_in(
  init: Init, levels: Sequence[float], draw: int
) -> Mapping[str, Control]:
  """Returns the controls of this module by their arms.

  Args:
    init: of the network.
    levels: of noise.
    draw: index of the level.

  >>> sorted(built_in(None, (), 0))[:3]
  ['magnitude_at_start', 'noise', 'random']
  """
  return {
    "reinit": lambda key, initial, ticket: reinit(key, init, ticket),
    "random": random_masks,
    "random_global": functools.partial(random_masks, scope="global"),
    "redraw": lambda key, initial, ticket: redraw(key, ticket),
    "magnitude_at_start": lambda key, initial, ticket: magnitude_at_start(
      initial, ticket
    ),
    "noise": lambda key, initial, ticket: noise(
      key, initial, ticket, levels[draw]
    ),
  }


def reinit(
  key: jax.Array,
  init: Init,
  ticket: Start,
) -> Start:
  """Keeps the masks, draws new weights and statistics (paper, section 1).

  >>> masks = {"w": jnp.array([[True, False, True]])}
  >>> ticket = Start({"w": jnp.array([[1.0, 0.0, 3.0]])}, {}, 0, masks)
  >>> init = lambda key: ({"w": jax.random.normal(key, (1, 3))}, {})
  >>> (reinit(jax.random.key(0), init, ticket).params["w"] == 0).tolist()
  [[False, True, False]]
  """
  params, stats = init(key)
  fresh = ticket._replace(params=params, stats=stats)
  return rounds.reset(fresh, ticket.masks)


def random_masks(
  key: jax.Array, initial: Start, ticket: Start, *, scope: str = "layer"
) -> Start:
  """Keeps theta_0 and the count, chooses the survivors at random.

  The paper does not say whether its random networks (appendix E) keep the
  count of each layer; the scope "layer" does, as later work by its authors.
  "global" keeps only the total.

  Raises:
    ValueError: unknown scope.

  >>> full = {"w": jnp.ones((1, 3), bool)}
  >>> initial = Start({"w": jnp.ones((1, 3))}, {}, 0, full)
  >>> ticket = rounds.reset(initial, {"w": jnp.array([[True, False, True]])})
  >>> float(random_masks(jax.random.key(0), initial, ticket).params["w"].sum())
  2.0
  """
  masks = masks_lib.permute(key, ticket.masks, scope=scope)
  return rounds.reset(initial, masks)


def redraw(key: jax.Array, ticket: Start) -> Start:
  """Keeps each layer's masks and distribution (appendix F.3, figure 17).

  Each surviving weight is redrawn, independently and with replacement, from the
  surviving weights of its leaf in the ticket, as in the authors' code
  (`reuse`). Other leaves, such as biases, stay as they are.

  >>> masks = {"w": jnp.array([[True, False, True]])}
  >>> ticket = Start({"w": jnp.array([[2.0, 0.0, 2.0]])}, {}, 0, masks)
  >>> redraw(jax.random.key(0), ticket).params["w"].tolist()
  [[2.0, 0.0, 2.0]]
  """
  return _replace_survivors(key, _resample, ticket)


def magnitude_at_start(initial: Start, ticket: Start) -> Start:
  """Keeps the largest weights of theta_0 (appendix F.4, figure 18).

  Each leaf has the ticket's count; among equal magnitudes the earlier are
  pruned, as in `pruning`.

  >>> full = {"w": jnp.ones((1, 3), bool)}
  >>> initial = Start({"w": jnp.array([[1.0, 3.0, -2.0]])}, {}, 0, full)
  >>> ticket = rounds.reset(initial, {"w": jnp.array([[True, False, True]])})
  >>> magnitude_at_start(initial, ticket).params["w"].tolist()
  [[0.0, 3.0, -2.0]]
  """
  counts = jax.tree.map(masks_lib.num_kept, ticket.masks)
  magnitudes = scores.magnitude(initial.params)
  return rounds.reset(initial, pruning.keep(magnitudes, initial.masks, counts))


def noise(
  key: jax.Array, initial: Start, ticket: Start, factor: float | jax.Array
) -> Start:
  """Adds Gaussian noise to the surviving weights (appendix F.7, figure 25).

  The standard deviation of the noise is `factor`, 0 or more (the paper's are
  0.5, 1, 2 and 3), times that of the layer's initialization. The latter is
  measured, over all entries of the leaf in `initial`, since a formula would
  hold for one initialization alone; of n normal weights the measured one is off
  by a fraction of about 1 / sqrt(2n), 2% in the 1,000 weights of LeNet's output
  layer. Leaves that are never pruned, such as biases, stay as they are.

  >>> full = {"w": jnp.ones((1, 3), bool)}
  >>> initial = Start({"w": jnp.array([[1.0, 2.0, 3.0]])}, {}, 0, full)
  >>> ticket = rounds.reset(initial, {"w": jnp.array([[True, False, True]])})
  >>> start = noise(jax.random.key(0), initial, ticket, 0.5)
  >>> (start.params["w"] == ticket.params["w"]).tolist()
  [[False, True, False]]
  """

  def one(leaf, mask, key, dense):
    draw = jax.random.normal(key, leaf.shape, leaf.dtype)
    return leaf + (factor * jnp.std(dense) * draw).astype(leaf.dtype)

  return _replace_survivors(key, one, ticket, initial.params)


@jax.jit
def _resample(leaf, mask, key):
  """Each entry is one of the kept ones, drawn uniformly."""
  survivors = jnp.flatnonzero(mask, size=mask.size, fill_value=0)
  num_kept = jnp.count_nonzero(mask)
  chosen = jax.random.randint(key, mask.shape, 0, jnp.maximum(num_kept, 1))
  return jnp.ravel(leaf)[survivors[chosen]]


def _replace_survivors(key, function, ticket, *others):
  """The ticket with `function(leaf, mask, key, ...)` as surviving weights."""
  names = list(masks_lib.by_name(ticket.masks))
  keys = dict(zip(names, jax.random.split(key, len(names))))
  params = masks_lib.map(
    lambda leaf, *rest: function(jnp.asarray(leaf), *rest),
    ticket.params,
    ticket.masks,
    keys,
    *others,
  )
  return ticket._replace(params=masks_lib.apply(params, ticket.masks))
