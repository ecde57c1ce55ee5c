"""The page of a report: one HTML file that needs no other, on any screen.

`page.html.j2` is its template; all text that comes from a run is escaped.
"""

import collections
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lth_jax.report import (
  headline,
  plan,
  provenance,
  records,
  statistics,
  tables,
  winning,
)
from lth_jax.report.figures import canvas, distributions

# Class and sign of a verdict; colour alone would not do for all readers.
_MARKS = {
  "wins": ("yes", "\N{CHECK MARK}"),
  "holds": ("yes", "\N{CHECK MARK}"),
  "consistent": ("yes", "~"),
  "does not win": ("no", "\N{MULTIPLICATION X}"),
  "does not hold": ("no", "\N{MULTIPLICATION X}"),
  "undecided": ("open", "?"),
  "not measured": ("open", tables.DASH),
}


class Content(NamedTuple):
  """Everything that a page shows.

  Attributes:
    run: the run.
    protocol: how it differs from the paper's protocol, "" if it does not.
    winning: verdict of each pruned density.
    tables: for people: "table", "claims" and "verdicts".
    drawn: the figures, the main one first.
    made: how the run was made.
  """

  run: records.Run
  protocol: str
  winning: Sequence[winning.Winning]
  tables: Mapping[str, tables.Table]
  drawn: Sequence[canvas.Drawn]
  made: provenance.Provenance


def render(content: Content) -> str:
  """Returns the HTML of a page."""
  import jinja2  # here, since commands' --help does without

  run, found = content.run, content.winning
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
  )
  figures = [x for x in content.drawn if x.name not in distributions.NAMES]
  return environment.get_template("page.html.j2").render(
    run=run,
    protocol=_sentence(content.protocol),
    headline=headline.headline(run, found),
    tally=headline.tally(run, found),
    notes=_notes(run),
    tables=content.tables,
    figures=figures,
    distributions=[x for x in content.drawn if x not in figures],
    made=content.made,
    settings=_settings(run.config),
    warnings=_warnings(run),
    marks=_MARKS,
    margin=tables.number(winning.MARGIN, 1),
    min_replicates=statistics.MIN_REPLICATES,
  )


def _notes(run: records.Run) -> list[str]:
  """Notes for the top of the page, on trials that are missing or left out."""
  notes = []
  if missing := plan.missing(run):
    arms = collections.Counter(each.arm for each in missing)
    each = ", ".join(f"{number} {arm}" for arm, number in sorted(arms.items()))
    planned = len(plan.expected(run))
    notes.append(
      f"Unfinished: {planned - len(missing)} of {planned} trainings are on "
      f"disk; missing: {each}."
    )
  if not statistics.has_early_stop(run):
    why = (
      "This run has no validation split, hence no early-stop step"
      if run.config["num_valid"] == 0
      else "No trial has an early-stop step"
    )
    notes.append(
      f"{why}: its figures, the winning-ticket verdicts and every claim about "
      "early stopping are not measured."
    )
  if diverged := sum(each.diverged for each in run.results):
    notes.append(
      f"{headline.count(diverged, 'trial')} diverged and left the statistics; "
      "see the end of the page."
    )
  return [*notes, *filter(None, [headline.divergence(run)])]


def _settings(config: Mapping[str, Any]) -> tables.Table:
  rows = (
    (name, ", ".join(map(str, x)) if isinstance(x, list) else str(x))
    for name, x in sorted(config.items())
  )
  return tables.Table(("Setting", "Value"), tuple(rows))


def _warnings(run: records.Run) -> list[str]:
  found = []
  for each in run.results:
    where = (
      f"Replicate {each.replicate}, round {each.round} "
      f"({tables.percent(each.density)}), {each.arm} {each.draw}: "
    )
    if each.diverged:
      found.append(
        f"{where}diverged; this replicate is left out at this density."
      )
    found.extend(f"{where}{text}" for text in each.warnings)
  return found


def _sentence(text: str) -> str:
  return f"{text[0].upper()}{text[1:]}." if text else ""
