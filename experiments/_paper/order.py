"""What it changes whether the rounds of a replicate share the batch order.

The paper does not say whether they do; the authors' code shuffles anew. One
order may put the dips of a noisy validation loss at the same steps in every
round.
"""

import collections
from collections.abc import Mapping

import numpy as np

from experiments._paper import catalog
from lth_jax.report import (
  claims,
  headline,
  records,
  statistics,
  tables,
  winning,
)

ROWS = ("lenet_order", "resnet20_order")
_SHOWN = (0.513, 0.211, 0.07)  # densities at which controls are trained


def text(collected: Mapping[str, records.Run]) -> str:
  """Returns a table for each pair of runs that differ in their order only."""
  parts = []
  for row in (row for row in catalog.ROWS if row.name in ROWS):
    runs = {run.label: collected.get(run.name) for run in row.scales["cpu"]}
    made = {label: run for label, run in runs.items() if run}
    if len(made) == len(runs):
      parts.append(tables.markdown(_table(made), row.what))
    else:
      command = f"python -m experiments.paper --row={row.name} --scale=cpu"
      parts.append(f"{row.what}: not run (`{command} --workdir=runs/paper`).\n")
  return "\n".join(parts)


def _table(runs: Mapping[str, records.Run]) -> tables.Table:
  """Tabulates both runs, on the replicates that they share."""
  shared = set.intersection(*(set(x.grid.replicates) for x in runs.values()))
  columns = [_column(statistics.only(run, shared)) for run in runs.values()]
  rows = tuple(
    (name, *(column.get(name, tables.DASH) for column in columns))
    for name in dict.fromkeys(name for column in columns for name in column)
  )
  return tables.Table(("", *(f"order {label}" for label in runs)), rows)


def _column(run: records.Run) -> dict[str, str]:
  found = {"Replicates": ", ".join(map(str, run.grid.replicates))}
  for arm in statistics.arms(run):
    name = f"Early stops of {arm} that another density of the replicate has"
    found[name] = _repeated(run, arm)
  wins = winning.winning(run)
  for verdict in ("wins", "undecided", "does not win"):
    spans = headline.spans(wins, verdict) or tables.DASH
    found[f"Ticket {verdict} at"] = spans
  for each in _at(run, wins):
    where = tables.percent(each.density)
    shown = tables.verdicts([each]).text
    found |= {
      f"{title} at {where}": number
      for title, number in list(zip(shown.header, shown.rows[0]))[2:-1]
    }
  counts = collections.Counter(each.verdict for each in claims.evaluate(run))
  found["Claims on this run"] = ", ".join(
    f"{counts[verdict]} {verdict}" for verdict in claims.VERDICTS
  )
  return found


def _repeated(run: records.Run, arm: str) -> str:
  """Counts trials whose early stop another density of a replicate shares."""
  steps = statistics.values(run, arm, statistics.EARLY_STEP)
  steps = np.where(statistics.lower_bounds(run, arm), np.nan, steps)
  shared = total = 0
  for row in steps:
    counts = collections.Counter(row[np.isfinite(row)].tolist())
    shared += sum(number for number in counts.values() if number > 1)
    total += sum(counts.values())
  return f"{shared} of {total}"


def _at(run: records.Run, wins: tuple[winning.Winning, ...]):
  places = {statistics.column(run, density) for density in _SHOWN}
  rounds = {run.grid.rounds[k] for k in places if k is not None}
  return [each for each in wins if each.round in rounds]
