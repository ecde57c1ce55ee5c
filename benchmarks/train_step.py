"""One training step against the best torch loop and the machine's limits.

  python -m benchmarks.train_step [--json] [--models lenet conv2 ...]
  python -m benchmarks.train_step --flags=--batch_size=64,--width=0.5

Needs torch: pip install -e '.[experiments,benchmarks]'. Batches and optimizers
are those of figure 2 (no augmentation), masks have density 0.5. Every number in
ms is milliseconds of the whole machine a step: with n workers at once, the time
of a step over n.

  step_ms: trials of `lth_jax.training`, one on every core.
  torch_step_ms: fused optimizer, masked gradients, images in tensors; the best
    of one process with all threads and one process a core, with channels last
    and first.
  limit_ms: the step's matrix products alone in torch's BLAS, whole or in blocks
    that stay in the cache, whichever is faster; one process a core.
  limit_with_state_ms: `limit_ms`, and reading and writing parameters, gradients
    and optimizer state once at the measured memory speed.
  spread, torch_spread: largest less smallest time, over the median.
  peak_mib, torch_peak_mib: most memory of a process; ours trains on all cores.
  traces_next_round: functions that JAX traced for a second trial with other
    masks and another learning rate, after it had trained one.

Sides take turns; medians. A convolution counts as the products of its patches;
Winograd's algorithm has fewer, so that a step can be faster than the limit.
"""

import functools
import multiprocessing
import os
import resource
import statistics
import sys
import threading
from concurrent import futures
from typing import NamedTuple

import numpy as np

from benchmarks import tables, torch_step

_CORES = len(os.sched_getaffinity(0))
# A call trains for as long as a segment of a real run.
_CALL_SECONDS = 1.5
# Lengths of blocks to try a product in; the last is the whole product.
_ROWS = (256, 1024, 2**30)


class _Found(NamedTuple):
  """What a process found: seconds a step, its most memory, functions traced."""

  seconds: float
  peak_mib: float
  traces: int = 0


def main() -> None:
  """Prints the table."""
  from benchmarks import problem  # the processes of torch do without

  parser = tables.arguments(__doc__)
  known = problem.NETWORKS
  parser.add_argument("--models", nargs="+", choices=known, default=known)
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument(
    "--flags", default="", help="changes, with commas between"
  )
  options = parser.parse_args()
  changes = (*problem.FEW_IMAGES, *filter(None, options.flags.split(",")))
  rows = [
    _row(problem.config(name, *changes), options.repeats)
    for name in options.models
  ]
  tables.show(rows, options.json)


def _row(config, repeats):
  sides = {"ours": (_time_ours, 1)}
  for layout in ("channels_last", "contiguous_format"):
    for num, processes in ((_CORES, 1), (1, _CORES)):
      time_torch = functools.partial(_time_torch, num, layout)
      sides["torch", layout, processes] = time_torch, processes
  sides |= {
    "products": (_time_products, _CORES),
    "state": (_time_state, _CORES),
  }
  found = {side: [] for side in sides}
  for _ in range(repeats):
    for side, (function, num_processes) in sides.items():
      found[side].append(_run(function, config, num_processes))
  times = {side: [x.seconds for x in ran] for side, ran in found.items()}
  median = {side: 1e3 * statistics.median(x) for side, x in times.items()}
  torch = min((x for x in sides if x[0] == "torch"), key=median.__getitem__)
  with_state = median["products"] + median["state"]
  return {
    "model": config.model.model,
    "width": config.model.width,
    "batch_size": config.training.batch_size,
    "step_ms": median["ours"],
    "spread": _spread(times["ours"]),
    "torch_step_ms": median[torch],
    "torch_spread": _spread(times[torch]),
    "speedup_vs_torch": median[torch] / median["ours"],
    "limit_ms": median["products"],
    "limit_with_state_ms": with_state,
    "limit_fraction": with_state / median["ours"],
    "peak_mib": max(x.peak_mib for x in found["ours"]),
    "torch_peak_mib": max(x.peak_mib for x in found[torch]),
    "traces_next_round": max(x.traces for x in found["ours"]),
  }


def _spread(times):
  return (max(times) - min(times)) / statistics.median(times)


def _run(function, config, num_processes):
  """Runs a side in several processes at once; the step is the machine's."""
  context = multiprocessing.get_context("spawn")
  barrier, results = context.Barrier(num_processes), context.Queue()
  processes = [
    context.Process(target=function, args=(config, barrier, results))
    for _ in range(num_processes)
  ]
  for process in processes:
    process.start()
  found = [_Found(*results.get(timeout=600)) for _ in processes]
  for process in processes:
    process.join()
  seconds = statistics.mean(x.seconds for x in found) / num_processes
  return found[0]._replace(seconds=seconds)


def _peak_mib():
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _measure(run, barrier):
  """Seconds of a step while all processes are at work; `run(n)` does n."""
  run(2)
  barrier.wait()
  return tables.seconds_a_step(run, _CALL_SECONDS)[0]


def _time_ours(config, barrier, results):
  from benchmarks import problem
  from lth_jax.parallel import devices as devices_lib

  del barrier  # this side is one process
  devices = devices_lib.find(0, _CORES)
  parts = problem.make(config)
  together = threading.Barrier(len(devices))

  trainings = [problem.Training(parts, device) for device in devices]

  def train(training):
    return _measure(training.advance, together)

  with futures.ThreadPoolExecutor(len(devices)) as threads:
    found = list(threads.map(train, trainings))
  seconds = statistics.mean(found) / len(devices)
  results.put((seconds, _peak_mib(), _traces(trainings[0])))


def _traces(training):
  """Number of functions traced while the trial of another round trains."""
  import jax

  names = []

  def note(event, _, **options):
    if event == "/jax/core/compile/jaxpr_trace_duration":
      names.append(options.get("fun_name"))

  jax.monitoring.register_event_duration_secs_listener(note)
  training.restart(density=0.3, rate_factor=0.1)
  training.advance(1)
  jax.monitoring.unregister_event_duration_listener(note)
  return len(names)


def _time_torch(num_threads, layout, config, barrier, results):
  import torch

  torch.set_num_threads(num_threads)
  step = torch_step.make(config, layout=layout)

  def run(num_steps):
    for _ in range(num_steps):
      step()

  results.put((_measure(run, barrier), _peak_mib()))


def _time_products(config, barrier, results):
  import torch

  torch.set_num_threads(1)

  def multiply(block):
    num, a, b, out = block
    for _ in range(num):
      torch.mm(a, b, out=out)

  def fastest(size):
    blocks = {rows: _block(torch, size, rows) for rows in _ROWS}
    sides = {x: lambda x=x: multiply(blocks[x]) for x in blocks}
    times = tables.alternate(sides, 1)
    return blocks[min(times, key=times.__getitem__)]

  chosen = [fastest(size) for size in torch_step.products(config)]

  def run(num_steps):
    for _ in range(num_steps):
      for block in chosen:
        multiply(block)

  results.put((_measure(run, barrier), _peak_mib()))


def _block(torch, size, rows):
  """A product as repeated products of its longest axis' blocks.

  The operands of a block are the same each time, so that they stay in the
  cache: only the arithmetic counts.
  """
  axis = size.index(max(size))
  num = max(1, round(size[axis] / rows))
  m, k, n = (-(-x // num) if i == axis else x for i, x in enumerate(size))
  return num, torch.rand(m, k), torch.rand(k, n), torch.empty(m, n)


def _time_state(config, barrier, results):
  size = torch_step.state_bytes(config) // 2
  one, other = np.zeros(size, np.uint8), np.zeros(size, np.uint8)

  def run(num_steps):
    for _ in range(num_steps):
      np.copyto(one, other)  # reads and writes equal numbers of bytes

  results.put((_measure(run, barrier), _peak_mib()))


if __name__ == "__main__":
  main()
