"""Throughput with 1 to 16 trials on one device a core.

  python -m benchmarks.trials [--json] [--model lenet] [--trials 1 2 4 8 16]

Under "loop" a device trains its trials one after the other, under "vmap" all of
them side by side; with one trial a device, these are the same. step_ms is the
time of all trials over the steps of all trials; busy is the throughput against
the best of the table.
"""

import functools

from benchmarks import problem, tables
from lth_jax.parallel import devices as devices_lib
from lth_jax.parallel import scheduler, segments, vmapped


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__)
  parser.add_argument("--model", choices=problem.NETWORKS, default="lenet")
  parser.add_argument("--trials", type=int, nargs="+", default=[1, 2, 4, 8, 16])
  parser.add_argument("--axes", nargs="+", default=["loop", "vmap"])
  parser.add_argument("--steps", type=int, default=2000)
  parser.add_argument("--repeats", type=int, default=3)
  options = parser.parse_args()
  devices = devices_lib.find(0, max(options.trials))
  parts = problem.make(problem.config(options.model, *problem.FEW_IMAGES))
  workers = devices_lib.make_workers(devices, parts.data)
  sides = {}
  for axis in options.axes:
    for num in options.trials:
      width = 1 if axis == "loop" else -(-num // len(devices))
      program = vmapped.make(parts.trainer, width)
      train = functools.partial(_train, problem.trial(parts), workers, program)
      # Every device compiles before any time is taken.
      train(width * len(devices), num_steps=2)
      sides[axis, num] = functools.partial(train, num, options.steps)
  median = tables.alternate(sides, options.repeats)
  step_ms = {
    (axis, num): 1e3 * seconds / (num * options.steps)
    for (axis, num), seconds in median.items()
  }
  rows = [
    {
      "model": options.model,
      "devices": len(devices),
      "axis": axis,
      "trials": num,
      "step_ms": ms,
      "examples_per_s": 1e3 * parts.config.training.batch_size / ms,
      "busy": min(step_ms.values()) / ms,
    }
    for (axis, num), ms in step_ms.items()
  ]
  tables.show(rows, options.json)


def _train(trial, workers, program, num_trials, num_steps):
  todo = segments.entries(0, num_steps, num_steps, num_steps)

  def train(worker, trials):
    return segments.train(
      program, [worker], trials, todo, pause=lambda rows, points: None
    )

  with scheduler.serve(
    workers, train, group_size=program.width, num_threads=1
  ) as queue:
    for finished in [queue.submit(trial) for _ in range(num_trials)]:
      finished()


if __name__ == "__main__":
  main()
