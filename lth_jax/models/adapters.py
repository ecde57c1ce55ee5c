"""A network as two pure functions, made from Flax Linen or Flax NNX.

Our networks are Linen modules, which have short and stable leaf names; NNX is
what Flax recommends to newcomers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

Params = Any
Stats = Any


class Apply(Protocol):
  """Runs the network on a batch."""

  def __call__(
    self,
    params: Params,
    stats: Stats,
    images: jax.Array,
    *,
    train: bool,
    key: jax.Array,
  ) -> tuple[jax.Array, Stats]:
    """Returns logits `[B, num_classes]` and the new stats.

    Args:
      params: trainable leaves.
      stats: leaves that are not trained, such as BatchNorm's; or `{}`.
      images: `[B, H, W, C]` float32.
      train: whether dropout and batch statistics are on.
      key: for dropout; consumed.
    """
    ...


class Model(NamedTuple):
  """A network.

  Attributes:
    init: key -> (params, stats).
    apply: see `Apply`.
    output: name of the output layer's kernel, which is pruned at a rate of its
      own; "" if there is none.
  """

  init: Callable[[jax.Array], tuple[Params, Stats]]
  apply: Apply
  output: str = ""


def from_linen(
  module: nn.Module, image_shape: tuple[int, ...], output: str = ""
) -> Model:
  """Wraps a Linen module that is called as `module(images, train=...)`.

  Args:
    module: a module whose only collections are `params` and `batch_stats`.
    image_shape: `(H, W, C)`.
    output: as in `Model`.

  Returns:
    The model; its params are Linen's plain dict. Its `init` raises a ValueError
    for a module with other collections.

  Example:
    >>> class Linear(nn.Module):
    ...   @nn.compact
    ...   def __call__(self, images, train):
    ...     return nn.Dense(10)(images.reshape(len(images), -1))
    >>> model = from_linen(Linear(), (2, 2, 1))
    >>> params, stats = model.init(jax.random.key(0))
    >>> jax.tree.map(jnp.shape, params)
    {'Dense_0': {'bias': (10,), 'kernel': (4, 10)}}
  """

  def init(key):
    images = jnp.zeros((1, *image_shape))
    variables = module.init(key, images, train=False)
    others = set(variables) - {"params", "batch_stats"}
    if others or "params" not in variables:
      raise ValueError(
        f"{type(module).__name__} has the collections {sorted(variables)}; "
        "from_linen takes 'params', and 'batch_stats' if there are any"
      )
    return variables["params"], variables.get("batch_stats", {})

  def apply(params, stats, images, *, train, key):
    logits, updated = module.apply(
      {"params": params, "batch_stats": stats},
      images,
      train=train,
      rngs={"dropout": key},
      mutable=["batch_stats"] if train else [],
    )
    return logits, updated.get("batch_stats", stats)

  return Model(init, apply, output)


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module], output: str = "") -> Model:
  """Wraps an NNX module that is called as `module(images)`.

  Args:
    make: builds the module; is called for every key.
    output: as in `Model`.

  Returns:
    The model. Its params are the `nnx.State` of `nnx.Param` variables, with
    attribute paths as leaf names (`linear/kernel`). Its stats are all other
    variables except random streams, which are seeded from `apply`'s key.

  Example:
    >>> model = from_nnx(lambda rngs: nnx.Linear(4, 10, rngs=rngs))
    >>> params, stats = model.init(jax.random.key(0))
    >>> params["kernel"][...].shape
    (4, 10)
  """
  graph, _, randomness, _ = _split(make(nnx.Rngs(0)))

  def init(key):
    _, params, _, stats = _split(make(nnx.Rngs(key)))
    return params, stats

  def apply(params, stats, images, *, train, key):
    # New variables, since NNX refuses to change those of an outer trace.
    new = jax.tree.map(lambda leaf: leaf, (randomness, stats))
    module = nnx.merge(graph, params, *new)
    if not train:
      module.eval()
      return module(images), stats
    module.train()
    # By name, since `nnx.reseed` silently keeps a stream that it is not given.
    streams = _stream_names(randomness)
    nnx.reseed(
      module, **dict(zip(streams, jax.random.split(key, len(streams))))
    )
    logits = module(images)
    return logits, _split(module)[3]

  return Model(init, apply, output)


def _stream_names(randomness: nnx.State) -> list[str]:
  """Returns the names of a module's random streams, such as dropout."""
  states = jax.tree.leaves(
    randomness, is_leaf=lambda x: isinstance(x, nnx.RngState)
  )
  return sorted({state.tag for state in states})


def _split(module: nnx.Module):
  return nnx.split(module, nnx.Param, nnx.RngState, ...)
