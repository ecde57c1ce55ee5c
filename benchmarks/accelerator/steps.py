"""Time and memory of a training step, by network, axis and width.

Networks, batches, optimizers and evaluation come from the paper's flagfiles,
images are random. `protocol_minutes` is the time of a flagfile's whole run at
this speed, without the time between groups of trials.
"""

import pathlib
import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.accelerator import child
from lth_jax import data
from lth_jax.config import flags
from lth_jax.config import plan as plan_lib
from lth_jax.parallel import devices, segments, vmapped
from lth_jax.runner import build

_FLAGS = pathlib.Path(__file__).parents[2] / "experiments" / "flags"
_IMAGES = {"mnist": (28, 28, 1), "mnist_10k": (28, 28, 1)}
# Seconds of a timed call, and number of calls.
_SECONDS, _REPEATS = 0.3, 3
# Seconds of a side, most of them for compiling; none begins with less left.
_SIDE_SECONDS = 25.0


class Side(NamedTuple):
  """A configuration to measure; a run chooses for axis "auto" and width 0."""

  row: str
  axis: str
  width: int
  precision: str = "highest"


_LENET = [Side("mnist_lenet", "auto", 0)]
_LENET += [Side("mnist_lenet", "vmap", w) for w in (32, 64, 16, 128)]
_LENET += [Side("mnist_lenet", "loop", 1)]
_LENET += [Side("mnist_lenet", "vmap", w) for w in (8, 256, 4)]
_DEEP = [
  Side(name, "auto", 0, precision)
  for name in ("conv2", "resnet20", "vgg19", "conv4", "conv6")
  for precision in ("highest", "default")
]
# Last, since compiling may take all the time that is left.
_DEEP += [
  Side(name, "vmap", width)
  for name in ("conv2", "resnet20")
  for width in (4, 9)
]


def lenet(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields a row for each width of LeNet, then one on the automatic width."""
  smoke = [_LENET[0], *(Side("mnist_lenet", "vmap", w) for w in (2, 4))]
  sides = smoke if asked.smoke else _LENET
  yield from compare(sides, asked)


def deep(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields rows of the networks with convolutions."""
  sides = [Side("conv2", "vmap", 2)] if asked.smoke else _DEEP
  yield from compare(sides, asked)


def automatic(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields one row, of LeNet at the automatic width."""
  yield from _rows(_LENET[:1], asked)


def compare(sides: list[Side], asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields a row for each side, then one a network on the automatic width."""
  found = []
  for row in _rows(sides, asked):
    yield row
    if "step_ms" in row:
      found.append(row)
  for name in dict.fromkeys(side.row for side in sides):
    rows = [row for row in found if row["network"] == name]
    rows = [row for row in rows if row["precision"] == "highest"]
    chosen = [row for row in rows if row["automatic"]]
    if chosen and len(rows) > 1:
      best = min(rows, key=lambda row: row["protocol_minutes"])
      yield {
        "what": f"{name}: automatic over the best, {_of(best)}",
        "protocol_minutes": chosen[0]["protocol_minutes"]
        / best["protocol_minutes"],
      }


def _rows(sides, asked):
  done = set()
  for side in sides:
    if asked.left() < (1 if asked.smoke else _SIDE_SECONDS):
      yield {"what": f"{_name(side)}: no time left"}
      continue
    try:
      row = _measure(side, asked.smoke)
    except Exception as error:  # too little memory for one width, say
      text = f"{type(error).__name__}: {error}"[:300]
      yield {"what": f"{_name(side)}: {text}", "ok": False}
      continue
    same = row["network"], row["axis"], row["width"], row["precision"]
    if same not in done:
      yield row
    done.add(same)


def _name(side):
  return f"{side.row} {side.axis} {side.width} {side.precision}"


def _of(row):
  return f"{row['axis']} {row['width']}"


def _measure(side, smoke):
  jax.config.update(
    "jax_default_matmul_precision",
    "highest" if side.precision == "highest" else None,
  )
  config = flags.parse([f"--flagfile={flagfile(side.row, smoke)}"])
  dataset = random_images(config.data.dataset, smoke)
  parts = build.make(config, dataset)
  device = jax.devices()[0]
  chosen = devices.choose_layout(config, [device], ()).trials_per_device
  width = side.width or chosen
  (worker,) = devices.make_workers([device], parts.data)
  together = vmapped.make(parts.trainer, width)
  stack = segments.begin(together, worker, [first_trial(parts)])
  arguments = _arguments(stack, segments.plan_of([_entry(1, False)]))
  begin = time.perf_counter()
  lowered = together.trainer.advance.lower(*arguments)
  lower_s = time.perf_counter() - begin
  begin = time.perf_counter()
  advance = lowered.compile()
  compile_s = time.perf_counter() - begin
  step_s, spread, evaluate_s, loss = _time(advance, stack, smoke)
  total = _protocol_seconds(
    config, parts.num_images, together.width, step_s, evaluate_s
  )
  memory = advance.memory_analysis()
  return {
    "network": side.row,
    "axis": "vmap" if width > 1 else "loop",
    "width": together.width,
    "precision": side.precision,
    "automatic": width == chosen,
    "backend": device.platform,
    "step_ms": 1e3 * step_s,
    "spread": spread,
    "trial_step_us": 1e6 * step_s / together.width,
    "examples_per_s": together.width * config.training.batch_size / step_s,
    "evaluation_ms": 1e3 * evaluate_s,
    "protocol_minutes": total / 60,
    "loss": loss,
    "lower_s": lower_s,
    "compile_s": compile_s,
    "program_mib": _mib(memory),
    "peak_mib": (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    / 2**20,
  }


def flagfile(row: str, smoke: bool) -> pathlib.Path:
  """Returns the flagfile of a row of the catalog."""
  return _FLAGS / row / ("smoke.flags" if smoke else "paper.flags")


def random_images(name: str, smoke: bool) -> data.Dataset:
  """Returns random images of the sizes of a known data set."""
  shape = _IMAGES.get(name, (32, 32, 3))
  sizes = (1500, 500) if smoke else (50_000 + 10_000 * (shape[2] == 1), 10_000)
  rng = np.random.default_rng(0)
  train, test = (
    data.Examples(
      rng.integers(0, 256, (size, *shape), np.uint8),
      rng.integers(0, 10, size).astype(np.int32),
    )
    for size in sizes
  )
  return data.Dataset(name, train, test, num_classes=10, source="random")


def first_trial(parts: build.Components) -> segments.ScheduledTrial:
  """Returns the trial of the dense network of replicate 0."""
  trial = plan_lib.Trial(0, 0, "ticket")
  return segments.ScheduledTrial(
    trial,
    build.initial_start(parts, 0),
    parts.split(0),
    build.order_key(parts.config, trial),
    parts.schedule,
    origin={},
  )


def _protocol_seconds(config, num_images, width, step_s, evaluate_s) -> float:
  """A whole run: its trainings in batches, a replicate's rounds in turn."""
  asked = config.training
  entries = segments.entries(0, asked.steps, asked.eval_every, asked.test_every)
  image_s = evaluate_s / (num_images.valid + num_images.test)
  valid, test = (sum(x.evaluate for x in entries), sum(x.test for x in entries))
  images = valid * num_images.valid + test * num_images.test
  seconds = config.training.steps * step_s + images * image_s
  rounds = range(config.study.rounds + 1)
  each = sum(len(plan_lib.of_round(config, 0, index)) for index in rounds)
  num_batches = -(-each * config.study.replicates // width)
  return max(len(rounds), num_batches) * seconds


def _time(advance, stack, smoke):
  """Returns a step's seconds, their spread, an evaluation's seconds, a loss."""
  progress = stack.progress

  def seconds(num_steps, num_evaluations):
    nonlocal progress
    step = int(progress.state.step) + num_steps
    entries = [_entry(step, True)] * num_evaluations or [_entry(step, False)]
    arguments = _arguments(stack, segments.plan_of(entries))[1:]
    begin = time.perf_counter()
    progress, history = jax.block_until_ready(advance(progress, *arguments))
    return time.perf_counter() - begin, history

  def timed(num_steps, num_evaluations):
    return seconds(num_steps, num_evaluations)[0]

  wanted = 0.02 if smoke else _SECONDS
  _, history = seconds(20, 1)
  rough = min(timed(10, 0) for _ in range(2)) / 10
  num_steps = max(10, int(wanted / rough))
  times = [timed(num_steps, 0) / num_steps for _ in range(_REPEATS)]
  step = statistics.median(times)
  rough = timed(0, 1)
  num = max(1, min(segments.SEGMENT_ENTRIES, int(wanted / rough)))
  spread = (max(times) - min(times)) / step
  loss = float(np.ravel(history.valid.loss)[0])
  return step, spread, timed(0, num) / num, loss


def _arguments(stack, plan):
  return stack.progress, plan, stack.inputs


def _entry(step, measure):
  return segments.Entry(step, measure, measure)


def _mib(memory):
  """Memory of a program, as XLA allocates it."""
  if memory is None:
    return None
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    + memory.temp_size_in_bytes
    - memory.alias_size_in_bytes
  ) / 2**20
