"""Lottery tickets in JAX: find, rewind, control and report.

This face needs nothing but jax. The parts with one more dependency each are
imported by name, such as `lth_jax.optim` (optax) or `lth_jax.models` (flax).

>>> import jax, jax.numpy as jnp
>>> import lth_jax
>>> initial = {"kernel": jnp.array([[1.0, 2.0, 3.0]]), "bias": jnp.zeros(3)}
>>> trained = {"kernel": jnp.array([[4.0, -0.1, 3.0]]), "bias": jnp.ones(3)}
>>> masks = lth_jax.masks.full(initial)
>>> masks = lth_jax.prune(lth_jax.scores.magnitude(trained), masks, 0.2)
>>> lth_jax.rewind(initial, masks)["kernel"]
Array([[1., 0., 3.]], dtype=float32)
"""

from lth_jax import masks as masks
from lth_jax import pruning as pruning
from lth_jax import rewinding as rewinding
from lth_jax import scores as scores
from lth_jax.pruning import count_schedule as count_schedule
from lth_jax.pruning import density_schedule as density_schedule
from lth_jax.pruning import fractions as fractions
from lth_jax.pruning import keep as keep
from lth_jax.pruning import one_shot as one_shot
from lth_jax.pruning import prune as prune
from lth_jax.rewinding import reinitialize as reinitialize
from lth_jax.rewinding import rewind as rewind

__version__ = "0.2.0"
