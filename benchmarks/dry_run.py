"""Memory of a training step on each device, without the devices.

  python -m benchmarks.dry_run [--json] [--model vgg19] [--devices 8]

Compiles a step ahead of time for host devices, or with `--topology v5e:8x8` for
TPUs that are not here (needs libtpu). Nothing is allocated or trained. The
batch is split over the devices; `sharding` is read from the compiled program.
"""

import collections
import contextlib
import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import networks, tables
from lth_jax import errors, masks, optim, training
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
  parser = tables.arguments(__doc__.splitlines()[0])
  parser.add_argument(
    "--model", choices=list(networks.NETWORKS), default="vgg19"
  )
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


def _problem(options, mesh) -> tuple[training.Step, tuple[Any, ...]]:
  """Returns a step and the shapes of its arguments, placed as in a run."""
  network = networks.NETWORKS[options.model]
  model = networks.model(network)
  optimizer = optim.create(network.optimizer)
  scale = scaling.make("unit", np.zeros((1, *network.image_shape), np.uint8))
  step: Any = training.make_step(model, optimizer, scale)

  def begin():
    params, stats = model.init(jax.random.key(0))
    state = training.TrainState(
      jnp.int32(0), params, stats, optimizer.init(params), masks.full(params)
    )
    images = jnp.zeros((options.batch, *network.image_shape), jnp.uint8)
    labels = jnp.zeros(options.batch, jnp.int32)
    return state, images, labels, jax.random.key(1), jnp.float32(0.1)

  state, images, labels, key, rate = jax.eval_shape(begin)
  spec = PartitionSpec(sharding.BATCH)
  if options.trials > 1:
    axes: Any = training.TrainState(None, 0, 0, 0, 0)  # trials share the step
    step = jax.vmap(step, (axes, 0, 0, 0, None), (axes, 0))
    spec = PartitionSpec(None, sharding.BATCH)
    shared = state.step
    state, images, labels, key = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct((options.trials, *x.shape), x.dtype),
      (state, images, labels, key),
    )
    state = dataclasses.replace(state, step=shared)
  state, key, rate = _placed((state, key, rate), mesh, PartitionSpec())
  images, labels = _placed((images, labels), mesh, spec)
  return step, (state, images, labels, key, rate)


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
    _line("program: arguments", 1, None, memory.argument_size_in_bytes),
    _line("program: results", 1, None, memory.output_size_in_bytes),
    _line("program: temporaries", 1, None, memory.temp_size_in_bytes),
    *(_line(name, number, None, None) for name, number in found.items()),
  ]


def _row(part, shapes, shardings):
  """One part of the arguments: how it is split, and its share of a device."""
  size, parts = 0, set()
  for x, where in zip(jax.tree.leaves(shapes), jax.tree.leaves(shardings)):
    local = math.prod(where.shard_shape(x.shape))
    size += local * x.dtype.itemsize
    parts.add(x.size // local)
  text = ", ".join(f"over {n}" if n > 1 else "on each" for n in sorted(parts))
  return _line(part, len(jax.tree.leaves(shapes)), text or None, size)


def _line(part, number, where, size):
  return {
    "part": part,
    "number": number,
    "sharding": where,
    "mib_per_device": None if size is None else size / _MIB,
  }


if __name__ == "__main__":
  command.call(main)
