"""Time to import lth_jax, and to the first training step of LeNet.

  python -m benchmarks.startup [--json]

Each measurement is a process of its own. `import lth_jax` and `import jax` are
timed in turn. The first step is that of the paper's LeNet, without a
compilation cache and with a filled one.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from benchmarks import tables

_FIRST_STEP = """
import jax
from benchmarks import problem
parts = problem.make(problem.config("lenet"))
training = problem.Training(parts, jax.devices()[0])
training.advance(1, evaluate=True, test=True)
"""


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__)
  parser.add_argument("--repeats", type=int, default=5)
  options = parser.parse_args()
  imports = ("import jax", "import lth_jax")
  seconds = tables.alternate(
    {code: lambda code=code: _python(code, {}) for code in imports},
    options.repeats,
  )
  seconds["lth_jax in addition to jax"] = (
    seconds["import lth_jax"] - seconds["import jax"]
  )
  uncached = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
  with tempfile.TemporaryDirectory() as folder:
    cached = tables.cache(folder)
    # The first call, which is not timed, fills the cache.
    sides = {
      "first step, nothing cached": lambda: _python(_FIRST_STEP, uncached),
      "first step, programs cached": lambda: _python(_FIRST_STEP, cached),
    }
    seconds |= tables.alternate(sides, min(options.repeats, 3))
  rows = [{"what": what, "seconds": time} for what, time in seconds.items()]
  tables.show(rows, options.json)


def _python(code: str, environment: Mapping[str, str]) -> None:
  command = [sys.executable, "-c", code]
  subprocess.run(command, check=True, env={**os.environ, **environment})


if __name__ == "__main__":
  main()
