"""Claims were committed before the runs that they are registered for."""

import subprocess

import pytest
from helpers import commands

from experiments._paper import catalog, claim_dates, results_page
from lth_jax import errors
from lth_jax.report import claims


def _committed(path, begun):
  """When a record of a run that began then was committed; None if not yet."""
  found = subprocess.run(
    ["git", "log", f"-S{begun}", "--format=%ct", "--", str(path)],
    capture_output=True, text=True, check=True, cwd=commands.ROOT,
  ).stdout.split()  # fmt: skip
  return claims.timestamp(int(found[-1])) if found else None


def test_registered_claims_are_older_than_their_runs_and_these_than_records(
  monkeypatch,
):
  """The dates are those of git, not those that files tell about themselves."""
  monkeypatch.chdir(commands.ROOT)
  try:
    versions = claim_dates.history()
  except errors.InputError as error:
    pytest.skip(f"the history of git is not here: {error}")
  texts = {
    date: {(row["figure"], row["claim"], row["low"], row["high"]) for row in x}
    for date, x in versions
  }
  rows = claim_dates.read()
  num_registered = 0
  for scale in catalog.SCALES:
    folder = commands.ROOT / "docs/results" / scale
    begun = {
      name: each.about["begun"]
      for name, each in results_page.read(folder).items()
      if "begun" in each.about
    }
    for name, time in begun.items():
      committed = _committed(folder / f"{name}.json", time)
      assert committed is None or time < committed, name
    for row, claim in zip(rows, claims.CLAIMS, strict=True):
      if set(claim.runs) <= set(begun):
        times = [begun[name] for name in claim.runs]
        frozen = max(date for date in texts if date < min(times))
        known = row["figure"], row["claim"], row["low"], row["high"]
        if claims.registered(claim, times):
          assert known in texts[frozen], claim.text
          num_registered += 1
  assert num_registered > 0
