"""A score and a control of one's own, with LeNet on MNIST.

  python -m experiments.mnist_lenet --module=examples/criteria.py \
    --flagfile=experiments/flags/mnist_lenet/quickstart.flags \
    --score=movement --arms=ticket,reinit,flipped --workdir=runs/criteria

The same from Python:

  from lth_jax import runner
  runner.run(config, "runs/criteria", score=movement, controls=[flipped])
"""

from typing import Any

import jax
import jax.numpy as jnp

from lth_jax import masks
from lth_jax.training import Start


def movement(key: jax.Array, trained: Any, initial: Any) -> Any:
  """Returns how far weights moved: those that moved least are pruned."""
  del key
  return jax.tree.map(lambda a, b: jnp.abs(a - b), trained, initial)


def flipped(key: jax.Array, initial: Start, ticket: Start) -> Start:
  """Returns the ticket with every sign drawn at random."""
  del initial
  leaves, structure = jax.tree.flatten(ticket.params)
  keys = jax.random.split(key, len(leaves))
  signed = [
    jnp.where(jax.random.bernoulli(k, shape=x.shape), x, -x)
    for k, x in zip(keys, leaves)
  ]
  params = jax.tree.unflatten(structure, signed)
  return ticket._replace(params=masks.apply(params, ticket.masks))
