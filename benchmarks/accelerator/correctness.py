"""The device against the CPU: the same numbers, the same masks.

Logits and gradients are compared with float64 on the CPU, as the norm of the
difference over the norm: float32 is far below the tolerance, TF32 above it.
Counts and random draws must be equal.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks import networks, problem
from benchmarks.accelerator import child
from lth_jax import masks, models, pruning, training
from lth_jax.data import order
from lth_jax.lottery import controls, rounds
from lth_jax.parallel import devices, segments, vmapped
from lth_jax.training import evaluation

# The float32 gradient of ResNet on a CPU has an error of this size, too.
_TOLERANCES = {"lenet": 2e-5, "conv2": 5e-5, "resnet20": 1e-3}
_BATCH_SIZE = 16
# Compiling a deep network for the CPU in float64 takes about so long.
_GRADIENT_SECONDS = 30
# Rounding errors have grown after 100 steps of training.
_TRAINED = 1e-3


def rows(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields a row for each comparison, with `ok`."""
  jax.config.update("jax_default_matmul_precision", "highest")
  if known := jax.config.jax_platforms:  # JAX_PLATFORMS=cuda, say
    jax.config.update("jax_platforms", f"{known},cpu")
  cpu, device = jax.devices("cpu")[0], jax.devices()[0]
  yield from _draws(cpu, device)
  yield from _masks(cpu, device, 100_000 if asked.smoke else 1_000_000)
  yield from _training(cpu, device)
  for name, tolerance in _TOLERANCES.items():
    if name != "lenet" and (asked.smoke or asked.left() < _GRADIENT_SECONDS):
      yield {"what": f"{name}: not compared, to save time"}
      continue
    network = networks.NETWORKS[name]._replace(batch_size=_BATCH_SIZE)
    yield from _gradients(network, tolerance, cpu, device)


def _row(what, error, tolerance):
  ok = bool(error <= tolerance)  # NaN is not
  return {
    "what": what,
    "error": float(error),
    "tolerance": tolerance,
    "ok": ok,
  }


def _on(device, function, *arguments):
  with jax.default_device(device):
    return jax.device_get(function(*jax.device_put(arguments, device)))


def _unequal(function, cpu, device, *arguments):
  """Counts the numbers in which two results differ."""
  pairs = zip(
    *(
      jax.tree.leaves(_on(each, function, *arguments)) for each in (cpu, device)
    )
  )
  return sum(int((a != b).sum()) for a, b in pairs)


def _relative(found, reference):
  found, reference = (
    np.concatenate([np.ravel(x).astype(np.float64) for x in leaves])
    for leaves in map(jax.tree.leaves, (found, reference))
  )
  return np.linalg.norm(found - reference) / np.linalg.norm(reference)


def _draws(cpu, device):
  key = jax.random.key(3)
  indices = np.arange(55_000, dtype=np.int32)
  for what, function, arguments in (
    (
      "order of an epoch, indices that differ",
      lambda key, indices: order.epoch_order(key, 7, indices, 60),
      (key, indices),
    ),
    (
      "split of the images, indices that differ",
      lambda key: order.split_indices(key, 60_000, 5_000),
      (key,),
    ),
  ):
    yield _row(what, _unequal(jax.jit(function), cpu, device, *arguments), 0)
  init = jax.jit(models.make("lenet", (28, 28, 1), 10).init)
  start, other = (_on(each, init, key)[0] for each in (cpu, device))
  yield _row("initial weights", _relative(other, start), 1e-5)


def _masks(cpu, device, size):
  rng = np.random.default_rng(4)
  # Rounded, so that many are equal and ties decide.
  weights = {
    name: rng.normal(size=(10, size // 10 * num)).astype(np.float16)
    for name, num in (("first", 1), ("second", 2))
  }
  scores = {k: np.abs(v).astype(np.float32) for k, v in weights.items()}
  full = jax.device_get(masks.full(scores))
  for scope in ("layer", "global"):

    def prune(scores, full, scope=scope):
      once = pruning.prune(scores, full, 0.2, scope=scope)
      return pruning.prune(scores, once, 0.2, scope=scope)

    yield _row(
      f"masks, {scope}, entries that differ",
      _unequal(prune, cpu, device, scores, full),
      0,
    )
    kept = int(masks.num_kept(_on(device, prune, scores, full)))
    left = pruning.density_schedule(full, 0.2, 2, scope=scope)[-1]
    wanted = round(left * sum(x.size for x in full.values()))
    yield _row(f"weights kept, {scope}, off by", abs(kept - wanted), 0)
  saved = training.Start(scores, {}, np.int32(0), full)
  once = jax.device_get(pruning.prune(scores, full, 0.2))
  ticket = jax.device_get(rounds.reset(saved, once))

  def random(key, saved, ticket):
    return controls.random_masks(key, saved, ticket).masks

  found = _unequal(random, cpu, device, jax.random.key(5), saved, ticket)
  yield _row("random masks, entries that differ", found, 0)


def _gradients(network, tolerance, cpu, device):
  made = problem.make(network, train=network.batch_size)
  model = networks.model(network)

  @jax.jit
  def logits_and_gradient(params, stats, images, labels):
    def loss(params):
      logits, _ = model.apply(
        params, stats, images, train=True, key=jax.random.key(0)
      )
      return evaluation.cross_entropy(logits, labels).mean(), logits

    gradient, logits = jax.grad(loss, has_aux=True)(params)
    return logits, gradient

  chosen = made.sample.train
  images = made.data.images[chosen].astype(np.float32) / 255
  inputs = made.start.params, made.start.stats, images, made.data.labels[chosen]
  found = _on(device, logits_and_gradient, *inputs)
  with jax.enable_x64(True):
    double = jax.tree.map(lambda x: np.asarray(x, np.float64), inputs[:3])
    reference = _on(cpu, logits_and_gradient, *double, inputs[3])
  for index, what in enumerate(("logits", "gradient")):
    error = _relative(found[index], reference[index])
    yield _row(f"{network.name}, {what}", error, tolerance)


def _training(cpu, device):
  """100 steps and an evaluation, on the CPU and on the device."""
  made = problem.make(
    networks.NETWORKS["lenet"], train=6000, valid=2000, test=2000
  )
  plan = segments.plan_of(
    [segments.Entry(0, True, True), segments.Entry(100, True, True)]
  )
  found = {}
  for what, where, width in (
    ("cpu", cpu, 1),
    ("loop", device, 1),
    ("vmap", device, 4),
  ):
    (worker,) = devices.make_workers([where], made.data)
    together = vmapped.make(made.trainer, width)
    stack = segments.begin(together, worker, [made.scheduled()])
    stack, history = segments.advance(together, stack, plan)
    found[what] = together.unstack(history)[0]
    if what == "vmap":
      each = together.unstack(stack.progress)
      differ = [_relative(x.state.params, each[0].state.params) for x in each]
      yield _row("equal trials side by side", max(differ), 0.0)
      moved = [
        np.where(m, 0, p)
        for p, m in (
          (x.state.params[n]["kernel"], x.state.masks[n]["kernel"])
          for x in each
          for n in x.state.params
        )
      ]
      most = max(np.abs(x).max() for x in moved)
      yield _row("pruned weights after 100 steps", most, 0.0)
  for axis in ("loop", "vmap"):
    for index, (when, tolerance) in enumerate(
      (("before training", 1e-5), ("after 100 steps", _TRAINED))
    ):
      ours, theirs = (found[x].test for x in (axis, "cpu"))
      error = abs(ours.loss[index] / theirs.loss[index] - 1)
      yield _row(f"{axis}: test loss {when}", error, tolerance)
      wrong = abs(int(ours.num_correct[index] - theirs.num_correct[index]))
      most = 1 if index == 0 else 20
      yield _row(f"{axis}: of 2,000 test images, {when}", wrong, most)
