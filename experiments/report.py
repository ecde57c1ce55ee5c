"""Writes the reports of runs again from their records, and compares runs.

  python -m experiments.report runs/quickstart
  python -m experiments.report 'runs/sweep/*' --out=runs/comparison
  python -m experiments.report runs/quickstart --csv=quickstart.csv --pdf

A comparison names each run by the flags in which the runs differ.
"""

import csv
import glob
import re
import sys
from collections.abc import Iterable, Sequence

from absl import flags as absl_flags
from etils import epath

from lth_jax import errors, report, runner
from lth_jax.config import configs, flags
from lth_jax.report import comparison, measurements, records
from lth_jax.runner import command


def main(argv: Sequence[str]) -> None:
  """Writes `<workdir>/report/` of each run, and compares several."""

  def write():
    asked = _flags()
    others = command.parse_words(asked, argv)
    folders = _find([*asked.workdir, *others])
    if not folders:
      raise errors.InputError(
        "name the folder of a run, such as: python -m experiments.report "
        "runs/quickstart"
      )
    if (len(folders) > 1) != bool(asked.out):
      raise errors.InputError(
        "--out is the folder for a comparison of runs: give it with two or "
        f"more runs and only then; here are {len(folders)}."
      )
    if asked.csv and len(folders) > 1:
      raise errors.InputError("--csv is a file for one run; name one folder.")
    named = _name(folders) if asked.out else {}
    for folder in folders:
      runner.log(f"Report: {report.write(folder)}")
    if asked.pdf:
      for folder in folders:
        runner.log(f"Figures: {report.write_pdfs(folder)}")
    if asked.csv:
      _write_csv(folders[0], flags.local(asked.csv))
    if named:
      _compare(named, runner.connect(flags.folder(asked.out)))

  command.call(write)


def _flags() -> absl_flags.FlagValues:
  values = absl_flags.FlagValues()
  own = flags.group(values)
  absl_flags.DEFINE_multi_string(
    "workdir",
    [],
    "Folder of a run, or a pattern such as 'runs/sweep/*'; may be repeated. "
    "Folders may also be given without the flag.",
    **own,
  )
  absl_flags.DEFINE_string(
    "out", None, "Folder for a comparison of the runs.", **own
  )
  absl_flags.DEFINE_bool(
    "pdf",
    False,
    "Writes report/pdf too: each panel of the figures as wide as a column.",
    **own,
  )
  absl_flags.DEFINE_string(
    "csv",
    None,
    "File for all measurements of a run: a line for each replicate, round, "
    "density, arm, draw, step and metric.",
    **own,
  )
  return values


def _find(patterns: Iterable[str]) -> list[epath.Path]:
  """Lists the folders named, and the folders of runs that a pattern matches."""
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
      raise errors.InputError(f"{pattern}: matches no folder of a run.")
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


def _write_csv(folder: epath.Path, path: epath.Path) -> None:
  with open(path, "w", encoding="utf-8", newline="") as file:
    lines = csv.writer(file)
    lines.writerow(measurements.COLUMNS)
    lines.writerows(measurements.rows(folder))
  runner.log(f"Measurements: {path}")


def _compare(named: dict[str, epath.Path], folder: epath.Path) -> None:
  path = comparison.write(named, folder, f"Comparison of {len(named)} runs")
  runner.log(f"Comparison: {path}")


if __name__ == "__main__":
  main(sys.argv)
