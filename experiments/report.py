"""Writes a run's report anew from its records; of several, also compares them.

  python -m experiments.report runs/quickstart
  python -m experiments.report 'runs/sweep/*' --out=runs/comparison

In a comparison a run is named by what differs between the runs' configs.
"""

import glob
import re
import sys
from collections.abc import Iterable, Sequence

from absl import flags as absl_flags
from etils import epath

from lth_jax import errors, report, runner
from lth_jax.config import configs, flags
from lth_jax.report import comparison, records
from lth_jax.runner import command


def main(argv: Sequence[str]) -> None:
  """Writes `<workdir>/report/` of each run, and compares several."""

  def write():
    asked = _flags()
    others = command.parse(asked, argv)
    folders = _find([*asked.workdir, *others])
    if not folders:
      raise errors.InputError(
        "name the folder of a run, such as: python -m experiments.report "
        "runs/quickstart"
      )
    if (len(folders) > 1) != bool(asked.out):
      raise errors.InputError(
        "--out names the folder for a comparison of several runs: it needs "
        f"two or more, and they need it; here are {len(folders)}."
      )
    named = _name(folders) if asked.out else {}
    for folder in folders:
      runner.log(f"Report: {report.write(folder)}")
    if named:
      _compare(named, runner.connect(flags.folder(asked.out)))

  command.call(write)


def _flags() -> absl_flags.FlagValues:
  values = absl_flags.FlagValues()
  absl_flags.DEFINE_multi_string(
    "workdir",
    [],
    "Folder of a run, or a pattern such as 'runs/sweep/*'; may be repeated, or "
    "left out before the folders.",
    flag_values=values,
  )
  absl_flags.DEFINE_string(
    "out", None, "Folder for a comparison of the runs.", flag_values=values
  )
  return values


def _find(patterns: Iterable[str]) -> list[epath.Path]:
  """Lists folders, and of patterns those that hold a run."""
  found = []
  for pattern in patterns:
    if not glob.has_magic(pattern):
      found.append(runner.connect(flags.folder(pattern)))
      continue
    above, slash, _ = re.split(r"[*?[]", pattern)[0].rpartition("/")
    below = pattern.removeprefix(above + slash)
    top = runner.connect(flags.folder(above + slash or "."))
    matches = sorted(top.glob(f"{below}/config.json"))
    if not matches:
      raise errors.InputError(f"{pattern}: no run has such a folder.")
    found += [path.parent for path in matches]
  return list(dict.fromkeys(found))


def _name(folders: Sequence[epath.Path]) -> dict[str, epath.Path]:
  """Names runs by the fields in which they differ."""
  runs = [configs.from_flat(records.read(x).config) for x in folders]
  named = {}
  for folder, fields in zip(folders, configs.differences(runs)):
    name = ", ".join(f"{x}={configs.show(y)}" for x, y in fields.items())
    if name in named:
      raise errors.InputError(
        f"{named[name]} and {folder} hold the same run; name one of them."
      )
    named[name] = folder
  return named


def _compare(named: dict[str, epath.Path], folder: epath.Path) -> None:
  path = comparison.write(named, folder, f"Comparison of {len(named)} runs")
  runner.log(f"Comparison: {path}")


if __name__ == "__main__":
  main(sys.argv)
