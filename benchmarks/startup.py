"""Time to import lth_jax, and to the first training step of LeNet.

  python -m benchmarks.startup [--json]

Each measurement is a process of its own. `import lth_jax` and `import jax` are
timed in turn. The first step of `experiments.mnist_lenet` is timed without a
compilation cache and with a filled one.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import tables

_FIRST_STEP = """
import jax
from lth_jax import data
from lth_jax.config import configs, plan
from lth_jax.parallel import segments
from lth_jax.runner import build
from lth_jax import training
config = configs.from_flat({"dataset": "mnist_10k", "num_valid": 1000})
dataset = data.load("mnist_10k")
parts = build.make(config, dataset)
start, split = build.initial_start(parts, 0), parts.split(0)
piece = segments.plan_of([segments.Entry(1, True, True)])
images = training.Data(*dataset.train, *dataset.test)
progress = parts.trainer.begin(start, split)
key = build.order_key(config, plan.Trial(0, 0, 'ticket'))
inputs = training.Inputs(images, split, key, parts.schedule)
jax.block_until_ready(parts.trainer.advance(progress, piece, inputs))
"""


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__.splitlines()[0])
  parser.add_argument("--repeats", type=int, default=5)
  options = parser.parse_args()
  imports = {"import jax": "import jax", "import lth_jax": "import lth_jax"}
  times = {name: [] for name in imports}
  for _ in range(options.repeats + 1):
    for name, code in imports.items():
      times[name].append(_seconds(code))
  rows = [
    {"what": name, "seconds": statistics.median(found[1:])}
    for name, found in times.items()
  ]
  rows.append(
    {
      "what": "lth_jax in addition to jax",
      "seconds": rows[1]["seconds"] - rows[0]["seconds"],
    }
  )
  with tempfile.TemporaryDirectory() as cache:
    cached = {
      "JAX_COMPILATION_CACHE_DIR": cache,
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
      "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    first = [_seconds(_FIRST_STEP) for _ in range(3)]
    _seconds(_FIRST_STEP, cached)
    again = [_seconds(_FIRST_STEP, cached) for _ in range(3)]
  for what, found in (
    ("first step, nothing cached", first),
    ("first step, programs cached", again),
  ):
    rows.append({"what": what, "seconds": statistics.median(found)})
  tables.show(rows, options.json)


def _seconds(code, environment=()):
  begin = time.perf_counter()
  subprocess.run(
    [sys.executable, "-c", code],
    check=True,
    env={**os.environ, **dict(environment)},
  )
  return time.perf_counter() - begin


if __name__ == "__main__":
  main()
