"""Every setting of a config reaches the training."""

import functools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath
from helpers import tiny

from lth_jax import models
from lth_jax.config import configs
from lth_jax.config.plan import Trial
from lth_jax.data import order
from lth_jax.lottery import keys
from lth_jax.parallel import devices
from lth_jax.runner import build, experiment
from lth_jax.training import loop

STEPS, REPLICATE, RATE = 6, 1, 0.1
BASE = {
  "dataset": "tiny",
  "num_valid": tiny.NUM.valid,
  "hidden": [tiny.HIDDEN],
  "batch_size": tiny.BATCH,
  "steps": STEPS,
  "optimizer": "sgd",
  "learning_rate": RATE,
  "drops": [5],
  "rates": ["kernel=0.2"],
}
# Several settings at once, since each line but the first two compiles anew.
CASES = [
  {"warmup": 4, "drops": [2], "seed": 8},
  {"learning_rate": 0.03, "order_seed": 8},
  {
    "optimizer": "nesterov",
    "momentum": 0.4,
    "weight_decay": 0.3,
    "scaling": "standard",
    "num_train": 60,
  },
  {"optimizer": "momentum", "scaling": "l2", "batch_size": 5},
  {"optimizer": "adam", "learning_rate": 0.01, "init_std": 0.3},
]


@functools.cache
def dataset():
  """The tiny data set; images that scaling must not see are darker."""
  known = tiny.dataset()
  images = known.train.images.copy()
  images[60 + tiny.NUM.valid :] //= 4
  return known._replace(
    train=known.train._replace(images=images),
    test=known.test._replace(images=255 - known.test.images // 4),
  )


def make(changes, data=None):
  return build.make(configs.from_flat(BASE | changes), data or dataset())


def train(parts):
  """Weights after all steps with the components of a run."""
  start = build.initial_start(parts, REPLICATE)
  split = parts.split(REPLICATE)
  progress, _ = parts.trainer.advance(
    parts.trainer.begin(start, split),
    loop.plan([STEPS], [False], [False], length=1),
    loop.Inputs(
      parts.data,
      split,
      build.order_key(parts.config, Trial(REPLICATE, 0, "ticket")),
      parts.schedule,
    ),
  )
  assert int(progress.state.step) == STEPS
  return jax.device_get(progress.state.params)


# The same, written down once more with nothing but optax's own optimizers.


@jax.jit
def gradient(params, images, labels, weight_decay):
  def loss(params):
    x = images.reshape(len(images), -1)
    for i in range(2):
      layer = params[f"Dense_{i}"]
      x = x @ layer["kernel"] + layer["bias"][None]
      x = jax.nn.relu(x) if i == 0 else x
    squares = sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(params))
    losses = optax.softmax_cross_entropy_with_integer_labels(x, labels)
    return losses.mean() + weight_decay * squares / 2

  return jax.grad(loss)(params)


def scaled(name, images):
  """Scales float images; its statistics are of all training images."""
  images = images / 255
  if name == "standard":
    images = (images - images.mean()) / images.std()
    np.testing.assert_allclose([images.mean(), images.std()], [0, 1], atol=1e-6)
  if name == "l2":
    squares = (images**2).sum((1, 2, 3), keepdims=True)
    images = images / np.sqrt(squares)
  return images.astype(np.float32)


def rates(learning_rate=RATE, warmup=0, drops=(5,), **_):
  """The learning rate of each step."""
  found = []
  for step in range(STEPS):
    risen = min(step / warmup, 1) if warmup else 1
    dropped = sum(step >= drop for drop in drops)
    found.append(learning_rate * risen / 10**dropped)
  return jnp.array(found)


def expected(
  optimizer="sgd",
  momentum=0.9,
  weight_decay=0.0,
  scaling="unit",
  batch_size=tiny.BATCH,
  num_train=tiny.NUM.train,
  seed=0,
  order_seed=None,
  init_std=0.0,
  **others,
):
  schedule = rates(**others)
  transform = {
    "sgd": lambda rate: optax.sgd(rate),
    "momentum": lambda rate: optax.sgd(rate, momentum),
    "nesterov": lambda rate: optax.sgd(rate, momentum, nesterov=True),
    "adam": optax.adam,
  }[optimizer](lambda step: schedule[step])
  model = tiny.model()
  if init_std:
    model = models.with_normal_kernels(model, init_std)
  params, _ = model.init(keys.initial(seed, REPLICATE))
  num_known = num_train + tiny.NUM.valid
  images = scaled(scaling, dataset().train.images[:num_known])
  indices, _ = order.split_indices(
    keys.split(seed, REPLICATE), num_known, tiny.NUM.valid
  )
  order_seed = seed if order_seed is None else order_seed
  order_key = keys.order(order_seed, REPLICATE, 0)
  batches = order.epoch_order(order_key, 0, indices, batch_size)
  state = transform.init(params)
  for batch in batches[:STEPS]:
    labels = dataset().train.labels[batch]
    grads = gradient(params, images[batch], labels, weight_decay)
    updates, state = transform.update(grads, state, params)
    params = optax.apply_updates(params, updates)
  return jax.device_get(params)


def distance(one, other):
  """The largest difference of two weights."""
  return max(
    np.abs(a - b).max()
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other))
  )


@pytest.mark.parametrize("case", CASES, ids=lambda case: ", ".join(case))
def test_training_equals_optax_alone(case):
  wanted = expected(**case)
  assert distance(train(make(case)), wanted) < 1e-5
  for name in case:  # each of which matters
    others = {key: value for key, value in case.items() if key != name}
    assert distance(expected(**others), wanted) > 1e-3, name


def test_crop_flip_moves_training_images():
  """One white pixel changes the weights of all pixels that it is moved to."""
  data = tiny.dataset()
  images = np.zeros_like(data.train.images)
  images[:, 4, 4] = 255
  data = data._replace(train=data.train._replace(images=images))
  parts = make({"hidden": [], "augment": "crop_flip"}, data)
  before = build.initial_start(parts, REPLICATE).params["Dense_0"]["kernel"]
  after = train(parts)["Dense_0"]["kernel"]
  assert (after != before).any(1).sum() > 20


def test_the_network_drops_at_the_rate_of_the_config():
  changes = {"model": "conv2", "width": 0.05, "rates": ["kernel=0.2"]}
  model = make(changes | {"dropout": 0.3}).model
  rng = np.random.default_rng(0)
  params, stats = jax.eval_shape(model.init, tiny.key())
  params = jax.tree.map(lambda x: rng.random(x.shape, np.float32), params)
  images = scaled("unit", dataset().train.images[:10])

  def logits(model):
    key = tiny.key(1)
    return model.apply(params, stats, images, train=True, key=key)[0]

  alone, other = (
    models.conv(2, tiny.IMAGE, tiny.CLASSES, width=0.05, dropout=rate)
    for rate in (0.3, 0.4)
  )
  found = logits(model)
  np.testing.assert_array_equal(found, logits(alone))
  assert (found != logits(other)).any()


@pytest.mark.parametrize(
  ("changes", "widths"),
  [
    ({"hidden": [7, 5]}, [7, 5, 3]),
    ({"hidden": [8], "width": 0.5}, [4, 3]),
    ({"model": "conv4", "width": 0.05}, [3, 3, 6, 6, 13, 13, 3]),
  ],
)
def test_the_network_is_that_of_the_config(changes, widths):
  masks = make(changes).like.masks
  assert [layer["kernel"].shape[-1] for layer in masks.values()] == widths


class FoundDevicesError(Exception):
  pass


@pytest.mark.parametrize(
  ("precision", "written"), [("highest", "HIGHEST"), ("default", "DEFAULT")]
)
def test_products_of_a_step_have_the_precision_of_the_config(
  precision, written, monkeypatch, tmp_path
):
  def stop(*_):
    raise FoundDevicesError

  monkeypatch.setattr(devices, "find", stop)
  before = jax.config.jax_default_matmul_precision
  changes = {"matmul_precision": precision}
  parts = make(changes)
  try:
    with pytest.raises(FoundDevicesError):
      experiment.run(
        parts.config, epath.Path(tmp_path), "test", threading.Event()
      )
    text = lowered(parts)
  finally:
    jax.config.update("jax_default_matmul_precision", before)
  products = [x for x in text.splitlines() if "stablehlo.dot_general" in x]
  assert len(products) > 4
  for line in products:
    assert f"precision = [{written}, {written}]" in line, line


def lowered(parts):
  split = parts.split(0)
  progress = jax.eval_shape(
    parts.trainer.begin, build.initial_start(parts, 0), split
  )
  todo = loop.plan([STEPS], [False], [False], length=1)
  key = build.order_key(parts.config, Trial(0, 0, "ticket"))
  inputs = loop.Inputs(parts.data, split, key, parts.schedule)
  return parts.trainer.advance.lower(progress, todo, inputs).as_text()
