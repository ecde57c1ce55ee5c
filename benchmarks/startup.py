"""Time to import lth_jax, to `--help`, and to the first step of LeNet.

  python -m benchmarks.startup [--json]

Each measurement is a process of its own; sides take turns. The first step is
that of the paper's LeNet, at half of its weights, and evaluations on its
validation and test images, without a compilation cache and with a filled one;
the time in which a process only imports the same modules is taken off.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from benchmarks import tables

_HELP = """
import sys
from experiments import mnist_lenet
mnist_lenet.main(["mnist_lenet", "--help"])
"""
_IMPORTS = """
import jax
from benchmarks import problem
"""
_FIRST_STEP = f"""{_IMPORTS}
parts = problem.make(problem.config("lenet"))
training = problem.Training(parts, jax.devices()[0])
training.advance(1, evaluate=True, test=True)
"""


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__)
  parser.add_argument("--repeats", type=int, default=5)
  options = parser.parse_args()
  codes = {
    **{code: code for code in ("import jax", "import lth_jax")},
    "python -m experiments.mnist_lenet --help": _HELP,
    "all imports of a first step": _IMPORTS,
  }
  seconds = tables.alternate(
    {what: lambda code=code: _python(code, {}) for what, code in codes.items()},
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
    found = tables.alternate(sides, min(options.repeats, 3))
  seconds |= {
    what: time - seconds["all imports of a first step"]
    for what, time in found.items()
  }
  rows = [{"what": what, "seconds": time} for what, time in seconds.items()]
  tables.show(rows, options.json)


def _python(code: str, environment: Mapping[str, str]) -> None:
  command = [sys.executable, "-c", code]
  subprocess.run(
    command,
    check=True,
    env={**os.environ, **environment},
    stdout=subprocess.DEVNULL,
  )


if __name__ == "__main__":
  main()
