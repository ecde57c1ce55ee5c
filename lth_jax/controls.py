"""Controls: what a ticket is compared with, each a function Start -> Start.

All keep the number of weights; they differ in what of the ticket they keep.
"""

from collections.abc import Callable
from typing import Any

import jax

from lth_jax import lottery, rewinding
from lth_jax import masks as masks_lib
from lth_jax.training import Start

PyTree = Any


def reinit(
  key: jax.Array,
  init: Callable[[jax.Array], tuple[PyTree, PyTree]],
  ticket: Start,
) -> Start:
  """Keeps the masks, draws the weights anew (paper, section 1).

  Args:
    key: consumed.
    init: `Model.init`, key -> (params, stats).
    ticket: the ticket's start.

  Returns:
    A start with fresh weights and statistics under the ticket's masks.

  >>> import jax.numpy as jnp
  >>> masks = {"w": jnp.array([[True, False, True]])}
  >>> ticket = Start({"w": jnp.array([[1.0, 0.0, 3.0]])}, {}, 0, masks)
  >>> init = lambda key: ({"w": jax.random.normal(key, (1, 3))}, {})
  >>> (reinit(jax.random.key(0), init, ticket).params["w"] == 0).tolist()
  [[False, True, False]]
  """
  _, stats = init(key)
  params = rewinding.reinitialize(key, lambda k: init(k)[0], ticket.masks)
  return ticket._replace(params=params, stats=stats)


def random_masks(
  key: jax.Array, saved: Start, ticket: Start, *, scope: str = "layer"
) -> Start:
  """Keeps theta_0 and the count, chooses the survivors at random.

  The paper does not say whether its random networks (appendix E) keep the
  count of each layer; `scope="layer"` does, as later work by its authors.

  Args:
    key: consumed.
    saved: theta_0 (or theta_k) under full masks.
    ticket: the ticket's start.
    scope: "layer" keeps each layer's count, "global" only the total.

  Returns:
    `saved` under random masks.

  Raises:
    ValueError: unknown scope.

  >>> import jax.numpy as jnp
  >>> full = {"w": jnp.ones((1, 3), bool)}
  >>> saved = Start({"w": jnp.ones((1, 3))}, {}, 0, full)
  >>> ticket = lottery.rewind(saved, {"w": jnp.array([[True, False, True]])})
  >>> float(random_masks(jax.random.key(0), saved, ticket).params["w"].sum())
  2.0
  """
  return lottery.rewind(
    saved, masks_lib.permute(key, ticket.masks, scope=scope)
  )
