"""Throughput with 1 to 16 lanes, handed to one device a core.

  python -m benchmarks.lanes [--json] [--model lenet] [--lanes 1 2 4 8 16]

step_ms is the time of all lanes over the steps of all lanes; busy is the
throughput against that of two lanes or more, at its best.
"""

from benchmarks import networks, problem, tables
from lth_jax import execution


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__.splitlines()[0])
  parser.add_argument(
    "--model", choices=list(networks.NETWORKS), default="lenet"
  )
  parser.add_argument("--lanes", type=int, nargs="+", default=[1, 2, 4, 8, 16])
  parser.add_argument("--steps", type=int, default=2000)
  parser.add_argument("--repeats", type=int, default=3)
  options = parser.parse_args()
  devices = execution.find_devices(0, max(options.lanes))
  made = problem.make(networks.NETWORKS[options.model], train=10_000)
  pool = execution.make_pool(devices, made.data)
  sides = {
    num: lambda num=num: _train(made, pool, num, options.steps)
    for num in options.lanes
  }
  median = tables.alternate(sides, options.repeats)
  pool.threads.shutdown()
  step_ms = {
    num: 1e3 * seconds / (num * options.steps)
    for num, seconds in median.items()
  }
  rows = [
    {
      "model": options.model,
      "devices": len(devices),
      "lanes": num,
      "step_ms": ms,
      "examples_per_s": 1e3 * networks.BATCH_SIZE / ms,
      "busy": min(step_ms.values()) / ms,
    }
    for num, ms in step_ms.items()
  ]
  tables.show(rows, options.json)


def _train(made, pool, num_lanes, num_steps):
  todo = execution.entries(0, num_steps, num_steps, num_steps, num_steps)

  def lane(worker):
    execution.train(
      made.trainer,
      worker,
      made.start,
      made.sample,
      made.key,
      todo,
      resume=None,
      speed=execution.Speed(step=0.0, image=0.0),
      pause=lambda checkpoint: None,
    )

  lanes = [execution.submit(pool, lane) for _ in range(num_lanes)]
  for finished in lanes:
    finished.result()


if __name__ == "__main__":
  main()
