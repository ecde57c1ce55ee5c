r"""Writes a sweep: a command for each point of a product of ranges.

  python -m experiments.sweep --vary=learning_rate=1.2e-3,2e-3 \
    --vary='hidden=300,100 150,50' --workdir=runs/sweep --emit=slurm \
    --out=sweep.sbatch -- --flagfile=experiments/flags/mnist_lenet/cpu.flags

The flags after `--` are the flags of all runs. Each run has the folder
`<workdir>/<id>`; the same command resumes it, and ends at once if the run is
complete. This command starts nothing, but checks every config.
"""

import re
import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from experiments._sweep import emit, points
from lth_jax import errors, runner
from lth_jax.config import flags
from lth_jax.runner import command


def main(argv: Sequence[str]) -> None:
  """Writes the sweep that the flags describe."""

  def run():
    asked = _flags()
    sweep = _points(asked, command.parse_words(asked, argv))
    text = emit.text(asked.emit, sweep, asked.workdir, asked.image, asked.tpu)
    if asked.out is None:
      command.show(text)
    else:
      flags.local(asked.out).write_text(text)

  command.call(run)


def _flags() -> absl_flags.FlagValues:
  values = absl_flags.FlagValues()
  own = flags.group(values)
  absl_flags.DEFINE_multi_string(
    "vary",
    [],
    "A flag and its values: 'seed=0,1', or 'hidden=300,100 150,50' if values "
    "have commas; several of these give their product.",
    **own,
  )
  absl_flags.DEFINE_string(
    "workdir", None, "Folder of the sweep: a path or a gs:// URL.", **own
  )
  absl_flags.DEFINE_enum(
    "emit",
    "shell",
    emit.KINDS,
    "What to write: a command a line, a Slurm array, a script for one TPU VM, "
    "Kubernetes JobSets, or a SkyPilot task.",
    **own,
  )
  absl_flags.DEFINE_string(
    "out", None, "File to write; by default, stdout.", **own
  )
  absl_flags.DEFINE_string("image", None, "Container image, for jobset.", **own)
  absl_flags.DEFINE_string(
    "tpu",
    "tpu-v5-lite-podslice:1x1",
    "For jobset: GKE's name of the TPU and its topology; '' for none.",
    **own,
  )
  return values


def _points(
  asked: absl_flags.FlagValues, base: Sequence[str]
) -> list[points.Point]:
  for text in base:
    # absl would take the next word for a value that is missing.
    if not re.match(r"--?\w+=", text):
      raise errors.InputError(
        f"'{text}' is no flag with its value; write flags as --name=value."
      )
  if not asked.workdir or not asked.vary:
    missing = "--vary" if asked.workdir else "--workdir"
    raise errors.InputError(
      f"{missing} is missing; such as --vary=seed=0,1 --workdir=runs/sweep."
    )
  flags.folder(asked.workdir)  # refuses what no run would take
  ranges = points.parse_ranges(asked.vary)
  sweep = points.make(base, ranges, asked.workdir)
  if asked.emit in ("tpu_vm", "skypilot") and "://" not in asked.workdir:
    runner.log(
      f"note: --workdir={asked.workdir} is a folder of the machine that runs "
      "the sweep, and is lost with it; one in a bucket (gs://...) is not."
    )
  return sweep


if __name__ == "__main__":
  main(sys.argv)
