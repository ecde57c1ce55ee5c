"""A sweep as a list of commands, and the shell that other launchers need."""

import shlex
from collections.abc import Mapping, Sequence

from experiments._sweep import points

# Of the folder that the code has been copied to. The Ubuntu of TPU VMs has
# Python 3.10; uv fetches a newer one where there is none.
_INSTALL = """\
set -e
export PATH="$HOME/.local/bin:$PATH"
command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
[ -e .venv ] || uv venv --quiet --python '>=3.11' .venv
uv pip install --quiet --editable '.[{extras}]'
"""


def text(sweep: Sequence[points.Point]) -> str:
  """Writes a command a line, for `bash`, `xargs` or GNU parallel.

  `bash` takes one after the other and ends with the first that fails or, with
  code 75, is stopped; that is what `|| exit` is for.

  Args:
    sweep: its points.

  >>> print(text(points.make([], {"seed": ["1"]}, "two words")), end="")
  python -m experiments.mnist_lenet --seed=1 '--workdir=two words/seed=1' ||
  exit
  """
  return "".join(f"{shlex.join(point.command)} || exit\n" for point in sweep)


def choose(sweep: Mapping[str, points.Point], srun: bool = False) -> str:
  """Writes a function `point NAME` that becomes one of the commands.

  Args:
    sweep: points by their names.
    srun: whether Slurm is to start what runs on several hosts.

  >>> [point] = points.make([], {"seed": ["1"]}, "runs")
  >>> print(choose({"0": point}), end="")
  point() {
    case $1 in
      0) exec python -m experiments.mnist_lenet --seed=1 --workdir=runs/seed=1
    ;;
      *) echo "no point '$1'" >&2; exit 2 ;;
    esac
  }
  """
  cases = "".join(
    f"    {shlex.quote(name)}) exec {'srun ' * (srun and point.several)}"
    f"{shlex.join(point.command)} ;;\n"
    for name, point in sweep.items()
  )
  otherwise = "    *) echo \"no point '$1'\" >&2; exit 2 ;;\n"
  return f"point() {{\n  case $1 in\n{cases}{otherwise}  esac\n}}\n"


def install(remote: bool) -> str:
  """Writes how a TPU VM gets its Python and the package; harmless if it has.

  Args:
    remote: whether the workdir is in a bucket.
  """
  extras = ["experiments", "tpu", *["gcs"] * remote]
  return _INSTALL.format(extras=",".join(extras))
