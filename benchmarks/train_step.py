"""One training step against the best torch loop and the machine's limits.

  python -m benchmarks.train_step [--json] [--models lenet conv2 ...]

Needs torch: pip install -e '.[experiments,benchmarks]'. Batches and optimizers
are those of figure 2 (no augmentation), masks have density 0.5. Every number is
milliseconds of the whole machine a step: with n workers at once, the time of a
step over n.

  step_ms: trials of `lth_jax.training`, one on every core.
  torch_step_ms: fused optimizer, masked gradients, images in tensors; the
    better of one process with all threads and one process a core.
  limit_ms: the step's matrix products alone in torch's BLAS, whole or in blocks
    that stay in the cache, whichever is faster; one process a core.
  limit_with_state_ms: `limit_ms`, and reading and writing parameters, gradients
    and optimizer state once at the measured memory speed.

Sides take turns; medians. A convolution counts as the products of its patches;
Winograd's algorithm has fewer, so that a step can be faster than the limit.
"""

import functools
import multiprocessing
import os
import statistics
import threading
from concurrent import futures

import numpy as np

from benchmarks import tables, torch_step

_CORES = len(os.sched_getaffinity(0))
# A call trains for as long as a segment of a real run.
_CALL_SECONDS = 1.5
# Lengths of blocks to try a product in; the last is the whole product.
_ROWS = (256, 1024, 2**30)


def main() -> None:
  """Prints the table."""
  from benchmarks import problem  # the processes of torch do without

  parser = tables.arguments(__doc__)
  known = problem.NETWORKS
  parser.add_argument("--models", nargs="+", choices=known, default=known)
  parser.add_argument("--repeats", type=int, default=3)
  options = parser.parse_args()
  rows = [
    _row(problem.config(name, *problem.FEW_IMAGES), options.repeats)
    for name in options.models
  ]
  tables.show(rows, options.json)


def _row(config, repeats):
  sides = {
    "ours": (_time_ours, 1),
    "torch threads": (functools.partial(_time_torch, _CORES), 1),
    "torch processes": (functools.partial(_time_torch, 1), _CORES),
    "products": (_time_products, _CORES),
    "state": (_time_state, _CORES),
  }
  times = {side: [] for side in sides}
  for _ in range(repeats):
    for side, (function, num_processes) in sides.items():
      times[side].append(_time(function, config, num_processes))
  median = {side: statistics.median(found) for side, found in times.items()}
  torch = min(median["torch threads"], median["torch processes"])
  with_state = median["products"] + median["state"]
  return {
    "model": config.model.model,
    "step_ms": median["ours"],
    "torch_step_ms": torch,
    "speedup_vs_torch": torch / median["ours"],
    "limit_ms": median["products"],
    "limit_with_state_ms": with_state,
    "limit_fraction": with_state / median["ours"],
  }


def _time(function, config, num_processes):
  """Milliseconds a step of the machine, with several processes at once."""
  context = multiprocessing.get_context("spawn")
  barrier, results = context.Barrier(num_processes), context.Queue()
  processes = [
    context.Process(target=function, args=(config, barrier, results))
    for _ in range(num_processes)
  ]
  for process in processes:
    process.start()
  found = [results.get(timeout=600) for _ in processes]
  for process in processes:
    process.join()
  return 1e3 * statistics.mean(found) / num_processes


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

  def train(device):
    return _measure(problem.Training(parts, device).advance, together)

  with futures.ThreadPoolExecutor(len(devices)) as threads:
    found = list(threads.map(train, devices))
  results.put(statistics.mean(found) / len(devices))


def _time_torch(num_threads, config, barrier, results):
  import torch

  torch.set_num_threads(num_threads)
  step = torch_step.make(config)

  def run(num_steps):
    for _ in range(num_steps):
      step()

  results.put(_measure(run, barrier))


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

  results.put(_measure(run, barrier))


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

  results.put(_measure(run, barrier))


if __name__ == "__main__":
  main()
