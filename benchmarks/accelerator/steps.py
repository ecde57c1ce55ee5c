"""Time and memory of a training step, by network, width and precision.

Networks, batches, optimizers and evaluation come from the paper's flagfiles,
images are random. `protocol_minutes` is the time of a flagfile's whole run at
this speed, without the time between groups of trials.
"""

import importlib.util
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from benchmarks import problem, tables, torch_step
from benchmarks.accelerator import child
from lth_jax.parallel import devices, segments

_PRECISIONS = ("highest", "default")
# Evaluations in a call that times them.
_EVALUATIONS = 8


class Side(NamedTuple):
  """What is measured; a run chooses the width if that is 0."""

  network: str
  width: int = 0
  precision: str = "highest"

  def __str__(self) -> str:
    """Returns a name for the report."""
    return f"{self.network}, {self.width or 'automatic'}, {self.precision}"


def lenet(asked: child.Asked) -> Iterator[tables.Row]:
  """Yields a row for each width of LeNet, then one on the automatic width."""
  widths = (0, 2, 4) if asked.smoke else (0, 32, 64, 16, 128, 1, 8, 256, 4)
  yield from _compare([Side("lenet", width) for width in widths], asked)


def deep(asked: child.Asked) -> Iterator[tables.Row]:
  """Yields rows of the networks with convolutions."""
  sides = [
    Side(name, precision=precision)
    for name in ("conv2", "resnet20", "vgg19", "conv4", "conv6")
    for precision in _PRECISIONS
  ]
  # Last, since compiling may take all the time that is left.
  sides += [
    Side(name, width) for name in ("conv2", "resnet20") for width in (4, 9)
  ]
  yield from _compare([Side("conv2", 2)] if asked.smoke else sides, asked)


def programs(asked: child.Asked) -> Iterator[tables.Row]:
  """Yields LeNet with nothing cached, and again with its programs cached."""
  with tempfile.TemporaryDirectory() as cache:
    for what in ("nothing cached", "programs cached"):
      begin = time.monotonic()
      found = subprocess.run(
        child.command(f"{__name__}:automatic", asked),
        env=os.environ | tables.cache(cache),
        stdout=subprocess.PIPE,
        check=True,
      )
      process_s = time.monotonic() - begin
      row = json.loads(found.stdout.splitlines()[-1])
      yield {"what": what, "process_s": process_s, **row}


def automatic(asked: child.Asked) -> Iterator[tables.Row]:
  """Yields one row, of LeNet at the automatic width."""
  yield _measure(Side("lenet"), asked.smoke)


def torch(asked: child.Asked) -> Iterator[tables.Row]:
  """Yields a row a network and precision; none where torch is missing."""
  if not importlib.util.find_spec("torch"):
    yield {"what": "torch is not here"}
    return
  names = ("lenet",) if asked.smoke else ("lenet", "conv2", "resnet20", "vgg19")
  sides = [
    Side(name, 1, precision) for name in names for precision in _PRECISIONS
  ]
  for side in child.in_time(sides, 5, asked):
    config = problem.config(side.network)
    seconds = 0.02 if asked.smoke else 0.5
    yield torch_step.measure(config, side.precision, seconds)


def _compare(sides: Sequence[Side], asked) -> Iterator[tables.Row]:
  """Yields a row for each side, then one a network on the automatic width."""
  found: dict[str, list[tables.Row]] = {}
  # Most of the seconds are for compiling.
  for side in child.in_time(sides, 1 if asked.smoke else 25, asked):
    try:
      row = _measure(side, asked.smoke)
    except Exception as error:  # too little memory for one width, say
      text = f"{type(error).__name__}: {error}"[:300]
      yield {"what": f"{side}: {text}", "ok": False}
      continue
    yield row
    if side.precision == "highest":
      found.setdefault(side.network, []).append(row)
  for name, rows in found.items():
    best = min(rows, key=lambda row: row["protocol_minutes"])
    chosen = [row for row in rows if row["automatic"]]
    if chosen and len(rows) > 1:
      ratio = chosen[0]["protocol_minutes"] / best["protocol_minutes"]
      what = f"{name}: automatic over the best width, {best['width']}"
      yield {"what": what, "protocol_minutes": ratio}


def _measure(side, smoke):
  precision = None if side.precision == "default" else side.precision
  jax.config.update("jax_default_matmul_precision", precision)
  scale = "smoke" if smoke else "paper"
  parts = problem.make(problem.config(side.network, scale=scale))
  device = jax.devices()[0]
  chosen = devices.choose_layout(parts.config, [device], ()).trials_per_device
  width = side.width or chosen
  training = problem.Training(parts, device, width)
  compiled = training.compile()

  def evaluate():
    return training.advance(0, evaluate=True, test=True, times=_EVALUATIONS)

  history = training.advance(20, evaluate=True, test=True)
  step_s, spread = tables.seconds_a_step(
    training.advance, 0.02 if smoke else 0.3
  )
  evaluate_s = tables.alternate({"all": evaluate}, 3)["all"] / _EVALUATIONS
  seconds = _protocol_seconds(parts, width, step_s, evaluate_s)
  peak = (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
  return {
    "network": side.network,
    "width": width,
    "precision": side.precision,
    "automatic": width == chosen,
    "backend": device.platform,
    "step_ms": 1e3 * step_s,
    "spread": spread,
    "trial_step_us": 1e6 * step_s / width,
    "examples_per_s": width * parts.config.training.batch_size / step_s,
    "evaluation_ms": 1e3 * evaluate_s,
    "protocol_minutes": seconds / 60,
    "loss": float(np.ravel(history.valid.loss)[0]),
    **compiled,
    "peak_mib": peak / 2**20,
  }


def _protocol_seconds(parts, width, step_s, evaluate_s) -> float:
  """A whole run: its trainings in groups, a replicate's rounds in turn."""
  settings, num = parts.config.training, parts.num_images
  entries = segments.entries(
    0, settings.steps, settings.eval_every, settings.test_every
  )
  images = sum(x.evaluate * num.valid + x.test * num.test for x in entries)
  image_s = evaluate_s / (num.valid + num.test)
  trials = problem.num_trials(parts.config)
  num_groups = max(len(trials), -(-sum(trials) // width))
  return num_groups * (settings.steps * step_s + images * image_s)
