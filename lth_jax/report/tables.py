"""The tables of a report, as CSV and as Markdown.

Most come in two forms: `data` has one number a cell, for programs, and `text`
is for people. Accuracies are in percent, their differences in points.
"""

import csv as csv_format
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lth_jax.report import protocols, records, statistics, winning

DASH = "\N{EN DASH}"
_AT_LEAST = "\N{GREATER-THAN OR EQUAL TO} "
_MARKS = {
  "": "",
  ">=": _AT_LEAST,
  "<=": "\N{LESS-THAN OR EQUAL TO} ",
  "?": "? ",
}
# Columns of data, and titles of the columns of text.
_RESULTS = (
  *("round", "density_percent", "arm", "replicates", "trials", "not_reached"),
  *(
    f"{quantity.name}_{statistic}"
    for quantity in statistics.QUANTITIES
    for statistic in ("mean", "min", "max")
  ),
)
_RESULT_TITLES = (
  *("Weights left", "Arm"),
  *(quantity.title for quantity in statistics.QUANTITIES),
  *("n", "Not reached"),
)
_VERDICTS = (
  *("round", "density_percent"),
  *(
    f"{what}_{statistic}"
    for what in ("accuracy_difference_points", "step_difference", "step_ratio")
    for statistic in ("mean", "low95", "high95")
  ),
  *("replicates", "not_reached", "bound", "verdict"),
)
_VERDICT_TITLES = (
  *("Weights left", "Verdict"),
  "Ticket \N{MINUS SIGN} dense test accuracy (points)",
  "Ticket \N{MINUS SIGN} dense early-stop step",
  "Ticket / dense early-stop step",
  "n",
)


class Table(NamedTuple):
  """A header and rows of equal length; every cell is text."""

  header: tuple[str, ...]
  rows: tuple[tuple[str, ...], ...]


class Tables(NamedTuple):
  """One table twice: for programs and for people."""

  data: Table
  text: Table


def results(run: records.Run) -> Tables:
  """Tabulates every quantity at each density and arm.

  A step is marked as a lower bound where an early stop was not reached.
  """
  data, text = [], []
  arms = statistics.arms(run)
  spreads = {arm: _spreads(run, arm, statistics.QUANTITIES) for arm in arms}
  for k, index in enumerate(run.grid.rounds):
    for arm in arms:
      here = _trials(run, arm, index)
      if not here:
        continue
      density, spread = float(run.grid.density[k]), spreads[arm][k]
      late = sum(map(statistics.is_lower_bound, here))
      name, n = "dense" if index == 0 else arm, str(spread[-1].n)
      numbers = [
        plain(value)
        for each in spread
        for value in (each.mean, each.minimum, each.maximum)
      ]
      counts = n, str(len(here)), str(late)
      data.append((str(index), plain(100 * density), name, *counts, *numbers))
      step, *accuracies = spread
      cells = _spread(step, 0, late > 0), *(_spread(x, 2) for x in accuracies)
      left = percent(density)
      text.append((left, name, *cells, n, f"{late} of {len(here)}"))
  return Tables(
    Table(_RESULTS, tuple(data)), Table(_RESULT_TITLES, tuple(text))
  )


def summary(run: records.Run) -> Table:
  """Tabulates early-stop step and test accuracy, one row a density.

  It has test accuracy at the end instead for networks of which the paper
  reports no early stop, and for runs without validation images.
  """
  quantities: tuple[statistics.Quantity, ...] = (statistics.END_TEST,)
  at_the_end = run.config["model"] in protocols.MILESTONES
  if statistics.has_early_stop(run) and not at_the_end:
    quantities = statistics.EARLY_STEP, statistics.EARLY_TEST
  arms = statistics.arms(run)
  spreads = {arm: _spreads(run, arm, quantities) for arm in arms}
  rows = []
  for k, density in enumerate(run.grid.density):
    cells = [percent(density)]
    for arm in arms:
      here = _trials(run, arm, run.grid.rounds[k])
      late = any(map(statistics.is_lower_bound, here))
      for quantity, spread in zip(quantities, spreads[arm][k]):
        is_step = quantity is statistics.EARLY_STEP
        cells.append(_spread(spread, 0 if is_step else 2, late and is_step))
    rows.append(tuple(cells))
  titles = [f"{arm}: {q.title.lower()}" for arm in arms for q in quantities]
  return Table(("Weights left", *titles), tuple(rows))


def verdicts(found: Sequence[winning.Winning]) -> Tables:
  """Tabulates where a ticket wins, one verdict a density."""
  data = tuple(
    (
      str(each.round),
      plain(100 * each.density),
      *map(plain, each.accuracy[:3]),
      *map(plain, each.step[:3]),
      *map(plain, each.ratio[:3]),
      str(each.accuracy.n),
      str(each.not_reached),
      each.bound,
      each.verdict,
    )
    for each in found
  )
  text = tuple(
    (
      percent(each.density),
      each.verdict,
      _bounds(each.accuracy, 2),
      _bounds(each.step, 0, each.bound),
      _bounds(each.ratio, 2, each.bound),
      str(each.accuracy.n),
    )
    for each in found
  )
  return Tables(Table(_VERDICTS, data), Table(_VERDICT_TITLES, text))


def csv(table: Table, protocol: str) -> str:
  """Returns a table as CSV; its last column names the protocol."""
  out = io.StringIO()
  writer = csv_format.writer(out, lineterminator="\n")
  writer.writerow((*table.header, "protocol"))
  for row in table.rows:
    writer.writerow((*row, protocol or "paper"))
  return out.getvalue()


def markdown(table: Table, caption: str) -> str:
  """Returns a table as Markdown, below a caption; all texts are escaped."""
  lines = [table.header, ("---",) * len(table.header), *table.rows]
  return f"{_escape(caption)}\n\n" + "".join(
    "| " + " | ".join(cell(text) for text in line) + " |\n" for line in lines
  )


def cell(text: str) -> str:
  """Returns a text for a cell of a Markdown table, without HTML and links."""
  return _escape(text).replace("|", "\\|")


def percent(density: float) -> str:
  """Formats a density, in (0, 1], in percent: one decimal, two below 1%."""
  value = 100 * density
  return "100%" if density == 1 else f"{value:.{1 if value >= 1 else 2}f}%"


def number(value: float, digits: int) -> str:
  """Formats a number with thousands separators; a dash if it is not finite."""
  if not math.isfinite(value):
    return DASH
  return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def value_range(low: float, high: float, digits: int) -> str:
  """Formats a range of numbers; a dash if it is not finite."""
  if not math.isfinite(low + high):
    return DASH
  return f"{number(low, digits)} to {number(high, digits)}"


def plain(value: float) -> str:
  """Formats a number for programs; "" if it is not finite."""
  return f"{value:.6g}" if math.isfinite(value) else ""


def _trials(run: records.Run, arm: str, index: int) -> list[records.Result]:
  """The results of an arm in a round, of all replicates."""
  cells = run.grid.results[arm]
  return [
    result
    for replicate in run.grid.replicates
    for result in cells.get((replicate, index), [])
  ]


def _spreads(
  run: records.Run, arm: str, quantities: Sequence[statistics.Quantity]
) -> list[list[statistics.Interval]]:
  """The quantities of an arm at each density."""
  columns = np.stack([statistics.values(run, arm, each) for each in quantities])
  return [
    [statistics.interval(values) for values in columns[:, :, k]]
    for k in range(columns.shape[2])
  ]


def _spread(spread: statistics.Interval, digits: int, late=False) -> str:
  """The mean and, in brackets, the extremes."""
  if spread.n == 0:
    return DASH
  low, high = number(spread.minimum, digits), number(spread.maximum, digits)
  return f"{_AT_LEAST * late}{number(spread.mean, digits)} ({low}{DASH}{high})"


def mark(bound: str) -> str:
  """Returns what stands before a mean that is a bound, see `Winning`."""
  return _MARKS[bound]


def _bounds(spread: statistics.Interval, digits: int, bound="") -> str:
  """The mean and, in brackets, the bounds."""
  if spread.n == 0:
    return DASH
  mean = f"{mark(bound)}{number(spread.mean, digits)}"
  if spread.n == 1:
    return mean
  return f"{mean} ({value_range(spread.low, spread.high, digits)})"


def _escape(text: str) -> str:
  """Makes one line of Markdown without HTML and links."""
  text = " ".join(text.split()).replace("\\", "\\\\")
  return text.replace("<", "&lt;").replace("](", "]\\(")
