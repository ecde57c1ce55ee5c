"""The parts of a round's time: one LeNet trial, 50,000 steps.

  python -m benchmarks.rounds [--json]

Each part is measured by itself on one device while the others are idle, and
multiplied by its number in a round: training steps, evaluations of 5,000
validation images every 100 steps and of 10,000 test images every 1,000, the
last measures, pruning, storing, the record. Compiling happens once a run.
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
from lth_jax.training import Inputs, evaluation

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
  """Returns the seconds of each part, and its number in a round."""
  num_images = evaluation.NumImages(train=55_000, valid=5_000, test=10_000)
  made = problem.make(networks.NETWORKS["lenet"], **num_images._asdict())
  advance, summarize = _training(made)
  begin = time.perf_counter()
  progress = advance(1, True, True)
  summary = jax.device_get(summarize())
  compiling = time.perf_counter() - begin

  settings = _CONFIG.training
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
    path = epath.Path(folder) / "trial"
    sides = {
      "100 steps": lambda: advance(100, False, False),
      "validation": lambda: advance(0, True, False),
      "test": lambda: advance(0, False, True),
      "last measures": summarize,
      "pruning": prune,
      "record": record,
      "storing": lambda: store.save(path, "benchmark", arrays, record(), {}),
    }
    seconds = tables.alternate(sides, repeats) | {"compiling": compiling}
  times = dict.fromkeys(seconds, 1) | {
    "100 steps": settings.steps // 100,
    "validation": sum(entry.evaluate for entry in entries),
    "test": sum(entry.test for entry in entries),
  }
  return seconds, times


def _training(made):
  """Returns functions that train on, and that summarize, one trial."""
  data, split, start = jax.device_put((made.data, made.sample, made.start))
  inputs = Inputs(data, split, made.key, made.schedule)
  progress = made.trainer.begin(start, split)

  def advance(num_steps, evaluate, test):
    nonlocal progress
    step = int(progress.state.step) + num_steps
    plan = segments.plan_of([segments.Entry(step, evaluate, test)])
    progress, _ = jax.block_until_ready(
      made.trainer.advance(progress, plan, inputs)
    )
    return progress

  def summarize():
    return jax.block_until_ready(made.trainer.summarize(progress, data, split))

  return advance, summarize


if __name__ == "__main__":
  main()
