"""The tables of a report, and their CSV and Markdown.

Most come in two forms: `data`, one number a cell, for programs, and `text`,
for people. Accuracies are in percent, their differences in points.
"""

import csv as csv_format
import io
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lth_jax.report import claims, protocols, records, statistics

DASH = "\N{EN DASH}"
# What a number of a unit can be.
_NO_LIMITS = -math.inf, math.inf
_LIMITS = {"% of weights": (0.0, 100.0), "weights": (0.0, math.inf)}
_LIMITS |= {"correlation": (-1.0, 1.0)}


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

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> table = results(records.Run("example", {}, (dense,))).data
  >>> table.header[1:4], table.rows[0][1:4]
  (('density_percent', 'arm', 'replicates'), ('100', 'dense', '1'))
  """
  data, text = [], []
  for k, index in enumerate(statistics.grid(run).rounds):
    density = statistics.grid(run).density[k]
    for arm in statistics.arms(run):
      trials = sum(
        (each.arm, each.round) == (arm, index) for each in run.trials
      )
      if trials == 0:
        continue
      name = "dense" if index == 0 else arm
      late = trials_not_reached(run, arm, index)
      spreads = [
        statistics.interval(statistics.values(run, arm, quantity)[:, k])
        for quantity in statistics.QUANTITIES
      ]
      n = str(spreads[-1].n)
      data.append(
        (
          str(index),
          _plain(100 * density),
          name,
          n,
          str(trials),
          str(late),
          *(
            _plain(value)
            for spread in spreads
            for value in (spread.mean, spread.minimum, spread.maximum)
          ),
        )
      )
      text.append(
        (
          percent(density),
          name,
          _spread(spreads[0], 0, late > 0),
          *(_spread(spread, 2) for spread in spreads[1:]),
          n,
          f"{late} of {trials}",
        )
      )
  names = [
    f"{quantity.name}_{statistic}"
    for quantity in statistics.QUANTITIES
    for statistic in ("mean", "min", "max")
  ]
  ahead = ("round", "density_percent", "arm", "replicates", "trials")
  titles = tuple(quantity.title for quantity in statistics.QUANTITIES)
  return Tables(
    Table((*ahead, "not_reached", *names), tuple(data)),
    Table(
      ("Weights left", "Arm", *titles, "n", "Not reached"),
      tuple(text),
    ),
  )


def summary(run: records.Run) -> Table:
  """Tabulates early-stop step and test accuracy, one row a density.

  Test accuracy at the end instead, of networks of which the paper reports no
  early stop and of runs without validation images.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> run = records.Run("example", {"model": "lenet"}, (dense,))
  >>> summary(run).header
  ('Weights left', 'ticket: early-stop step',
   'ticket: test accuracy at early stop (%)')
  """
  arms = statistics.arms(run)
  stops = any(math.isfinite(trial.early_stop.step) for trial in run.trials)
  quantities = (
    (statistics.EARLY_STEP, statistics.EARLY_TEST)
    if stops and protocols.has_early_stop(run.config["model"])
    else (statistics.END_TEST,)
  )
  columns = [(arm, quantity) for arm in arms for quantity in quantities]
  rows = []
  left = _percents(statistics.grid(run).density)
  for k, index in enumerate(statistics.grid(run).rounds):
    cells = [left[k]]
    for arm, quantity in columns:
      spread = statistics.interval(statistics.values(run, arm, quantity)[:, k])
      is_step = quantity is statistics.EARLY_STEP
      late = is_step and trials_not_reached(run, arm, index) > 0
      cells.append(_spread(spread, 0 if is_step else 2, late))
    rows.append(tuple(cells))
  titles = (f"{arm}: {q.title.lower()}" for arm, q in columns)
  return Table(("Weights left", *titles), tuple(rows))


def verdicts(found: Sequence[statistics.Winning]) -> Tables:
  """Tabulates where a ticket wins.

  >>> gain = statistics.Interval(0.3, 0.1, 0.5, 0.2, 0.4, 3)
  >>> ticket = statistics.Winning(1, 0.8, gain, gain, 0, "wins")
  >>> verdicts([ticket]).text.rows[0][:3]
  ('80.0%', 'wins', '0.30 (0.10 to 0.50)')
  """
  data = tuple(
    (
      str(each.round),
      _plain(100 * each.density),
      *map(_plain, each.accuracy[:3]),
      *map(_plain, each.step[:3]),
      str(each.accuracy.n),
      str(each.not_reached),
      each.verdict,
    )
    for each in found
  )
  text = tuple(
    (
      percent(each.density),
      each.verdict,
      _bounds(each.accuracy, 2),
      _bounds(each.step, 0, each.not_reached > 0),
      str(each.accuracy.n),
    )
    for each in found
  )
  bounds = [
    f"{what}_{statistic}"
    for what in ("accuracy_difference_points", "step_difference")
    for statistic in ("mean", "low95", "high95")
  ]
  return Tables(
    Table(
      (
        "round",
        "density_percent",
        *bounds,
        "replicates",
        "not_reached",
        "verdict",
      ),
      data,
    ),
    Table(
      (
        "Weights left",
        "Verdict",
        "Ticket \N{MINUS SIGN} dense test accuracy (points)",
        "Ticket \N{MINUS SIGN} dense early-stop step",
        "n",
      ),
      text,
    ),
  )


def claim_table(found: Sequence[claims.Result]) -> Tables:
  """Tabulates the published claims and what the run says.

  >>> claim = next(each for each in claims.CLAIMS if each.published == "38%")
  >>> ours = statistics.Interval(35.0, 23.6, 46.4, 30.0, 39.0, 3)
  >>> result = claims.Result(claim, ours, "holds", "", "")
  >>> claim_table([result]).text.rows[0][2:8]
  ('holds', '38%', '21 to 51%', '0%', '35.0%', '23.6 to 46.4')
  """
  ahead = ("figure", "claim", "published", "band_low", "band_high", "opposites")
  ours = ("unit", "mean", "low95", "high95", "min", "max", "replicates")
  titles = ("Figure", "Claim", "Verdict", "Published", "Band", "Opposite")
  spread = ("Ours", "95% interval", f"Min{DASH}max", "n")
  return Tables(
    Table(
      (*ahead, *ours, "verdict", "bound", "note"),
      tuple(map(_claim_data, found)),
    ),
    Table((*titles, *spread, "Note"), tuple(map(_claim_text, found))),
  )


def trials_not_reached(run: records.Run, arm: str, index: int) -> int:
  """Counts the trials of a round whose early stop is a lower bound.

  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> late = dense._replace(replicate=1, early_stop=end._replace(reached=False))
  >>> trials_not_reached(records.Run("example", {}, (dense, late)), "ticket", 0)
  1
  """
  return sum(
    (trial.arm, trial.round) == (arm, index)
    and not trial.diverged
    and not trial.early_stop.reached
    and math.isfinite(trial.early_stop.step)
    for trial in run.trials
  )


def csv(table: Table, protocol: str) -> str:
  """Writes CSV whose last column says under which protocol it was measured.

  A text that a spreadsheet would take for a formula has a quote before it.

  >>> table = Table(("arm", "n"), (("ticket", "3"),))
  >>> print(csv(table, protocol=""), end="")
  arm,n,protocol
  ticket,3,paper
  """
  out = io.StringIO()
  writer = csv_format.writer(out, lineterminator="\n")
  writer.writerow((*table.header, "protocol"))
  for row in table.rows:
    writer.writerow(map(_no_formula, (*row, protocol or "paper")))
  return out.getvalue()


def markdown(table: Table, caption: str) -> str:
  r"""Writes a Markdown table below a caption.

  >>> table = Table(("Arm", "n"), (("a|b", "3"),))
  >>> print(markdown(table, caption="Replicates"), end="")
  Replicates
  <BLANKLINE>
  | Arm | n |
  | --- | --- |
  | a\|b | 3 |
  """
  lines = [table.header, ("---",) * len(table.header), *table.rows]
  return f"{_inert(caption)}\n\n" + "".join(
    "| " + " | ".join(cell(text) for text in line) + " |\n" for line in lines
  )


def percent(density: float) -> str:
  """Formats a density: one decimal, two below 1%.

  >>> percent(1.0), percent(0.512), percent(0.0092)
  ('100%', '51.2%', '0.92%')
  """
  value = 100 * density
  return "100%" if density == 1 else f"{value:.{1 if value >= 1 else 2}f}%"


def cell(text: str) -> str:
  r"""Returns a text as it stands in a cell of a Markdown table.

  Args:
    text: from anywhere; it is shown, never obeyed.

  >>> cell("a|b <script>")
  'a\\|b &lt;script>'
  """
  return _inert(text).replace("|", "\\|")


def number(value: float, digits: int) -> str:
  """Formats a number with thousands separators; a dash if not finite.

  >>> number(12345.678, 2), number(float("nan"), 2) == DASH
  ('12,345.68', True)
  """
  if not math.isfinite(value):
    return DASH
  return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _percents(densities: Iterable[float]) -> list[str]:
  """Formats densities, with more digits where they would look the same."""
  densities = list(densities)
  texts = [percent(density) for density in densities]
  if len(set(texts)) == len(texts):
    return texts
  return [
    text if density == 1 else f"{100 * density:.2f}%"
    for text, density in zip(texts, densities)
  ]


def _claim_data(result: claims.Result) -> tuple[str, ...]:
  claim, ours, verdict, bound, note = result
  ours = statistics.within(ours, *_limits(claim))
  return (
    claim.figure,
    claim.text,
    claim.published,
    *map(_plain, claim.band),
    ";".join(map(_plain, claim.opposites)),
    claim.unit,
    *map(_plain, ours[:5]),
    str(ours.n),
    verdict,
    bound,
    note,
  )


def _claim_text(result: claims.Result) -> tuple[str, ...]:
  claim, ours, verdict, bound, note = result
  ours = statistics.within(ours, *_limits(claim))
  digits = {"%": 1, "% of weights": 1, "weights": 0}.get(claim.unit, 2)
  mean = _unit(number(ours.mean, digits), claim.unit)
  return (
    claim.figure,
    claim.text,
    verdict,
    claim.published,
    _band(claim.band, claim.unit),
    " or ".join(_opposite(each, claim.unit) for each in claim.opposites),
    f"{bound} {mean}".strip() if ours.n else DASH,
    _range(ours.low, ours.high, digits),
    _range(ours.minimum, ours.maximum, digits),
    str(ours.n),
    note,
  )


def _limits(claim: claims.Claim) -> tuple[float, float]:
  """What the number of a claim can be: accuracies are shares, gains are not."""
  if claim.unit == "%" and not claim.against and claim.band[1] <= 100:
    return 0.0, 100.0
  return _LIMITS.get(claim.unit, _NO_LIMITS)


def _range(low: float, high: float, digits: int) -> str:
  if not math.isfinite(low + high):
    return DASH
  return f"{number(low, digits)} to {number(high, digits)}"


def _spread(spread: statistics.Interval, digits: int, late=False) -> str:
  if spread.n == 0:
    return DASH
  at_least = "\N{GREATER-THAN OR EQUAL TO} " if late else ""
  low, high = number(spread.minimum, digits), number(spread.maximum, digits)
  return f"{at_least}{number(spread.mean, digits)} ({low}{DASH}{high})"


def _bounds(spread: statistics.Interval, digits: int, late=False) -> str:
  if spread.n == 0:
    return DASH
  at_least = "\N{GREATER-THAN OR EQUAL TO} " if late else ""
  mean = f"{at_least}{number(spread.mean, digits)}"
  if spread.n == 1:
    return mean
  return f"{mean} ({_range(spread.low, spread.high, digits)})"


def _band(band: tuple[float, float], unit: str) -> str:
  low, high = band
  if math.isinf(high):
    return _unit(f"> {low:g}", unit)
  if math.isinf(low):
    return _unit(f"< {high:g}", unit)
  return _unit(f"{low:,g} to {high:,g}".replace("-", "\N{MINUS SIGN}"), unit)


def _opposite(value: float, unit: str) -> str:
  return _unit(f"{value:,g}".replace("-", "\N{MINUS SIGN}"), unit)


def _unit(text: str, unit: str) -> str:
  if unit == "times":
    return f"{text}\N{MULTIPLICATION SIGN}"
  if unit in ("correlation", "ratio"):
    return text
  return f"{text}%" if unit.startswith("%") else f"{text} {unit}"


def _plain(value: float) -> str:
  return f"{value:.6g}" if math.isfinite(value) else ""


def _no_formula(text: str) -> str:
  try:
    float(text)
  except ValueError:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
  return text


def _inert(text: str) -> str:
  """One line of Markdown that is no HTML and no link."""
  text = " ".join(text.split()).replace("\\", "\\\\")
  return text.replace("<", "&lt;").replace("](", "]\\(")
