"""Memory of a training step on each device, without the devices.

  python -m benchmarks.dry_run [--json] [--model vgg19] [--devices 8]

Compiles a step ahead of time for host devices, or with `--topology v5e:8x8` for
TPUs that are not here (needs libtpu). Nothing is allocated or trained. The
batch is split over the devices; `sharding` is read from the compiled program.
"""

import collections
import contextlib
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import problem, tables
from lth_jax import errors, masks, models, optim, training
from lth_jax.data import scaling
from lth_jax.runner import command
from lth_jax.training import sharding

_COLLECTIVE = re.compile(
  r" (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)"
  r"(?:-start)?\("
)
_MIB = 2**20


def main() -> None:
  """Prints the table.

  Raises:
    InputError: a batch cannot be split over the devices.
  """
  parser = tables.arguments(__doc__)
  parser.add_argument("--model", choices=problem.NETWORKS, default="vgg19")
  parser.add_argument("--devices", type=int, default=8)
  parser.add_argument("--topology", help="such as v5e:8x8, for --devices")
  parser.add_argument("--trials", type=int, default=1)
  parser.add_argument("--batch", type=int, default=1024)
  options = parser.parse_args()
  devices = _devices(options)
  if options.batch % len(devices):
    raise errors.InputError(
      f"--batch={options.batch}: must be a multiple of the {len(devices)} "
      "devices; change it or --devices."
    )
  mesh = sharding.make(devices)
  step, arguments = _problem(options, mesh)
  with sharding.use(mesh):
    compiled = jax.jit(step, keep_unused=True).lower(*arguments).compile()
  tables.show(_rows(arguments, compiled), options.json)


def _devices(options) -> list[jax.Device]:
  if options.topology:
    from jax.experimental import topologies

    found = topologies.get_topology_desc(options.topology, platform="tpu")
    return found.devices[: options.devices]
  # Without effect if a backend is up; the check of the batch then notices.
  with contextlib.suppress(RuntimeError):
    jax.config.update("jax_num_cpu_devices", options.devices)
  return jax.devices("cpu")[: options.devices]


def _problem(options, mesh) -> tuple[training.Step, list[Any]]:
  """Returns a step and the shapes of its arguments, placed as in a run."""
  config = problem.config(options.model)
  image_shape = problem.image_shape(config.data.dataset)
  model = models.make(options.model, image_shape, 10)
  settings = config.training
  optimizer = optim.create(
    settings.optimizer, weight_decay=settings.weight_decay
  )
  scale = scaling.make("unit", np.zeros((1, *image_shape), np.uint8))
  step: Any = training.make_step(model, optimizer, scale)

  def begin(key):
    params, stats = model.init(key)
    state = training.TrainState(
      jnp.int32(0), params, stats, optimizer.init(params), masks.full(params)
    )
    images = jnp.zeros((options.batch, *image_shape), jnp.uint8)
    labels = jnp.zeros(options.batch, jnp.int32)
    return state, images, labels, key, jnp.float32(0.1)

  key, batch = jax.random.key(0), PartitionSpec(sharding.BATCH)
  if options.trials > 1:
    state: Any = training.TrainState(None, 0, 0, 0, 0)  # trials share the step
    axes = (state, 0, 0, 0, None)
    step = jax.vmap(step, axes, (state, 0))
    begin = jax.vmap(begin, out_axes=axes)
    key, batch = (
      jax.random.split(key, options.trials),
      PartitionSpec(None, *batch),
    )
  shared = PartitionSpec()
  specs = (shared, batch, batch, shared, shared)
  shapes = zip(jax.eval_shape(begin, key), specs)
  return step, [_placed(tree, mesh, spec) for tree, spec in shapes]


def _placed(tree, mesh, spec):
  if mesh is None:
    return tree
  where = NamedSharding(mesh, spec)
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree
  )


def _rows(arguments, compiled) -> list[tables.Row]:
  state, images, labels, *_ = arguments
  where, where_images, where_labels, *_ = compiled.input_shardings[0]
  memory = compiled.memory_analysis()
  found = collections.Counter(_COLLECTIVE.findall(compiled.as_text()))
  return [
    _row("params", state.params, where.params),
    _row("masks", state.masks, where.masks),
    _row("optimizer state", state.opt_state, where.opt_state),
    _row("statistics", state.stats, where.stats),
    _row("batch", (images, labels), (where_images, where_labels)),
    _line("program: arguments", 1, memory.argument_size_in_bytes),
    _line("program: results", 1, memory.output_size_in_bytes),
    _line("program: temporaries", 1, memory.temp_size_in_bytes),
    *(_line(name, number) for name, number in found.items()),
  ]


def _row(part, shapes, shardings):
  """One part of the arguments: how it is split, and its share of a device."""
  size, parts = 0, set()
  for x, where in zip(jax.tree.leaves(shapes), jax.tree.leaves(shardings)):
    local = math.prod(where.shard_shape(x.shape))
    size += local * x.dtype.itemsize
    parts.add(x.size // local)
  text = ", ".join(f"over {n}" if n > 1 else "on each" for n in sorted(parts))
  return _line(part, len(jax.tree.leaves(shapes)), size, text or None)


def _line(part, number, size=None, where=None):
  return {
    "part": part,
    "number": number,
    "sharding": where,
    "mib_per_device": None if size is None else size / _MIB,
  }


if __name__ == "__main__":
  command.call(main)
