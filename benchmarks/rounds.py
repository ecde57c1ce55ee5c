"""Where the time of a `paper` round goes: one LeNet trial, 50,000 steps.

  python -m benchmarks.rounds [--json]

Each part is measured by itself on one device while the others are idle, and
multiplied by how often a round has it: training steps, evaluations of 5,000
validation images every 100 steps and of 10,000 test images every 1,000, the
last measures, pruning, storing, the record. Compiling comes once a run.
"""

import tempfile
import time

import jax
from etils import epath

from benchmarks import networks, problem, tables
from lth_jax import pruning, scores
from lth_jax.config import configs
from lth_jax.parallel import segments
from lth_jax.runner import records
from lth_jax.storage import store
from lth_jax.training import evaluation

_CONFIG = configs.Config()


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__.splitlines()[0])
  parser.add_argument("--repeats", type=int, default=5)
  options = parser.parse_args()
  seconds, times = _measure(options.repeats)
  total = sum(
    seconds[part] * num for part, num in times.items() if part != "compiling"
  )
  rows = [
    {
      "part": part,
      "ms_each": 1e3 * seconds[part],
      "times": num,
      "seconds": seconds[part] * num,
      "percent_of_round": 100 * seconds[part] * num / total,
    }
    for part, num in times.items()
  ]
  tables.show(rows, options.json)


def _measure(repeats):
  settings = _CONFIG.training
  num_images = evaluation.NumImages(train=55_000, valid=5_000, test=10_000)
  made = problem.make(networks.NETWORKS["lenet"], **num_images._asdict())
  data, sample, start = jax.device_put((made.data, made.sample, made.start))
  progress = made.trainer.begin(start, sample)

  def advance(num_steps, evaluate, test):
    nonlocal progress
    step = int(progress.state.step) + num_steps
    plan = segments.plan_of([segments.Entry(step, evaluate, test)])
    progress, history = jax.block_until_ready(
      made.trainer.advance(
        progress, plan, data, sample, made.key, made.schedule
      )
    )
    return history

  def summarize():
    return jax.block_until_ready(made.trainer.summarize(progress, data, sample))

  begin = time.perf_counter()
  advance(1, True, True)
  summarize()
  compiling = time.perf_counter() - begin

  entries = segments.entries(
    0, settings.steps, settings.eval_every, settings.test_every
  )
  rows = tuple(
    segments.Row(*entry, 0.1, 0.1, 4900, 0.1, 9800) for entry in entries
  )
  end = segments.ResumePoint(jax.device_get(progress), rows)
  arrays = {
    "params": end.progress.state.params,
    "masks": end.progress.state.masks,
  }
  summary = jax.device_get(summarize())

  def prune():
    jax.device_get(
      pruning.prune(scores.magnitude(arrays["params"]), arrays["masks"], 0.2)
    )

  def record():
    return records.of_trial(
      made.scheduled(), end, summary, num_images, settings.eval_every
    )

  with tempfile.TemporaryDirectory() as folder:
    sides = {
      "100 steps": lambda: advance(100, False, False),
      "validation": lambda: advance(0, True, False),
      "test": lambda: advance(0, False, True),
      "last measures": summarize,
      "pruning": prune,
      "record": record,
      "storing": lambda: store.save(
        epath.Path(folder) / "trial", "benchmark", arrays, record(), {}
      ),
    }
    seconds = tables.alternate(sides, repeats)
  times = {
    "100 steps": settings.steps // 100,
    "validation": sum(entry.evaluate for entry in entries),
    "test": sum(entry.test for entry in entries),
    "last measures": 1,
    "pruning": 1,
    "record": 1,
    "storing": 1,
    "compiling": 1,
  }
  return seconds | {"compiling": compiling}, times


if __name__ == "__main__":
  main()
