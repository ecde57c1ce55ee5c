"""Linen and NNX modules as pairs of pure functions."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx
from helpers import tiny

from lth_jax import masks as masks_lib
from lth_jax import models, optim, pruning, scores
from lth_jax.data import scaling
from lth_jax.lottery import rounds
from lth_jax.training import loop


class LinenNet(nn.Module):
  """BatchNorm and Dropout between dense layers."""

  @nn.compact
  def __call__(self, images, train):
    """Returns logits."""
    x = nn.Dense(tiny.HIDDEN)(images.reshape(len(images), -1))
    x = nn.BatchNorm(use_running_average=not train)(x)
    x = nn.Dropout(0.5, deterministic=not train)(nn.relu(x))
    return nn.Dense(tiny.CLASSES)(x)


class NnxNet(nnx.Module):
  """The same."""

  def __init__(self, rngs):
    self.hidden = nnx.Linear(np.prod(tiny.IMAGE), tiny.HIDDEN, rngs=rngs)
    self.norm = nnx.BatchNorm(tiny.HIDDEN, rngs=rngs)
    self.dropout = nnx.Dropout(0.5, rngs=rngs)
    self.output = nnx.Linear(tiny.HIDDEN, tiny.CLASSES, rngs=rngs)

  def __call__(self, images):
    """Returns logits."""
    x = self.norm(self.hidden(images.reshape(len(images), -1)))
    return self.output(self.dropout(nnx.relu(x)))


def make(kind):
  if kind == "nnx":
    return models.from_nnx(NnxNet)
  return models.from_linen(LinenNet(), tiny.IMAGE)


@pytest.fixture(scope="module", params=["linen", "nnx"])
def applied(request):
  """A network's init, and its compiled apply on a batch."""
  model = make(request.param)
  init = jax.jit(model.init)
  apply = jax.jit(model.apply, static_argnames="train")
  images = np.float32(tiny.dataset().train.images[:20]) / 255
  params, stats = jax.device_get(init(tiny.key()))

  def call(*, train, seed=0, stats=stats):
    key = tiny.key(seed)
    return jax.device_get(apply(params, stats, images, train=train, key=key))

  return init, stats, call


def test_dropout_depends_on_the_key_and_is_off_in_evaluation(applied):
  _, _, call = applied
  first, again, other = (call(train=True, seed=s)[0] for s in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()
  one, two = (call(train=False, seed=s)[0] for s in (1, 2))
  np.testing.assert_array_equal(one, two)


def test_statistics_move_in_training_only(applied):
  _, stats, call = applied
  _, same = call(train=False)
  tiny.assert_equal_bits(same, stats)
  logits, moved = call(train=True)
  changed = jax.tree.map(lambda a, b: bool((a != b).any()), stats, moved)
  assert all(jax.tree.leaves(changed))
  assert jax.tree.structure(stats) == jax.tree.structure(moved)
  # Evaluation uses the statistics that it is given.
  assert (call(train=False, stats=moved)[0] != call(train=False)[0]).any()
  assert logits.shape == (20, tiny.CLASSES)


def test_init_is_a_function_of_the_key(applied):
  init, _, _ = applied
  one, again, other = (jax.device_get(init(tiny.key(s))) for s in (4, 4, 5))
  tiny.assert_equal_bits(one, again)
  pairs = zip(jax.tree.leaves(one[0]), jax.tree.leaves(other[0]))
  kernels = [(a, b) for a, b in pairs if a.ndim == 2]
  assert len(kernels) == 2 and all((a != b).all() for a, b in kernels)


class TwoDropouts(nnx.Module):
  """Two layers that are given the same input."""

  def __init__(self, rngs):
    self.first = nnx.Dropout(0.5, rngs=rngs)
    self.second = nnx.Dropout(0.5, rngs=rngs)

  def __call__(self, images):
    """Returns what each leaves."""
    return self.first(images), self.second(images)


def test_layers_of_an_nnx_module_do_not_share_their_noise():
  model = models.from_nnx(TwoDropouts)
  images = np.ones((8, 8), np.float32)
  (first, second), _ = model.apply(
    *model.init(tiny.key()), images, train=True, key=tiny.key()
  )
  assert (np.asarray(first) != np.asarray(second)).any()


def test_a_ticket_of_an_nnx_module_trains_as_one_of_linen():
  model = models.from_nnx(NnxNet)
  params, stats = jax.device_get(jax.jit(model.init)(tiny.key()))
  full = masks_lib.full(params)
  rates = pruning.fractions(full, [("output", 0.25), ("hidden", 0.5)])
  masks = pruning.prune(scores.magnitude(params), full, rates)
  initial = loop.Start(params, stats, np.int32(0), full)
  start = jax.device_get(rounds.reset(initial, masks))
  scale = scaling.make("unit", None)
  trainer = loop.make(model, optim.create("adam"), scale, batch_size=tiny.BATCH)
  plan = loop.plan([0, 48], [True, True], [True, True], 2)
  inputs = loop.Inputs(tiny.data(), tiny.sample(), tiny.key(), tiny.SCHEDULE)
  progress, history = trainer.advance(
    trainer.begin(start, inputs.split), plan, inputs
  )
  assert history.valid.loss[1] < history.valid.loss[0] and progress.finite
  trained = jax.device_get(progress.state)
  moved = jax.tree.map(
    lambda a, b: bool((a != b).any()),
    (trained.params, trained.stats),
    (start.params, start.stats),
  )
  assert all(jax.tree.leaves(moved))
  kept = jax.tree.leaves(trained.masks)
  assert sorted(int(mask.sum()) for mask in kept) == [18, 256]
  tiny.assert_equal_bits(
    trained.params, masks_lib.apply(trained.params, start.masks)
  )


class NamedStream(nnx.Module):
  """Dropout from a random stream of another name."""

  def __init__(self, rngs):
    self.dropout = nnx.Dropout(0.5, rng_collection="noise", rngs=rngs)

  def __call__(self, images):
    """Returns what is left."""
    return self.dropout(images)


def test_every_random_stream_of_an_nnx_module_follows_the_key():
  model = models.from_nnx(lambda rngs: NamedStream(nnx.Rngs(noise=0)))
  params, stats = model.init(tiny.key())
  images = np.ones((8, 8), np.float32)
  one, again, other = (
    model.apply(params, stats, images, train=True, key=tiny.key(seed))[0]
    for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(one, again)
  assert (np.asarray(one) != np.asarray(other)).any()


class WithState(nn.Module):
  """A module with a collection of its own."""

  @nn.compact
  def __call__(self, images, train):
    """Returns logits."""
    self.variable("cache", "seen", np.zeros, 1)
    return nn.Dense(3)(images)


class WithoutParams(nn.Module):
  """A module that learns nothing."""

  def __call__(self, images, train):
    """Returns its input."""
    return images


@pytest.mark.parametrize("module", [WithState(), WithoutParams()])
def test_collections_that_linen_modules_may_not_have(module):
  with pytest.raises(ValueError, match=f"{type(module).__name__} has the coll"):
    models.from_linen(module, tiny.IMAGE).init(tiny.key())
