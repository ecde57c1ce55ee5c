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

import multiprocessing
import os
import statistics
import time

import numpy as np

from benchmarks import networks, tables, torch_step

_CORES = len(os.sched_getaffinity(0))
_SECONDS = 4.0
# A call trains for as long as a segment of a real run.
_CALL_SECONDS = 1.5
_NUM_IMAGES = 10_000
# Lengths of blocks to try a product in; the last is the whole product.
_ROWS = (256, 1024, 2**30)


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__.splitlines()[0])
  parser.add_argument(
    "--models",
    nargs="+",
    choices=list(networks.NETWORKS),
    default=list(networks.NETWORKS),
  )
  parser.add_argument("--repeats", type=int, default=3)
  options = parser.parse_args()
  rows = [_row(name, options.repeats) for name in options.models]
  tables.show(rows, options.json)


def _row(name, repeats):
  sides = {
    "ours": (_time_ours, 1),
    "torch threads": (_time_torch_threads, 1),
    "torch processes": (_time_torch, _CORES),
    "products": (_time_products, _CORES),
    "state": (_time_state, _CORES),
  }
  times = {side: [] for side in sides}
  for _ in range(repeats):
    for side, (function, num_processes) in sides.items():
      times[side].append(_time(function, name, num_processes))
  median = {side: statistics.median(found) for side, found in times.items()}
  torch = min(median["torch threads"], median["torch processes"])
  with_state = median["products"] + median["state"]
  return {
    "model": name,
    "step_ms": median["ours"],
    "torch_step_ms": torch,
    "speedup_vs_torch": torch / median["ours"],
    "limit_ms": median["products"],
    "limit_with_state_ms": with_state,
    "limit_fraction": with_state / median["ours"],
  }


def _time(function, name, num_processes):
  """Milliseconds a step of the machine, with several processes at once."""
  context = multiprocessing.get_context("spawn")
  barrier, results = context.Barrier(num_processes), context.Queue()
  processes = [
    context.Process(target=function, args=(name, barrier, results))
    for _ in range(num_processes)
  ]
  for process in processes:
    process.start()
  found = [results.get(timeout=600) for _ in processes]
  for process in processes:
    process.join()
  return 1e3 * statistics.mean(found) / num_processes


def _measure(run, barrier):
  """Seconds of a step; `run(n)` does n steps."""
  run(2)
  barrier.wait()
  begin, num_steps = time.perf_counter(), 0
  chunk = 1
  while (passed := time.perf_counter() - begin) < _SECONDS:
    run(chunk)
    num_steps += chunk
    chunk = max(1, int(_CALL_SECONDS * num_steps / max(passed, 1e-3)))
    chunk = min(chunk, 2 * num_steps)
  return (time.perf_counter() - begin) / num_steps


def _time_ours(name, barrier, results):
  import threading

  import jax

  from benchmarks import problem
  from lth_jax import training
  from lth_jax.parallel import devices as devices_lib
  from lth_jax.parallel import segments

  del barrier  # this side is one process
  devices = devices_lib.find(0, _CORES)
  made = problem.make(networks.NETWORKS[name], train=_NUM_IMAGES)
  together, found = threading.Barrier(len(devices)), []

  def trial(device):
    start, data, sample, key, schedule = jax.device_put(made[1:], device)
    inputs = training.Inputs(data, sample, key, schedule)
    progress = made.trainer.begin(start, sample)

    def run(num_steps):
      nonlocal progress
      step = int(progress.state.step) + num_steps
      plan = segments.plan_of([segments.Entry(step, False, False)])
      progress, _ = jax.block_until_ready(
        made.trainer.advance(progress, plan, inputs)
      )

    found.append(_measure(run, together))

  threads = [threading.Thread(target=trial, args=(d,)) for d in devices]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  results.put(statistics.mean(found) / len(devices))


def _time_torch(name, barrier, results):
  _time_torch_with(1, name, barrier, results)


def _time_torch_threads(name, barrier, results):
  _time_torch_with(_CORES, name, barrier, results)


def _time_torch_with(num_threads, name, barrier, results):
  import torch

  torch.set_num_threads(num_threads)
  step = torch_step.make(networks.NETWORKS[name])

  def run(num_steps):
    for _ in range(num_steps):
      step()

  results.put(_measure(run, barrier))


def _time_products(name, barrier, results):
  import torch

  torch.set_num_threads(1)
  sizes = torch_step.products(networks.NETWORKS[name])

  def multiply(blocks):
    for num, a, b, out in blocks:
      for _ in range(num):
        torch.mm(a, b, out=out)

  def seconds(blocks):
    multiply(blocks)
    begin = time.perf_counter()
    multiply(blocks)
    return time.perf_counter() - begin

  def fastest(size):
    return min((_blocks(torch, size, rows) for rows in _ROWS), key=seconds)

  chosen = [block for size in sizes for block in fastest(size)]

  def run(num_steps):
    for _ in range(num_steps):
      multiply(chosen)

  results.put(_measure(run, barrier))


def _blocks(torch, size, rows):
  """A product as repeated products of its longest axis' blocks.

  The operands of a block are the same each time, so that they stay in the
  cache: only the arithmetic counts.
  """
  axis = size.index(max(size))
  num = max(1, round(size[axis] / rows))
  m, k, n = (-(-x // num) if i == axis else x for i, x in enumerate(size))
  return [(num, torch.rand(m, k), torch.rand(k, n), torch.empty(m, n))]


def _time_state(name, barrier, results):
  size = torch_step.state_bytes(networks.NETWORKS[name]) // 2
  one, other = np.zeros(size, np.uint8), np.zeros(size, np.uint8)

  def run(num_steps):
    for _ in range(num_steps):
      np.copyto(one, other)  # reads and writes equal numbers of bytes

  results.put(_measure(run, barrier))


if __name__ == "__main__":
  main()
