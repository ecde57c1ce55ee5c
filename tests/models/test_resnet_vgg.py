"""ResNet-20 and VGG-19: their counts, and plain Flax modules beside them."""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny

from lth_jax import masks as masks_lib
from lth_jax import models, optim, pruning, scores
from lth_jax.data import scaling
from lth_jax.models import layers
from lth_jax.training import loop

CIFAR = (32, 32, 3)
MAKE = {"resnet20": models.resnet20, "vgg19": models.vgg19}
RULES = {  # figure 2; the ResNet's shortcuts and both outputs are not pruned
  "resnet20": [("shortcut|Dense", 0.0), ("kernel", 0.2)],
  "vgg19": [("Dense", 0.0), ("kernel", 0.2)],
}
both = pytest.mark.parametrize("kind", MAKE)


def shapes(kind, image=CIFAR, **options):
  """{leaf name: shape} of params and of stats."""
  made = jax.eval_shape(MAKE[kind](image, 10, **options).init, tiny.key())
  return [
    {
      jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
      for path, leaf in jax.tree.leaves_with_path(tree)
    }
    for tree in made
  ]


def count(found, pattern):
  return sum(
    int(np.prod(shape))
    for name, shape in found.items()
    if re.search(pattern, name)
  )


def test_resnet20_has_the_papers_weights():
  params, stats = shapes("resnet20")
  assert count(params, "Conv_./kernel") == 267_696
  assert count(params, "shortcut/kernel") == 2_560
  assert count(params, "Dense_0/kernel") == 640
  assert count(params, "kernel") == 270_896
  # The paper's 274K: with BatchNorm, its statistics and the output's biases.
  assert count(params, "") + count(stats, "") == 274_042


def test_vgg19_has_the_papers_weights():
  params, _ = shapes("vgg19")
  assert count(params, "Conv_") == 20_018_880
  assert count(params, "kernel") == 20_024_000
  assert params["Dense_0/kernel"] == (512, 10)
  sizes = sorted(np.prod(params[f"Conv_{i}/kernel"]) for i in range(16))
  assert sizes[:2] == [1_728, 36_864] and sizes[-1] == 2_359_296


def test_leaves_of_resnet20_are_named():
  params, _ = shapes("resnet20")
  kernels = {name for name in params if name.endswith("kernel")}
  blocks = {f"Block_{i}/Conv_{j}/kernel" for i in range(9) for j in range(2)}
  shortcuts = {f"Block_{i}/shortcut/kernel" for i in (3, 6)}
  assert kernels == {"Conv_0/kernel", "Dense_0/kernel"} | blocks | shortcuts


@both
def test_biases_are_those_of_the_output_and_of_batch_norm(kind):
  params, stats = shapes(kind)
  biases = {name for name in params if name.endswith("bias")}
  assert all(re.search("Dense_0|BatchNorm_|_norm", name) for name in biases)
  norms = {name.removesuffix("/scale") for name in params if "/scale" in name}
  assert set(stats) == {f"{x}/{y}" for x in norms for y in ("mean", "var")}
  convolutions = [s for s in params.values() if len(s) == 4]
  assert len(norms) == len(convolutions) == {"resnet20": 21, "vgg19": 16}[kind]


@both
def test_a_width_factor_scales_all_but_the_output(kind):
  narrow, _ = shapes(kind, width=0.25)
  for name, shape in shapes(kind)[0].items():
    ends = {3, 10}  # colours and classes
    if name.endswith("kernel"):
      expected = shape[:-2] + tuple(
        n if n in ends else n // 4 for n in shape[-2:]
      )
    else:
      expected = tuple(n if n in ends else n // 4 for n in shape)
    assert narrow[name] == expected


@functools.cache
def trained_model(kind):
  """A network for images of `tiny`, and its initial weights."""
  image = {"resnet20": (8, 8, 1), "vgg19": (16, 16, 1)}[kind]
  model = MAKE[kind](image, tiny.CLASSES, width=1 / 8)
  # With threefry, compiling this takes four times as long.
  key = jax.random.key(0, impl="unsafe_rbg")
  return model, image, jax.device_get(jax.jit(model.init)(key))


@both
def test_kernels_start_from_glorots_normal_distribution(kind):
  kernels = []
  for path, leaf in jax.tree.leaves_with_path(trained_model(kind)[2]):
    name = path[-1].key
    if name != "kernel":
      assert (leaf == {"scale": 1, "var": 1}.get(name, 0)).all()
      continue
    window = np.prod(leaf.shape[:-2])
    deviation = np.sqrt(2 / (window * sum(leaf.shape[-2:])))
    kernels.append(leaf.ravel() / deviation)
    assert abs(kernels[-1].std() - 1) < 5 / np.sqrt(leaf.size)
  together = np.concatenate(kernels)
  assert abs(together.std() - 1) < 4 / np.sqrt(together.size)
  assert abs(together.mean()) < 4 / np.sqrt(together.size)


@pytest.mark.parametrize("image", [(15, 32, 3), (32, 8, 3)])
def test_vgg19_names_the_sizes_that_it_can_halve(image):
  with pytest.raises(ValueError, match=f"{image[0]} x .* must be 16 or more"):
    models.vgg19(image, 10)


def init_shapes(model):
  return jax.eval_shape(model.init, tiny.key())[0]


def test_odd_sizes_are_halved_without_their_last_row():
  for image in ((28, 28, 1), (19, 31, 1)):
    params = init_shapes(models.vgg19(image, 10, width=0.1))
    assert params["Dense_0"]["kernel"].shape == (51, 10)
  params = init_shapes(models.conv(6, (28, 28, 1), 10))
  assert params["Dense_0"]["kernel"].shape == (3 * 3 * 256, 256)
  with pytest.raises(ValueError, match=r"7 x 9 .* needs 8 or more"):
    models.conv(6, (7, 9, 1), 10)


def test_a_kernel_without_a_middle_is_an_error():
  with pytest.raises(ValueError, match="kernel_size 2 is not odd"):
    layers.convolution(4, 2)


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


def trial(kind, image, seed):
  """Weights off their initial values, so that each matters, and images."""
  rng = np.random.default_rng(seed)
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


@functools.cache
def ours(kind):
  model, _ = narrow_model(kind, IMAGES[kind])
  return jax.jit(
    differentiated(
      lambda params, stats, images: model.apply(
        params, stats, images, train=True, key=tiny.key()
      )
    )
  )


def assert_close(found, expected):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for (path, a), b in zip(
    jax.tree.leaves_with_path(found), jax.tree.leaves(expected)
  ):
    scale = np.abs(b).max() + 1e-6
    name = jax.tree_util.keystr(path)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-7 * scale, err_msg=name)


@both
def test_values_and_gradients_are_those_of_a_plain_module(kind):
  _, plain = narrow_model(kind, IMAGES[kind])

  def apply(params, stats, images):
    variables = {"params": params, "batch_stats": stats}
    logits, new = plain.apply(variables, images, True, mutable=["batch_stats"])
    return logits, new["batch_stats"]

  with jax.enable_x64(True):
    inputs = trial(kind, IMAGES[kind], 0)
    found = ours(kind)(*inputs)
    expected = jax.jit(differentiated(apply))(*inputs)
    assert_close(*jax.device_get((found, expected)))
    grads, _ = expected
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))


@both
def test_evaluation_uses_the_statistics_it_is_given_and_keeps_them(kind):
  # The sizes need not be even for the ResNet.
  image = {"resnet20": (7, 5, 2), "vgg19": (16, 16, 1)}[kind]
  model, plain = narrow_model(kind, image)
  with jax.enable_x64(True):
    params, stats, images = trial(kind, image, 0)
    apply = jax.jit(functools.partial(model.apply, train=False, key=tiny.key()))
    found, same = apply(params, stats, images)
    variables = {"params": params, "batch_stats": stats}
    expected = jax.jit(plain.apply, static_argnums=2)(variables, images, False)
    assert_close(*jax.device_get((found, expected)))
    tiny.assert_equal_bits(same, stats)
    alone, _ = apply(params, stats, images[:1])
    assert_close(*jax.device_get((alone, found[:1])))


@both
def test_trials_may_be_stacked(kind):
  trials = [trial(kind, IMAGES[kind], seed) for seed in (0, 1)]
  with jax.enable_x64(True):
    run = ours(kind)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trials)
    found = jax.jit(jax.vmap(run))(*stacked)
    expected = [run(*one) for one in trials]
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *expected)
    assert_close(jax.device_get(found), expected)


@both
def test_a_ticket_learns_and_its_pruned_weights_stay_zero(kind):
  """Steps of the real trainer under masks of the paper's global pruning."""
  model, image, (params, stats) = trained_model(kind)
  masks = masks_lib.full(params)
  rates = pruning.one_shot(pruning.fractions(masks, RULES[kind]), 3)
  masks = pruning.prune(scores.magnitude(params), masks, rates, scope="global")
  optimizer = optim.create("momentum", weight_decay=1e-4)
  images, labels = tiny.dataset(image).train
  params = masks_lib.apply(params, masks)
  state = loop.TrainState(
    np.int32(0), params, stats, optimizer.init(params), masks
  )
  step = jax.jit(loop.make_step(model, optimizer, scaling.make("unit", images)))
  losses = []
  for i in range(60):
    batch = slice(i % 5 * 40, i % 5 * 40 + 40)
    state, loss = step(state, images[batch], labels[batch], tiny.key(), 0.02)
    losses.append(float(loss))
  assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5]), losses
  tiny.assert_equal_bits(masks_lib.apply(state.params, masks), state.params)
  assert abs(masks_lib.density(masks) - 0.512) < 0.05
  for name, density in masks_lib.density_by_name(masks).items():
    assert density == 1 or not re.search("shortcut|Dense", name)
  moved = jax.tree.map(lambda a, b: (a != b).any(), state.stats, stats)
  assert all(jax.tree.leaves(moved))
  # 60 steps are enough for statistics that evaluation can rely on.
  evaluate = jax.jit(functools.partial(model.apply, train=False))
  logits, _ = evaluate(
    state.params, state.stats, np.float32(images) / 255, key=tiny.key()
  )
  assert (np.argmax(logits, -1) == labels).mean() > 0.9
