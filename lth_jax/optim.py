"""Optax optimizers that keep the bits of pruned weights."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lth_jax import _trees

PyTree = Any


def masked(
  inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
  """Freezes pruned weights, whatever the inner optimizer does.

  Gradients are masked before `inner`, so that gradients of pruned weights enter
  no norm or moment, and updates after it, so that neither momentum of a dense
  run, nor weight decay, nor noise moves them. A masked update is -0.0, because
  p + -0.0 is p, and p + 0.0 is not for p = -0.0. (XLA on CPU treats subnormal
  numbers as zeros in any sum; only those do not keep their bits.)

  Masks are an argument of `update`, not part of the state: a new round brings
  new masks and a fresh state, and compiles nothing.

  `masked` is the outermost transformation, as in `masked(optax.lookahead(...))`
  or `masked(optax.chain(...))`: an optimizer around it could move pruned
  weights again. Groups of `optax.partition` may be masked one by one.
  `lookahead` keeps slow weights and `schedule_free` averaged ones: those are
  frozen too. For `optax.contrib.dpsgd`, gradients have a first axis of
  examples.

  Args:
    inner: any optax optimizer, the whole of it.

  Returns:
    A transformation with `update(grads, state, params, *, masks, **extra)`; it
    raises a ValueError that names the leaf at which masks do not fit, also if
    there is no mask at all.

  Raises:
    TypeError: `inner` is no optimizer.

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
    kind = type(inner).__name__
    raise TypeError(f"inner is a {kind}, not an optax optimizer")
  inner = optax.with_extra_args_support(inner)

  def update(updates, state, params=None, *, masks=None, **extra):
    if masks is None:
      raise ValueError(
        "the masks, a NoneType, hold no mask: pass masks= to update, and put a "
        "wrapper that does not hand it on, such as lookahead, inside masked"
      )
    updates = _mask_gradients(masks, updates)
    updates, state = inner.update(updates, state, params, **extra)
    updates = _at_masks(_freeze, masks, updates)
    return updates, _freeze_averages(masks, state, params)

  return optax.GradientTransformationExtraArgs(inner.init, update)


def project(
  inner: optax.GradientTransformation, masks: PyTree
) -> optax.GradientTransformationExtraArgs:
  """Sets pruned weights to zero at every step, whatever the optimizer does.

  Like `masked`, for training loops that cannot pass `masks` to `update`, such
  as Flax's `TrainState` and `nnx.Optimizer`. The masks become constants of the
  compiled step.

  Args:
    inner: any optax optimizer, the whole of it, as for `masked`.
    masks: masks of the params to be trained.

  Returns:
    A transformation that needs `params`. Where a mask is False the update is
    -p; finite weights become 0.0.

  Raises:
    ValueError: there is no mask, or one is not bool.
    TypeError: `inner` is no optimizer.

  >>> masks = {"w": jnp.array([[True, False]])}
  >>> optimizer = project(optax.sgd(0.5), masks)
  >>> params = {"w": jnp.array([[1.0, 1.0]])}
  >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
  >>> optax.apply_updates(params, updates)
  {'w': Array([[0.5, 0. ]], dtype=float32)}
  """
  inner = masked(inner)
  _trees.check_masks(masks)

  def update(updates, state, params=None, **extra):
    if params is None:
      raise ValueError("project needs params: update(grads, state, params)")
    updates, state = inner.update(updates, state, params, masks=masks, **extra)
    return _at_masks(_remove, masks, updates, params), state

  return optax.GradientTransformationExtraArgs(inner.init, update)


def create(
  name: str, *, momentum: float = 0.9, weight_decay: float = 0.0
) -> optax.GradientTransformationExtraArgs:
  """Returns one of the paper's optimizers, masked.

  Args:
    name: `adam`, `sgd`, `momentum` or `nesterov`. Adam's constants are 0.9,
      0.999 and 1e-8; the paper does not state them.
    momentum: of `momentum` and `nesterov`; 0.9 in the paper (figure 2).
    weight_decay: factor of the weights that is added to their gradients,
      before any moment is taken: a penalty of half of it times the sum of
      squares in the loss. The paper's value is 1e-4 for VGG-19 and ResNet
      (appendix I), for unstated weights; here it applies to all trained ones.

  Returns:
    `masked` of the optimizer, with `update(..., masks=, learning_rate=)`: the
    rate, a scalar, is an argument too, so that it can be data.

  Raises:
    ValueError: unknown name.

  >>> optimizer = create("momentum", weight_decay=1e-4)
  >>> params, masks = {"w": jnp.ones((1, 1))}, {"w": jnp.array([[True]])}
  >>> updates, _ = optimizer.update(
  ...   params, optimizer.init(params), params, masks=masks, learning_rate=0.1
  ... )
  >>> updates
  {'w': Array([[-0.10001]], dtype=float32)}
  """
  if name not in MAKERS:
    raise ValueError(
      f"unknown optimizer {name!r}: use one of {', '.join(MAKERS)}"
    )
  return complete(MAKERS[name](momentum), weight_decay)


# momentum -> the part of an optimizer that makes updates of gradients, such as
# `optax.scale_by_adam`: without a learning rate, and without masks.
Maker = Callable[[float], optax.GradientTransformation]
MAKERS: Mapping[str, Maker] = {
  "adam": lambda momentum: optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
  "sgd": lambda momentum: optax.identity(),
  "momentum": optax.trace,
  "nesterov": lambda momentum: optax.trace(momentum, nesterov=True),
}


def complete(
  inner: optax.GradientTransformation, weight_decay: float = 0.0
) -> optax.GradientTransformationExtraArgs:
  """Adds weight decay before, and the learning rate and masks around.

  Returns what `create` returns, of any transformation of gradients.

  >>> optimizer = complete(optax.scale_by_sign())
  >>> params, masks = {"w": jnp.ones((1, 1))}, {"w": jnp.array([[True]])}
  >>> updates, _ = optimizer.update(
  ...   params, optimizer.init(params), params, masks=masks, learning_rate=0.1
  ... )
  >>> updates
  {'w': Array([[-0.1]], dtype=float32)}
  """
  decay = [optax.add_decayed_weights(weight_decay)] if weight_decay else []
  return masked(optax.chain(*decay, inner, descend()))


def descend() -> optax.GradientTransformationExtraArgs:
  """Returns the last link of a chain: minus the learning rate times updates.

  Returns:
    A stateless transformation with `update(..., learning_rate=)`, a scalar. A
    schedule over the transformation's own steps would be wrong: an optimizer's
    state is fresh each round, also where a round begins at step k.

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


def _freeze(update, mask):
  return jnp.where(mask, update, jnp.asarray(-0.0, update.dtype))


def _remove(update, mask, param):
  return jnp.where(mask, update, -param)


def _hide(grad, mask):
  return jnp.where(mask, grad, jnp.zeros((), grad.dtype))


def _hold(average, mask, param):
  return jnp.where(mask, average, param.astype(average.dtype))


def _at_masks(function, masks, tree, *others):
  """Maps the masked leaves of a tree, or of both trees of `lookahead`."""
  if isinstance(tree, optax.LookaheadParams):
    pairs = zip(tree, *others)
    return type(tree)(*(_at_masks(function, masks, *pair) for pair in pairs))
  here = _present(masks, tree)
  if not here:
    return tree
  return _trees.map_masked(function, tree, here, *others, what="updates")


def _present(masks, tree):
  """Masks by name, except of leaves that `optax.partition` hides."""
  _trees.check_masks(masks)
  leaves = {x.name: x.value for x in _trees.named(tree, optax.MaskedNode)}
  hidden = {k for k, v in leaves.items() if isinstance(v, optax.MaskedNode)}
  present = {}
  for name, mask in _trees.by_name(masks, jax.tree.leaves(masks)).items():
    if name in leaves and name not in hidden:
      present[name] = mask
    elif not any(f"{name}/".startswith(node and f"{node}/") for node in hidden):
      raise ValueError(
        f"masks have a leaf {name!r}, updates have none; if an optax wrapper "
        "reshapes them, such as flatten, put it inside masked or project"
      )
  return present


def _mask_gradients(masks, grads):
  hide = functools.partial(_at_masks, _hide, masks)
  present = _present(masks, grads)
  found = _trees.at_masks(grads, present, "gradients")
  pairs = zip(found, jax.tree.leaves(present))
  # Those of single examples have an axis more.
  if any(grad.ndim > mask.ndim for grad, mask in pairs):
    hide = jax.vmap(hide)
  return hide(grads)


def _freeze_averages(masks, state, params):
  """Sets pruned weights in the averages of `schedule_free` to the params'.

  They differ after a dense run, and where noise is added.
  """

  def is_averaging(node):
    return isinstance(node, optax.contrib.ScheduleFreeState)

  def freeze(node):
    if not is_averaging(node):
      return node
    return node._replace(z=_at_masks(_hold, masks, node.z, params))

  return jax.tree.map(freeze, state, is_leaf=is_averaging)
