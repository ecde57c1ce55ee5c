r"""LeNet-300-100 on MNIST: iterative tickets against their controls.

Frankle & Carbin (2019), section 2, figures 3 and 4. Run it from a clone:

  python -m experiments.mnist_lenet --workdir=runs/quickstart \
    --flagfile=experiments/flags/mnist_lenet/quickstart.flags

The defaults are the paper's protocol (`paper.flags`).
"""

from absl import app
from absl import flags as absl_flags

from lth_jax import command, configs, flags

CONFIG = configs.Config()

_config = flags.define(CONFIG)
absl_flags.adopt_module_key_flags(flags)  # so that --help lists them


def main(argv: list[str]) -> None:
  """Runs the experiment that the flags describe."""
  command.run_experiment("mnist_lenet", _config, argv)


if __name__ == "__main__":
  app.run(main, flags_parser=command.parse_flags)
