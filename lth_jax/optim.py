"""Optax optimizers that leave pruned weights alone, bit for bit."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lth_jax import _trees, errors
from lth_jax import masks as masks_lib

PyTree = Any


def masked(
  inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
  """Freezes pruned weights, whatever the inner optimizer does.

  Gradients are masked before `inner`, so that those of pruned weights enter no
  norm or moment, and updates after it, so that neither momentum of a dense run,
  nor weight decay, nor noise moves them. A masked update is -0.0, because
  p + -0.0 is p, and p + 0.0 is not for p = -0.0. (XLA on CPU takes subnormal
  numbers for zeros in any sum; those alone do not keep their bits.)

  Masks are an argument of `update`, not part of the state: a new round brings
  new masks and a fresh state, and compiles nothing.

  Args:
    inner: any optax optimizer.

  Returns:
    A transformation with `update(grads, state, params, *, masks, **extra)`; it
    raises a ValueError that names the leaf at which masks do not fit, also if
    there is no mask at all.

  >>> import jax.numpy as jnp
  >>> optimizer = masked(optax.sgd(0.5, momentum=0.9))
  >>> params = {"w": jnp.array([[1.0, 1.0]])}
  >>> masks = {"w": jnp.array([[True, False]])}
  >>> state = optimizer.init(params)
  >>> updates, state = optimizer.update(params, state, params, masks=masks)
  >>> optax.apply_updates(params, updates)
  {'w': Array([[0.5, 1. ]], dtype=float32)}
  """
  if not (hasattr(inner, "init") and hasattr(inner, "update")):
    raise TypeError(f"masked takes an optax optimizer, not {inner!r}")
  inner = optax.with_extra_args_support(inner)

  def update(grads, state, params=None, *, masks=None, **extra):
    masks = _within(masks, grads)
    grads = _mask_gradients(grads, masks)
    updates, state = inner.update(grads, state, params, **extra)
    updates = _each(functools.partial(_freeze, masks), updates)
    return updates, _hold_averages(state, params, masks)

  return optax.GradientTransformationExtraArgs(inner.init, update)


def project(masks: PyTree) -> optax.GradientTransformation:
  """Sets pruned weights to zero at every step: the last link of a chain.

  For training loops that cannot pass `masks` to `update`, such as Flax's
  `TrainState`. The masks become constants of the compiled step; the links
  before this one see the gradients of pruned weights.

  Args:
    masks: masks of the params to be trained.

  Returns:
    A stateless transformation that needs `params`. Where a mask is False the
    update is -p; finite weights become 0.0.

  >>> import jax.numpy as jnp
  >>> masks = {"w": jnp.array([[True, False]])}
  >>> optimizer = optax.chain(optax.sgd(0.5), project(masks))
  >>> params = {"w": jnp.array([[1.0, 1.0]])}
  >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
  >>> optax.apply_updates(params, updates)
  {'w': Array([[0.5, 0. ]], dtype=float32)}
  """

  _trees.check_masks(masks)

  def update(updates, state, params=None):
    if params is None:
      raise ValueError("project needs params: update(grads, state, params)")
    done = getattr(state, "done", jnp.int32(0))
    one = functools.partial(_project, masks, done)
    return _each(one, updates, params), ProjectState(jnp.ones_like(done))

  def init(params):
    del params
    return ProjectState(jnp.int32(0))

  return optax.GradientTransformation(init, update)


class ProjectState(NamedTuple):
  """State of `project`.

  Attributes:
    done: 1 after the first update, when pruned weights are zero; else 0.
  """

  done: jax.Array


def create(
  name: str, *, momentum: float = 0.9, weight_decay: float = 0.0
) -> optax.GradientTransformationExtraArgs:
  """One of the papers' optimizers, masked.

  Args:
    name: `adam`, `sgd`, `momentum` or `nesterov`. Adam's constants are 0.9,
      0.999 and 1e-8; the paper does not state them.
    momentum: of `momentum` and `nesterov`; 0.9 in the paper (figure 2).
    weight_decay: factor of the weights that is added to their gradients,
      before any moment is taken, as by a penalty of half of it times the sum
      of squares in the loss; 1e-4 for VGG-19 and ResNet in the paper (appendix
      I), which does not say of which weights: here of all that are trained.

  Returns:
    `masked` of the optimizer, with `update(..., masks=, learning_rate=)`: the
    rate, a scalar, is an argument too, so that it can be data.

  Raises:
    InputError: unknown name.

  >>> optimizer = create("momentum", weight_decay=1e-4)
  >>> params, masks = {"w": jnp.ones((1, 1))}, {"w": jnp.array([[True]])}
  >>> updates, _ = optimizer.update(
  ...   params, optimizer.init(params), params, masks=masks, learning_rate=0.1
  ... )
  >>> updates
  {'w': Array([[-0.10001]], dtype=float32)}
  """
  optimizers = {
    "adam": lambda: optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
    "sgd": optax.identity,
    "momentum": lambda: optax.trace(momentum),
    "nesterov": lambda: optax.trace(momentum, nesterov=True),
  }
  if name not in optimizers:
    raise errors.InputError(
      f"unknown optimizer {name!r}: use one of {', '.join(optimizers)}"
    )
  decay = [optax.add_decayed_weights(weight_decay)] if weight_decay else []
  return masked(optax.chain(*decay, optimizers[name](), descend()))


def descend() -> optax.GradientTransformationExtraArgs:
  """Multiplies by minus the learning rate of the step: a chain's last link.

  Returns:
    A stateless transformation with `update(..., learning_rate=)`, a scalar. It
    is no schedule of the transformation's own steps: an optimizer's state is
    fresh each round, also where a round begins at step k.

  >>> optimizer = descend()
  >>> updates = jnp.array([2.0])
  >>> state = optimizer.init(updates)
  >>> optimizer.update(updates, state, learning_rate=0.1)[0]
  Array([-0.2], dtype=float32)
  """

  def update(updates, state, params=None, *, learning_rate, **extra):
    del params, extra
    scaled = jax.tree.map(
      lambda u: -jnp.asarray(learning_rate, u.dtype) * u, updates
    )
    return scaled, state

  init = optax.init_empty_state
  # pyrefly: ignore[bad-argument-type]: optax types no required extra argument
  return optax.GradientTransformationExtraArgs(init, update)


def _within(masks, updates):
  """Masks of those updates that optax's wrappers hand on.

  `optax.masked` and `optax.partition` put a `MaskedNode` in place of the rest.
  """
  if not jax.tree.leaves(masks):
    raise ValueError(
      "there is no mask, so nothing would be frozen: pass masks= to update; a "
      "wrapper that drops it, such as optax.lookahead, goes inside masked"
    )

  def is_hidden(node):
    return isinstance(node, optax.MaskedNode)

  hidden = [
    path
    for path, node in jax.tree.leaves_with_path(updates, is_leaf=is_hidden)
    if is_hidden(node)
  ]
  here = jax.tree.map_with_path(
    lambda path, mask: (
      None if any(path[: len(h)] == h for h in hidden) else mask
    ),
    masks,
  )
  try:
    _trees.at_masks(updates, here, "updates")
  except ValueError as error:
    raise ValueError(
      f"{error}; a wrapper that reshapes them, such as optax.flatten, goes "
      "inside masked or before project"
    ) from None
  return here


def _each(function, updates, *others):
  """Maps both trees of `optax.lookahead`, or the one of other optimizers."""
  if isinstance(updates, optax.LookaheadParams):
    return optax.LookaheadParams(*map(function, updates, *others))
  return function(updates, *others)


def _mask_gradients(grads, masks):
  found = _trees.at_masks(grads, masks, "gradients")
  pairs = zip(found, jax.tree.leaves(masks))
  if any(grad.ndim > mask.ndim for grad, mask in pairs):  # of each example
    return jax.vmap(masks_lib.apply, in_axes=(0, None))(grads, masks)
  return masks_lib.apply(grads, masks)


def _freeze(masks, updates):
  return _trees.map_masked(
    lambda update, mask: jnp.where(mask, update, jnp.asarray(-0.0, update.dtype)),
    updates,
    masks,
    what="updates",
  )


def _hold_averages(state, params, masks):
  """Pruned entries of the second weights of `schedule_free` equal the first."""

  def is_average(node):
    return isinstance(node, optax.contrib.ScheduleFreeState)

  def hold(node):
    if not is_average(node):
      return node
    z = _trees.map_masked(
      lambda z, mask, param: jnp.where(mask, z, param.astype(z.dtype)),
      node.z,
      _within(masks, node.z),
      params,
      what="averaged weights",
    )
    return node._replace(z=z)

  return jax.tree.map(hold, state, is_leaf=is_average)


def _project(masks, done, updates, params):
  masks = _within(masks, updates)
  pruned = zip(_trees.at_masks(params, masks, "params"), jax.tree.leaves(masks))
  moved = [(done > 0) & jnp.any((p != 0) & ~m) for p, m in pruned]
  for name, leaf in zip(_trees.names(masks), moved):
    if not isinstance(leaf, jax.core.Tracer) and leaf:
      raise ValueError(
        f"pruned weights of {name!r} moved after project had set them to zero: "
        "make it the last link of the chain, and put wrappers that average or "
        "delay updates before it"
      )
  lost = functools.reduce(jnp.logical_or, moved, jnp.bool_(False))
  return _trees.map_masked(
    lambda update, mask, param: jnp.where(
      lost, jnp.asarray(jnp.nan, update.dtype), jnp.where(mask, update, -param)
    ),
    updates,
    masks,
    params,
    what="updates",
  )
