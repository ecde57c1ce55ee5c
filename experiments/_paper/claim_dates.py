"""Writes the date of each claim's last change, from git, into their table.

  python -m experiments._paper.claim_dates

A claim is registered for a run if it was committed before that run began.
Commit the table, run this, commit it again.
"""

import csv
import io
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Sequence

from absl import flags as absl_flags

from lth_jax import errors, runner
from lth_jax.report import claims
from lth_jax.runner import command

TABLE = pathlib.Path("lth_jax/report/claims/table.csv")
Row = dict[str, str]


def main(argv: Sequence[str]) -> None:
  """Writes the dates."""

  def run():
    command.parse(absl_flags.FlagValues(), argv)
    rows = read()
    dates = since(rows, history())
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"since": date} for row, date in zip(rows, dates))
    TABLE.write_text(out.getvalue(), "utf-8")
    runner.log(f"{sum(map(bool, dates))} of {len(rows)} claims have a date.")

  command.call(run)


def read() -> list[Row]:
  """Returns the rows of the table."""
  return _rows(TABLE.read_text("utf-8"))


def since(
  rows: Iterable[Row], versions: Iterable[tuple[str, list[Row]]]
) -> list[str]:
  """Returns the date of the last change of each row; "" if not committed."""
  contents = [_content(row) for row in rows]
  dates, unchanged = dict.fromkeys(contents, ""), set(contents)
  for date, version in versions:
    unchanged &= {_content(row) for row in version}
    dates |= dict.fromkeys(unchanged, date)
  return [dates[content] for content in contents]


def history() -> list[tuple[str, list[Row]]]:
  """Returns the committed versions of the table, the last first.

  Raises:
    InputError: this is not a clone with its history.
  """
  log = _git("log", "--format=%H %ct", "--", str(TABLE))
  if not log or _git("rev-parse", "--is-shallow-repository") == "true":
    raise errors.InputError(
      f"{TABLE}: its history is not here; run this in a full clone."
    )
  found = []
  for line in log.splitlines():
    commit, seconds = line.split()
    text = _git("show", f"{commit}:{TABLE}")
    found.append((claims.timestamp(int(seconds)), _rows(text)))
  return found


def _git(*arguments: str) -> str:
  try:
    found = subprocess.run(
      ["git", *arguments], capture_output=True, text=True, check=True
    )
  except (subprocess.CalledProcessError, FileNotFoundError) as error:
    raise errors.InputError(f"git {arguments[0]} failed: {error}") from error
  return found.stdout.strip()


def _rows(text: str) -> list[Row]:
  return list(csv.DictReader(text.splitlines()))


def _content(row: Row) -> tuple[str, ...]:
  return tuple(value for name, value in row.items() if name != "since")


if __name__ == "__main__":
  main(sys.argv)
