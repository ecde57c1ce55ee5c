"""What ResNet-50 on ImageNet asks of each device, without one and untrained.

  python -m benchmarks.dry_run [--json] [--devices 64] [--trials 3] [--compile]

Lowers, and with `--compile` compiles, ahead of time for as many host devices,
or with `--topology v5e:8x8` for TPUs that are not here (needs libtpu). Nothing
is allocated. `--program segment` is what a run executes, with the images on
every device; `step` is one training step that is handed its batch. `sharding`
is what the lowered program says of its arguments (with one device, nothing);
what is none of them has a dash, and its MiB are those of a whole copy.
"""

import collections
import contextlib
import functools
import math
import re
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import tables
from lth_jax import errors, masks, models, optim
from lth_jax.data import augment, scaling
from lth_jax.parallel import segments, vmapped
from lth_jax.runner import command
from lth_jax.training import loop, schedules
from lth_jax.training import sharding as sharding_lib

_TRAIN, _VALID, _TEST = 1_281_167, 50_000, 50_000
_CLASSES = 1000
_COLLECTIVE = re.compile(
  r"= (.*?) (all-reduce|all-gather|all-to-all|reduce-scatter"
  r"|collective-permute)(?:-start)?\("
)
_ARGUMENT = re.compile(r"%arg\d+: ")
_SHARDING = re.compile(r"sdy\.sharding<@\w+, \[(.*?)\]>")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+)\[([\d,]*)\]")
_MIB = 2**20


class Bottleneck(nn.Module):
  """Convolutions of 1x1, 3x3 and 1x1, and a shortcut.

  Attributes:
    width: channels of the first two; the last has four times as many.
    strides: of the 3x3 convolution and of the shortcut.
    dtype: what is computed in.
  """

  width: int
  strides: int
  dtype: Any

  @nn.compact
  def __call__(self, images, train: bool):
    """Returns `[B, H / strides, W / strides, 4 * width]`."""
    normal = functools.partial(_norm_of, train, self.dtype)
    x = nn.relu(normal(_convolution(self.width, 1, 1, self.dtype)(images)))
    x = _convolution(self.width, 3, self.strides, self.dtype)(x)
    x = nn.relu(normal(x))
    x = normal(_convolution(4 * self.width, 1, 1, self.dtype)(x))
    if images.shape != x.shape:
      shortcut = _convolution(4 * self.width, 1, self.strides, self.dtype)
      images = normal(shortcut(images))
    return nn.relu(images + x)


class ResNet(nn.Module):
  """ResNet-50, with the stride in the 3x3 convolutions.

  Attributes:
    width: channels of the first convolution, 64.
    blocks: of each stage.
    dtype: what is computed in; weights are float32.
  """

  width: int = 64
  blocks: tuple[int, ...] = (3, 4, 6, 3)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images, train: bool):
    """Returns logits `[B, 1000]`."""
    x = _convolution(self.width, 7, 2, self.dtype)(images)
    x = nn.relu(_norm_of(train, self.dtype, x))
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for stage, number in enumerate(self.blocks):
      for block in range(number):
        strides = 2 if stage and not block else 1
        x = Bottleneck(self.width * 2**stage, strides, self.dtype)(x, train)
    return nn.Dense(_CLASSES)(x.mean((1, 2)).astype(jnp.float32))


class Problem(NamedTuple):
  """A trial's trainer and the shapes of what `--trials` of them take.

  Attributes:
    step: one training step of one trial.
    vmapped: the compiled functions.
    progress: of all trials.
    data: the images on each device.
    others: sample, key and schedule of each trial.
  """

  step: Any
  vmapped: vmapped.Vmapped
  progress: loop.Progress
  data: loop.Data
  others: tuple[Any, Any, Any]


def main() -> None:
  """Prints the table.

  Raises:
    InputError: a batch cannot be split over the devices.
  """
  parser = tables.arguments(__doc__.splitlines()[0])
  parser.add_argument("--devices", type=int, default=64)
  parser.add_argument("--topology", help="such as v5e:8x8, for --devices")
  parser.add_argument("--trials", type=int, default=1)
  parser.add_argument("--batch", type=int, default=1024)
  parser.add_argument("--pixels", type=int, default=224)
  parser.add_argument("--width", type=int, default=64)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--precision", default="highest")
  parser.add_argument("--store", type=int, default=4096)
  parser.add_argument(
    "--program", choices=("segment", "step"), default="segment"
  )
  parser.add_argument("--compile", action="store_true")
  options = parser.parse_args()
  jax.config.update("jax_default_matmul_precision", options.precision)
  devices = _devices(options)
  if options.batch % len(devices):
    raise errors.InputError(
      f"--batch={options.batch}: must be a multiple of the {len(devices)} "
      "devices; change it or --devices."
    )
  mesh = sharding_lib.make(devices)
  problem = _problem(options)
  with sharding_lib.use(mesh):
    lowered = _lower(problem, mesh, options)
    rows = _known_rows(problem, _arguments(lowered, mesh), options)
    rows += _cost_rows(lowered, options)
    if options.compile:
      rows += _compiled_rows(lowered.compile(), options)
  tables.show(rows, options.json)


def _convolution(width, size, strides, dtype):
  return nn.Conv(
    width,
    (size, size),
    (strides, strides),
    padding=size // 2,
    use_bias=False,
    dtype=dtype,
  )


def _norm_of(train, dtype, x):
  return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=dtype)(x)


def _devices(options):
  if options.topology:
    from jax.experimental import topologies

    found = topologies.get_topology_desc(options.topology, platform="tpu")
    return found.devices[: options.devices]
  # Without effect if a backend is up, and then too few devices say so.
  with contextlib.suppress(RuntimeError):
    jax.config.update("jax_num_cpu_devices", options.devices)
  return jax.devices("cpu")[: options.devices]


def _problem(options) -> Problem:
  module = ResNet(options.width, dtype=jnp.dtype(options.dtype))
  image_shape = options.pixels, options.pixels, 3
  model = models.from_linen(module, image_shape)
  parts = (
    model,
    optim.create("momentum", weight_decay=1e-4),
    scaling.make("unit", np.zeros((1, *image_shape), np.uint8)),
    augment.make("crop_flip"),
  )
  trainer = loop.make(
    *parts, batch_size=options.batch, num_parts=options.devices
  )
  together = vmapped.make(trainer, options.trials)

  def begin():
    params, stats = model.init(jax.random.key(0))
    start = loop.Start(params, stats, jnp.int32(0), masks.full(params))
    indices = jnp.arange(_TRAIN, dtype=jnp.int32)
    sample = loop.Split(indices[_VALID:], indices[:_VALID])
    trial = sample, jax.random.key(1), schedules.make(0.1)
    sample, key, schedule = (
      together.stack([x] * options.trials) for x in trial
    )
    start = together.stack([start] * options.trials)
    return together.trainer.begin(start, sample), (sample, key, schedule)

  progress, others = jax.eval_shape(begin)
  data = loop.Data(
    *_images(options.store, image_shape), *_images(options.store, image_shape)
  )
  return Problem(loop.make_step(*parts), together, progress, data, others)


def _images(number, image_shape):
  return (
    jax.ShapeDtypeStruct((number, *image_shape), jnp.uint8),
    jax.ShapeDtypeStruct((number,), jnp.int32),
  )


def _lower(problem, mesh, options):
  """Lowers the program, with everything where a run has it."""
  everywhere = functools.partial(_placed, mesh, PartitionSpec())
  progress, (sample, key, schedule) = everywhere(
    (problem.progress, problem.others)
  )
  if options.program == "segment":
    plan = segments.plan_of([segments.Entry(10_000, True, True)])
    return problem.vmapped.trainer.advance.lower(
      progress, plan, everywhere(problem.data), sample, key, schedule
    )
  lead = (options.trials,) if options.trials > 1 else ()
  images = jax.ShapeDtypeStruct(
    (*lead, options.batch, options.pixels, options.pixels, 3), jnp.uint8
  )
  labels = jax.ShapeDtypeStruct((*lead, options.batch), jnp.int32)
  spec = PartitionSpec(*[None for _ in lead], sharding_lib.BATCH)
  step, rate = problem.step, everywhere(jax.ShapeDtypeStruct((), jnp.float32))
  if lead:
    axes: Any = loop.TrainState(None, 0, 0, 0, 0)
    step = jax.vmap(step, (axes, 0, 0, 0, None), (axes, 0))
  return jax.jit(step).lower(
    progress.state, *_placed(mesh, spec, (images, labels)), key, rate
  )


def _placed(mesh, spec, tree):
  if mesh is None:
    return tree
  sharding = NamedSharding(mesh, spec)
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def _arguments(lowered, mesh):
  """Returns the arguments' shapes, with the shardings in the program's text."""
  text = lowered.as_text().partition("@main(")[2].partition(") -> ")[0]
  texts = _ARGUMENT.split(text)[1:]
  infos = jax.tree.leaves(lowered.args_info)
  # jit leaves out of a program what it does not use; these use all.
  found = [
    jax.ShapeDtypeStruct(
      info.shape, info.dtype, sharding=_sharding(text, info, mesh)
    )
    for info, text in zip(infos, texts, strict=True)
  ]
  arguments, _ = jax.tree.unflatten(lowered.in_tree, found)
  return arguments


def _sharding(text, info, mesh):
  """Reads such as `sdy.sharding<@mesh, [{"batch"}, {}]>`; None if not there."""
  match = _SHARDING.search(text)
  if not match:
    return None
  names = [
    tuple(re.findall(r'"(\w+)"', axis)) for axis in match[1].split(", {")
  ]
  # Keys have axes in the program that they have not in JAX.
  return NamedSharding(mesh, PartitionSpec(*names[: len(info.shape)]))


def _known_rows(problem, arguments, options):
  """Rows of what is where; of what is no argument, by its shape alone."""
  progress, sample, data = problem.progress, problem.others[0], problem.data
  if options.program == "segment":
    progress, _, data, sample, *_ = arguments
    state, batch = progress.state, []
  else:
    state, images, labels, *_ = arguments
    batch = [_row("batch", (images, labels))]
  image_shape = options.pixels, options.pixels, 3
  return [
    _row("params", state.params),
    _row("masks", state.masks),
    _row("momentum", state.opt_state),
    _row("batch statistics", state.stats),
    _row("best so far", progress.best),
    _row("order of an epoch", progress.batches),
    _row("indices of the images", sample),
    _row("images, as lowered", data),
    _row("images, all", _images(_TRAIN + _TEST, image_shape)),
    *batch,
  ]


def _row(part, tree):
  leaves = jax.tree.leaves(tree)
  largest = max(leaves, key=lambda x: x.size)
  parts = [_num_parts(x) for x in leaves]
  sizes = [x.size * x.dtype.itemsize / (n or 1) for x, n in zip(leaves, parts)]
  return {
    "part": part,
    "number": len(leaves),
    "largest": "x".join(map(str, largest.shape)),
    "dtype": str(largest.dtype),
    "sharding": None if None in parts else _where(parts),
    "mib_per_device": sum(sizes) / _MIB,
  }


def _num_parts(x):
  """Returns over how many devices an array is split; None if nothing says."""
  if x.sharding is None:
    return None
  return x.size // math.prod(x.sharding.shard_shape(x.shape))


def _where(parts):
  return ", ".join(
    f"over {n}" if n > 1 else "on each" for n in sorted(set(parts))
  )


def _cost_rows(lowered, options):
  cost = lowered.cost_analysis()
  # None for a topology; and of loops the analysis counts one turn.
  if options.program == "segment" or cost is None:
    return []
  images = options.trials * options.batch
  return [_plain_row("GFLOP an image", cost["flops"] / images / 1e9, None)]


def _compiled_rows(compiled, options):
  found = compiled.memory_analysis()
  sizes = {
    "compiled: arguments": found.argument_size_in_bytes,
    "compiled: results": found.output_size_in_bytes,
    "compiled: temporaries": found.temp_size_in_bytes,
    "compiled: shared by arguments and results": found.alias_size_in_bytes,
  }
  rows = [_plain_row(name, 1, size) for name, size in sizes.items()]
  if options.program == "step":
    flops = compiled.cost_analysis()["flops"]
    rows.append(_plain_row("compiled: GFLOP a device", flops / 1e9, None))
  return rows + [
    _plain_row(name, number, size)
    for name, (number, size) in _collectives(compiled.as_text()).items()
  ]


def _plain_row(part, number, size):
  return {
    "part": part,
    "number": number,
    "largest": None,
    "dtype": None,
    "sharding": None,
    "mib_per_device": None if size is None else size / _MIB,
  }


def _collectives(text):
  """Counts what devices exchange: {name: (how often, bytes)}."""
  found = collections.defaultdict(lambda: (0, 0))
  for result, name in _COLLECTIVE.findall(text):
    size = sum(_num_bytes(*each) for each in _ARRAY.findall(result))
    number, total = found[name]
    found[name] = number + 1, total + size
  return found


def _num_bytes(dtype, shape):
  bits = 8 if dtype == "pred" else int(re.sub(r"\D", "", dtype))
  return bits // 8 * math.prod(int(n) for n in shape.split(",") if n)


if __name__ == "__main__":
  command.call(main)
