"""The device against the CPU: the same numbers, the same masks.

Logits and gradients are compared with float64 on the CPU, as the norm of the
difference over the norm: float32 is far below the tolerance, TF32 above it.
Random draws and masks must be equal.
"""

import functools
import itertools
from collections.abc import Iterator

import jax
import numpy as np

from benchmarks import problem, tables
from benchmarks.accelerator import child
from lth_jax import masks, pruning
from lth_jax import scores as scores_lib
from lth_jax.data import order
from lth_jax.lottery import controls
from lth_jax.runner import build
from lth_jax.training import evaluation

# The float32 gradient of ResNet on a CPU has an error of this size, too.
_TOLERANCES = {"lenet": 2e-5, "conv2": 5e-5, "resnet20": 1e-3}
_BATCH_SIZE = 16
# Compiling a deep network for the CPU in float64 takes about so long.
_GRADIENT_SECONDS = 30
_FEW = ("--num_train=6000", "--num_valid=2000", "--num_test=2000")


def rows(asked: child.Asked) -> Iterator[tables.Row]:
  """Yields a row for each comparison, with `ok`."""
  jax.config.update("jax_default_matmul_precision", "highest")
  if known := jax.config.jax_platforms:  # JAX_PLATFORMS=cuda, say
    jax.config.update("jax_platforms", f"{known},cpu")
  cpu, device = jax.devices("cpu")[0], jax.devices()[0]
  lenet = problem.make(problem.config("lenet", *_FEW))
  init, key = lenet.model.init, jax.random.key(0)
  start, other = (_on(each, init, key)[0] for each in (cpu, device))
  yield row("initial weights", _relative(other, start), 1e-5)
  yield from _equal(cpu, device, lenet)
  yield from _training(cpu, device, lenet)
  deep = () if asked.smoke else ("conv2", "resnet20")
  for name in itertools.chain(
    ["lenet"], child.in_time(deep, _GRADIENT_SECONDS, asked)
  ):
    yield from _gradients(cpu, device, name)


def row(what: str, error: float, tolerance: float) -> tables.Row:
  """Returns a comparison; `ok` is whether the error is within the tolerance."""
  ok = bool(error <= tolerance)  # NaN is not
  return {"what": what, "error": float(error), "tolerance": tolerance, "ok": ok}


def _on(device, function, *arguments):
  with jax.default_device(device):
    return jax.device_get(function(*jax.device_put(arguments, device)))


def _relative(found, reference):
  found, reference = (
    np.concatenate([np.ravel(x).astype(np.float64) for x in leaves])
    for leaves in map(jax.tree.leaves, (found, reference))
  )
  return np.linalg.norm(found - reference) / np.linalg.norm(reference)


def _equal(cpu, device, lenet):
  """Compares what must be equal: draws and masks."""
  key, indices = jax.random.key(3), np.arange(55_000, dtype=np.int32)
  initial = build.initial_start(lenet, 0)
  ticket, full = problem.trial(lenet).start, initial.masks
  # Rounded, so that many are equal and ties decide.
  rounded = jax.tree.map(
    lambda leaf: np.asarray(leaf).astype(np.float16).astype(np.float32),
    scores_lib.magnitude(initial.params),
  )

  def prune_twice(scope, scores, full):
    once = pruning.prune(scores, full, 0.2, scope=scope)
    return pruning.prune(scores, once, 0.2, scope=scope)

  for what, function, *arguments in (
    (
      "order of an epoch",
      jax.jit(lambda key, indices: order.epoch_order(key, 7, indices, 60)),
      key,
      indices,
    ),
    (
      "split of the images",
      jax.jit(lambda key: order.split_indices(key, 60_000, 5_000)),
      key,
    ),
    ("masks, layer", functools.partial(prune_twice, "layer"), rounded, full),
    ("masks, global", functools.partial(prune_twice, "global"), rounded, full),
    (
      "random masks",
      lambda *starts: controls.random_masks(*starts).masks,
      key,
      initial,
      ticket,
    ),
  ):
    one, other = (
      jax.tree.leaves(_on(each, function, *arguments)) for each in (cpu, device)
    )
    differ = sum(int((a != b).sum()) for a, b in zip(one, other))
    yield row(f"{what}, numbers that differ", differ, 0)


def _gradients(cpu, device, name):
  parts = problem.make(problem.config(name, *_FEW))
  start = problem.trial(parts).start

  @jax.jit
  def logits_and_gradient(params, stats, images, labels):
    def loss(params):
      logits, _ = parts.model.apply(
        params, stats, images, train=True, key=jax.random.key(0)
      )
      return evaluation.cross_entropy(logits, labels).mean(), logits

    gradient, logits = jax.grad(loss, has_aux=True)(params)
    return logits, gradient

  images = parts.data.images[:_BATCH_SIZE].astype(np.float32) / 255
  inputs = start.params, start.stats, images
  labels = parts.data.labels[:_BATCH_SIZE]
  found = _on(device, logits_and_gradient, *inputs, labels)
  with jax.enable_x64(True):
    double = jax.tree.map(lambda x: np.asarray(x, np.float64), inputs)
    reference = _on(cpu, logits_and_gradient, *double, labels)
  for what, ours, exact in zip(("logits", "gradient"), found, reference):
    yield row(f"{name}, {what}", _relative(ours, exact), _TOLERANCES[name])


def _training(cpu, device, lenet):
  """Compares 100 steps and evaluations."""
  found = {}
  for what, where, width in (
    ("cpu", cpu, 1),
    ("one trial", device, 1),
    ("four trials", device, 4),
  ):
    training = problem.Training(lenet, where, width)
    found[what] = [
      training.program.unstack(training.advance(num, test=True))[0].test
      for num in (0, 100)
    ]
  states = [x.state for x in training.program.unstack(training.group.progress)]
  errors = [_relative(x.params, states[0].params) for x in states]
  yield row("equal trials side by side", max(errors), 0)
  errors = [_relative(masks.apply(x.params, x.masks), x.params) for x in states]
  yield row("pruned weights after 100 steps", max(errors), 0)
  for what in ("one trial", "four trials"):
    # Rounding errors have grown after 100 steps of training.
    for index, when, tolerance, most in (
      (0, "before training", 1e-5, 1),
      (1, "after 100 steps", 1e-3, 20),
    ):
      ours, theirs = found[what][index], found["cpu"][index]
      error = abs(ours.loss[0] / theirs.loss[0] - 1)
      yield row(f"{what}: test loss {when}", error, tolerance)
      wrong = abs(int(ours.num_correct[0] - theirs.num_correct[0]))
      yield row(f"{what}: of 2,000 test images, {when}", wrong, most)
