r"""LeNet-300-100 on MNIST: iterative tickets against their controls.

Frankle & Carbin (2019), section 2, figures 3 and 4. Run this from a clone:

  python -m experiments.mnist_lenet --workdir=runs/quickstart \
    --flagfile=experiments/flags/mnist_lenet/quickstart.flags

The defaults are the paper's protocol (`paper.flags`).
"""

import sys
from collections.abc import Sequence

from lth_jax.config import configs
from lth_jax.runner import command

CONFIG = configs.Config()


def main(argv: Sequence[str]) -> None:
  """Runs the experiment that the flags describe."""
  command.run_experiment("mnist_lenet", CONFIG, argv)


if __name__ == "__main__":
  main(sys.argv)
