"""ResNet-20 and VGG-19 against plain Flax modules with the same weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny

from lth_jax import models

with_norm = pytest.mark.parametrize("kind", ["resnet20", "vgg19"])


def _norm(x, train, name):
  norm = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, name=name)
  return norm(x)


class PlainBlock(nn.Module):
  out: int
  stride: int
  project: bool

  @nn.compact
  def __call__(self, x, train):
    y = x
    for i, stride in enumerate((self.stride, 1)):
      y = nn.Conv(
        self.out, (3, 3), stride, 1, use_bias=False, name=f"Conv_{i}"
      )(nn.relu(y) if i else y)
      y = _norm(y, train, f"BatchNorm_{i}")
    if self.project:
      x = nn.Conv(
        self.out, (1, 1), self.stride, use_bias=False, name="shortcut"
      )(x)
      x = _norm(x, train, "shortcut_norm")
    return nn.relu(x + y)


class PlainResNet(nn.Module):
  first: int

  @nn.compact
  def __call__(self, x, train):
    x = nn.Conv(self.first, (3, 3), use_bias=False, name="Conv_0")(x)
    x = nn.relu(_norm(x, train, "BatchNorm_0"))
    for i in range(9):
      begins = i in (3, 6)
      out = self.first * 2 ** (i // 3)
      x = PlainBlock(out, 1 + begins, begins, name=f"Block_{i}")(x, train)
    x = nn.avg_pool(x, x.shape[1:3])
    return nn.Dense(10, name="Dense_0")(x[:, 0, 0])


class PlainVGG(nn.Module):
  first: int

  @nn.compact
  def __call__(self, x, train):
    plan = "1 1 P 2 2 P 4 4 4 4 P 8 8 8 8 P 8 8 8 8"
    i = 0
    for entry in plan.split():
      if entry == "P":
        x = nn.max_pool(x, (2, 2), (2, 2))
        continue
      out = self.first * int(entry)
      x = nn.Conv(out, (3, 3), use_bias=False, name=f"Conv_{i}")(x)
      x = nn.relu(_norm(x, train, f"BatchNorm_{i}"))
      i += 1
    x = nn.avg_pool(x, x.shape[1:3])
    return nn.Dense(10, name="Dense_0")(x[:, 0, 0])


IMAGES = {"resnet20": (8, 8, 3), "vgg19": (32, 16, 1)}


def narrow_model(kind, image):
  """The network with 2 channels in the first layer, and a plain one."""
  if kind == "resnet20":
    return models.resnet20(image, 10, width=1 / 8), PlainResNet(2)
  return models.vgg19(image, 10, width=1 / 32), PlainVGG(2)


def differentiated(apply):
  """Logits, stats and the gradient of a loss, of (weights, images)."""

  def loss(params, stats, images):
    logits, stats = apply(params, stats, images)
    return jnp.sin(logits).sum(), (logits, stats)

  return jax.grad(loss, has_aux=True)


def trial(kind, image):
  """Weights off their initial values, so that each matters, and images."""
  rng = np.random.default_rng(0)
  model, _ = narrow_model(kind, image)
  params, stats = jax.eval_shape(model.init, tiny.key())
  params, stats = jax.tree.map(
    lambda x: (
      rng.uniform(0.5, 1.5, x.shape)
      * (rng.choice([-1, 1], x.shape) if len(x.shape) == 4 else 1)
    ),
    (params, stats),
  )
  return params, stats, rng.standard_normal((6, *image))


def assert_close(found, expected):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for (path, a), b in zip(
    jax.tree.leaves_with_path(found), jax.tree.leaves(expected)
  ):
    scale = np.abs(b).max() + 1e-6
    name = jax.tree_util.keystr(path)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-7 * scale, err_msg=name)


@with_norm
def test_values_and_gradients_are_those_of_a_plain_module(kind):
  model, plain = narrow_model(kind, IMAGES[kind])

  def apply(params, stats, images):
    variables = {"params": params, "batch_stats": stats}
    logits, new = plain.apply(variables, images, True, mutable=["batch_stats"])
    return logits, new["batch_stats"]

  def ours(params, stats, images):
    return model.apply(params, stats, images, train=True, key=tiny.key())

  with jax.enable_x64(True):
    inputs = trial(kind, IMAGES[kind])
    found = tiny.quick_jit(differentiated(ours))(*inputs)
    expected = tiny.quick_jit(differentiated(apply))(*inputs)
    assert_close(*jax.device_get((found, expected)))
    grads, _ = expected
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))


@with_norm
def test_evaluation_uses_the_statistics_it_is_given_and_keeps_them(kind):
  # The sizes need not be even for the ResNet.
  image = {"resnet20": (7, 5, 2), "vgg19": (16, 16, 1)}[kind]
  model, plain = narrow_model(kind, image)
  with jax.enable_x64(True):
    params, stats, images = trial(kind, image)

    @tiny.quick_jit
    def both(params, stats, images):
      variables = {"params": params, "batch_stats": stats}
      found = model.apply(params, stats, images, train=False, key=tiny.key())
      return *found, plain.apply(variables, images, False)

    found, same, expected = jax.device_get(both(params, stats, images))
    assert_close(found, expected)
    tiny.assert_equal_bits(same, stats)
