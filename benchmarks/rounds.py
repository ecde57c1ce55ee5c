"""The parts of a round's time: one LeNet trial, 50,000 steps.

  python -m benchmarks.rounds [--json]

Each part is measured by itself on one device while the others are idle, and
multiplied by its number in a round: training steps, evaluations of 5,000
validation images every 100 steps and of 10,000 test images every 1,000, the
last measures, pruning, storing, the record. Compiling happens once a run.
`limit_ms` is the time of an evaluation's matrix products in a program of
their own.
"""

import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from benchmarks import problem, tables
from lth_jax.parallel import segments
from lth_jax.runner import records
from lth_jax.storage import store


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__)
  parser.add_argument("--repeats", type=int, default=5)
  options = parser.parse_args()
  parts = problem.make(problem.config("lenet", "--test_every=1000"))
  training = problem.Training(parts, jax.devices()[0])
  begin = time.perf_counter()
  training.advance(1, evaluate=True, test=True)
  training.summarize()
  compiling = time.perf_counter() - begin
  with tempfile.TemporaryDirectory() as folder:
    sides = {
      "100 steps": lambda: training.advance(100),
      "validation": lambda: training.advance(0, evaluate=True),
      "test": lambda: training.advance(0, test=True),
      "last measures": training.summarize,
      "limit of validation": _products(parts, parts.num_images.valid),
      "limit of test": _products(parts, parts.num_images.test),
      **_between_rounds(parts, training, epath.Path(folder) / "trial"),
    }
    seconds = tables.alternate(sides, options.repeats)
  limits = {
    part: seconds.pop(f"limit of {part}") for part in ("validation", "test")
  }
  todo = _entries(parts)
  times = dict.fromkeys(seconds, 1) | {
    "100 steps": parts.config.training.steps // 100,
    "validation": sum(entry.evaluate for entry in todo),
    "test": sum(entry.test for entry in todo),
    "compiling": 1,
  }
  total = sum(seconds[part] * times[part] for part in seconds)
  seconds["compiling"] = compiling
  rows = [
    {
      "part": part,
      "ms_each": 1e3 * seconds[part],
      "limit_ms": 1e3 * limits[part] if part in limits else None,
      "times": num,
      "seconds": seconds[part] * num,
      "percent_of_round": 100 * seconds[part] * num / total,
    }
    for part, num in times.items()
  ]
  tables.show(rows, options.json)


def _products(parts, num_images):
  """Returns a function that does the products of an evaluation."""
  rng, batch = np.random.default_rng(0), min(1000, num_images)
  kernels = [
    rng.random(leaf.shape, np.float32)
    for leaf in jax.tree.leaves(parts.like.params)
    if leaf.ndim == 2
  ]
  shape = num_images // batch, batch, len(kernels[0])
  images = jax.device_put(rng.random(shape, np.float32))

  def add(total, x):
    for kernel in kernels:
      x @= kernel
    return total + x, None

  zeros = jnp.zeros((batch, kernels[-1].shape[1]))
  multiply = jax.jit(lambda images: jax.lax.scan(add, zeros, images)[0])
  return lambda: jax.block_until_ready(multiply(images))


def _between_rounds(parts, training, path):
  """Returns functions that do, by name, the work after a trial's last step."""
  trial, summary = problem.trial(parts), jax.device_get(training.summarize())
  rows = tuple(
    segments.Row(*entry, 0.1, 0.1, 4900, 0.1, 9800) for entry in _entries(parts)
  )
  end = segments.ResumePoint(jax.device_get(training.group.progress), rows)
  state = end.progress.state
  arrays = {"params": state.params, "masks": state.masks}
  eval_every = parts.config.training.eval_every

  def record():
    return records.of_trial(trial, end, summary, parts.num_images, eval_every)

  return {
    "pruning": lambda: parts.prune(
      0, state.params, state.params, state.masks, 1
    ),
    "record": record,
    "storing": lambda: store.save(path, "benchmark", arrays, record(), {}),
  }


def _entries(parts):
  settings = parts.config.training
  return segments.entries(
    0, settings.steps, settings.eval_every, settings.test_every
  )


if __name__ == "__main__":
  main()
