"""Trees that hold the same leaves meet, whatever their containers."""

import dataclasses
import functools
import itertools

import flax.core
import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from lth_jax import masks as masks_lib
from lth_jax import optim, pruning, rewinding, scores


class Net(nnx.Module):
  """Has modules and arguments called `value`, as attention has."""

  def __init__(self):
    rngs = nnx.Rngs(0)
    self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs) for _ in range(2)])
    self.value = nnx.Linear(4, 2, rngs=rngs)


def strings(tree):
  """The tree as checkpoints give it back: keys are strings."""
  if not isinstance(tree, dict):
    return tree
  return {str(key): strings(value) for key, value in tree.items()}


def nnx_views():
  model = Net()
  state = nnx.state(model, nnx.Param)
  pure = nnx.to_pure_dict(state)
  return {
    "module": model,
    "state": state,
    "arrays in a state": nnx.as_pure(state),
    "pure dict": pure,
    "string keys": strings(pure),
    "flat dict": flax.traverse_util.flatten_dict(strings(pure), sep="/"),
  }


def linen_views():
  def init(wrap):
    kernel_init = wrap(nn.initializers.lecun_normal(), (None, "x"))
    net = nn.Sequential([nn.Dense(4, kernel_init=kernel_init), nn.Dense(2)])
    return net.init(jax.random.key(0), jnp.ones((1, 3)))["params"]

  plain = init(lambda kernel_init, axes: kernel_init)
  return {
    "plain": plain,
    "frozen": flax.core.freeze(plain),
    "partitioned": init(nn.with_partitioning),
    "logically partitioned": init(nn.with_logical_partitioning),
    "nnx": nnx.State(jax.tree.map(nnx.Param, plain)),
  }


VIEWS = {"nnx": nnx_views(), "linen": linen_views()}
PAIRS = [
  pytest.param(views[one], views[other], id=f"{library}-{one}-{other}")
  for library, views in VIEWS.items()
  for one, other in itertools.product(views, repeat=2)
]
on_pairs = pytest.mark.parametrize(("params", "other"), PAIRS)


def by_name(tree):
  return dict(sorted(masks_lib.density_by_name(masks_lib.full(tree)).items()))


def half(tree):
  """Masks that drop the first row of each kernel."""
  return jax.tree.map(lambda mask: mask.at[0].set(False), masks_lib.full(tree))


def kernels(tree):
  leaves = [leaf for leaf in jax.tree.leaves(tree) if np.ndim(leaf) == 2]
  return sorted((leaf for leaf in leaves), key=lambda leaf: leaf.shape)


@on_pairs
def test_masks_fit_every_tree_with_the_same_leaves(params, other):
  masks = half(other)
  assert type(masks) is type(other)
  assert by_name(params) == by_name(other)
  masks_lib.check(masks, params)
  for start in (
    masks_lib.apply(params, masks),
    rewinding.reinitialize(jax.random.key(0), lambda key: params, masks),
  ):
    assert jax.tree.structure(start) == jax.tree.structure(params)
    for kernel in kernels(start):
      assert not kernel[0].any() and kernel[1:].all()
  pruned = pruning.prune(scores.magnitude(params), masks, 0.5)
  assert jax.tree.structure(pruned) == jax.tree.structure(masks)
  same = pruning.prune(scores.magnitude(params), half(params), 0.5)
  assert int(masks_lib.hamming(pruned, same)) == 0
  assert int(masks_lib.hamming(same, pruned)) == 0
  rates = pruning.fractions(half(params), [(".", 0.5)])
  again = pruning.prune(scores.magnitude(params), masks, rates)
  assert int(masks_lib.hamming(again, pruned)) == 0
  unpacked = masks_lib.unpack(masks_lib.pack(masks), params)
  assert int(masks_lib.hamming(unpacked, masks)) == 0


@on_pairs
def test_optimizers_take_masks_of_every_tree(params, other):
  masks = half(other)
  ones = jax.tree.map(jnp.ones_like, nnx.as_pure(params))
  optimizer = optim.masked(optax.sgd(0.5))
  state = optimizer.init(ones)
  updates, _ = optimizer.update(ones, state, ones, masks=masks)
  for kernel in kernels(updates):
    assert not kernel[0].any() and (kernel[1:] == -0.5).all()


@pytest.mark.parametrize("view", VIEWS["nnx"])
@pytest.mark.parametrize("keep", ["masked", "project"])
def test_an_nnx_optimizer_takes_masks_of_every_tree(view, keep):
  masks = half(VIEWS["nnx"][view])
  model = Net()
  nnx.update(model, masks_lib.apply(nnx.state(model, nnx.Param), masks))
  inner = optax.adamw(0.1)
  extra = {"masks": masks} if keep == "masked" else {}
  inner = optim.masked(inner) if extra else optim.project(inner, masks)
  optimizer = nnx.Optimizer(model, inner, wrt=nnx.Param)

  @nnx.jit
  def step(model, optimizer):
    def loss(model):
      hidden = model.layers[0](jnp.ones((1, 3)))
      return (model.value(jnp.tanh(hidden)) ** 2).sum()

    optimizer.update(model, nnx.grad(loss)(model), **extra)

  before = nnx.to_pure_dict(nnx.state(model, nnx.Param))
  step(model, optimizer)
  after = nnx.to_pure_dict(nnx.state(model, nnx.Param))
  for layer in (after["layers"][0], after["value"]):
    assert not layer["kernel"][0].any()
  moved = after["value"]["kernel"] != before["value"]["kernel"]
  assert moved[1:].all()


def node(cls):
  cls = dataclasses.dataclass(frozen=True)(cls)
  return jax.tree_util.register_dataclass(cls)


@node
class Plain:
  kernel: jax.Array
  bias: jax.Array


@node
class Strict:
  """Looks at its children."""

  kernel: jax.Array
  bias: jax.Array

  def __post_init__(self):
    if self.kernel.ndim != 2 or self.bias.shape != self.kernel.shape[1:]:
      raise AssertionError("not a layer")


@node
class Casting:
  """Makes float32 arrays of its children, of `None` too."""

  kernel: jax.Array
  bias: jax.Array

  def __post_init__(self):
    for name in ("kernel", "bias"):
      child = getattr(self, name)
      child = jnp.zeros(()) if child is None else child
      object.__setattr__(self, name, jnp.asarray(child, jnp.float32))


@pytest.mark.parametrize("layer", [Strict, Casting])
def test_nodes_that_look_at_their_children_are_pruned_like_others(layer):
  def build(layer):
    kernel = jax.random.normal(jax.random.key(0), (3, 4))
    return {"a": [layer(kernel=kernel, bias=jnp.ones(4))], "z": kernel}

  def everything(params):
    masks = masks_lib.full(params)
    rates = pruning.one_shot(pruning.fractions(masks, [(".", 0.2)]), 2)
    ticket = pruning.prune(scores.magnitude(params), masks, rates)
    ticket = masks_lib.unpack(masks_lib.pack(ticket), params)
    mixed = masks_lib.permute(jax.random.key(0), ticket)
    noise = scores.random(jax.random.key(0), params)
    random = pruning.prune(noise, masks, 0.2)
    assert set(masks_lib.density_by_name(masks)) == {"a/0/kernel", "z"}
    return (
      ticket,
      masks_lib.union(mixed, random),
      rewinding.rewind(params, ticket),
    )

  found, expected = everything(build(layer)), everything(build(Plain))
  assert isinstance(found[-1]["a"][0], layer)
  for one, other in zip(found[:2], expected[:2]):
    assert int(masks_lib.hamming(one, other)) == 0
  for one, other in zip(kernels(found[-1]), kernels(expected[-1])):
    np.testing.assert_array_equal(one, other)


def test_two_leaves_of_one_name_are_an_error():
  w = jnp.ones((2, 3))
  params = {"a/b": w, "a": {"b": w}}
  masks = jax.tree.map(lambda leaf: leaf > 0, params)
  for function in (
    masks_lib.apply,
    functools.partial(pruning.prune, fraction=0.2),
  ):
    with pytest.raises(ValueError, match="share a name"):
      function(params, masks)


def test_only_a_box_around_one_leaf_drops_its_value():
  @node
  class Attention:
    query: jax.Array
    value: jax.Array

  w = jnp.ones((2, 3))
  params = {"attention": Attention(query=w, value=w)}
  assert list(by_name(params)) == ["attention/query", "attention/value"]
