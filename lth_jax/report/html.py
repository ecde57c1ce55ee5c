"""The page of a report: one file that needs no other, on any screen."""

import collections
import html
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from lth_jax.report import claims, plan, records, statistics, tables
from lth_jax.report.figures import canvas, distributions

_STYLE = """
:root { color-scheme: light; --line: #dcdcdc; --soft: #5c5c5c; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 1.2rem 1rem 4rem;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
  color: #1d1d1d; background: #fff; }
header p { margin: 0; color: var(--soft); }
h1 { margin: .2rem 0 .3rem; font-size: clamp(1.2rem, 3vw, 1.55rem);
  line-height: 1.35; max-width: 62rem; }
h2 { margin: 2.6rem 0 .4rem; font-size: 1.2rem; }
p { max-width: 48rem; margin: .4rem 0; }
.note { border-left: 4px solid #E69F00; background: #fdf6e6;
  padding: .5rem .8rem; margin: .5rem 0; max-width: none; }
.small { font-size: .875rem; color: var(--soft); }
figure { margin: .6rem 0 0; }
.panels { display: grid; gap: .8rem 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr));
  align-items: end; }
.panels svg { display: block; width: 100%; height: auto; max-width: 520px; }
.scroll { overflow-x: auto; margin: .6rem 0; border: 1px solid var(--line);
  border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .32rem .5rem; vertical-align: top;
  border-top: 1px solid var(--line); white-space: nowrap; }
th { background: #f5f5f5; font-weight: 600; vertical-align: bottom; }
td.long { white-space: normal; min-width: 13rem; }
th.long { white-space: normal; min-width: 6rem; }
p.small { max-width: none; }
tr.first td { border-top: 2px solid #b5b5b5; }
.mark { font-weight: 600; white-space: nowrap; }
.yes { color: #00603c; } .no { color: #a33f00; } .open { color: #5c5c5c; }
"""
# A verdict is told by a sign and its words, not by its colour alone.
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
  """Everything that a page shows."""

  run: records.Run
  protocol: str
  winning: Sequence[statistics.Winning]
  claims: Sequence[claims.Result]
  drawn: Sequence[canvas.Drawn]


def page(content: Content) -> str:
  """Returns the page; all text that comes from the run is escaped.

  >>> from lth_jax.config import configs
  >>> run = records.Run("a < b", configs.to_flat(configs.Config()), ())
  >>> "a &lt; b" in page(Content(run, "", winning=(), claims=(), drawn=()))
  True
  """
  run, protocol = content.run, content.protocol
  drawn = [
    _figure(each, protocol)
    for each in content.drawn
    if each.name not in distributions.NAMES
  ]
  sections = (
    *_notes(run, protocol),
    *drawn[:1],
    "<h2>Winning tickets</h2>",
    f"<p>{html.escape(_WINNING)}</p>",
    _table(tables.verdicts(content.winning).text, protocol),
    "<h2>Published claims</h2>",
    f"<p>{html.escape(_CLAIMS)}</p>",
    _table(tables.claim_table(content.claims).text, protocol),
    *drawn[1:],
    *_structure(content),
    "<h2>All results</h2>",
    f"<p>{html.escape(_RESULTS)}</p>",
    _table(tables.results(run).text, protocol),
    "<h2>Configuration</h2>",
    _table(_config(run), protocol),
    "<h2>Warnings</h2>",
    _list(_warnings(run)) or "<p>None; no trial diverged.</p>",
  )
  title = html.escape(f"{run.experiment}: lottery tickets")
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    f"<header><p>{title}</p>\n<h1>{html.escape(headline(content))}</h1>\n"
    f"<p>{html.escape(_tally(content))}</p></header>\n"
    + "\n".join(filter(None, sections))
    + "\n</body>\n</html>\n"
  )


def headline(content: Content) -> str:
  """Says the main finding of a run in one sentence.

  >>> import numpy as np
  >>> gain = statistics.interval(np.array([0.2, 0.3]))
  >>> ticket = statistics.Winning(1, 0.8, gain, gain, 0, "undecided")
  >>> headline(Content(records.Run("example", {}, ()), "", [ticket], (), ()))
  'Undecided: 2 replicates cannot tell luck from effect; 3 are the least
  that is judged.'
  """
  measured = [each for each in content.winning if each.accuracy.n > 0]
  wins = _unbroken(measured)
  ended = _ended(content.run)
  if not content.winning:
    waiting = "Only the dense network has been trained so far."
    more = not ended or plan.missing(content.run)
    return f"{ended} {waiting if more else ''}".strip()
  if not measured:
    return (
      "Winning tickets cannot be judged: this run has no early-stop step of a "
      "ticket and of its dense network."
    )
  if wins:
    return _best(content.run, wins, measured)
  most = max(each.accuracy.n for each in measured)
  if most < statistics.MIN_REPLICATES:
    few = _count(most, "replicate")
    return (
      f"Undecided: {few} cannot tell luck from effect; "
      f"{statistics.MIN_REPLICATES} are the least that is judged."
    )
  lost = sum(each.verdict == "does not win" for each in measured)
  return (
    f"No winning ticket is established: of {_count(len(measured), 'density')}, "
    f"{lost} do not win and {len(measured) - lost} are undecided."
  )


_WINNING = (
  "A ticket wins if it is not worse than its own dense network: the one-sided "
  f"95% bound (in brackets, both sides) of its test accuracy is above "
  f"{tables.number(statistics.MARGIN, 1)} point and that of its early-stop "
  "step, no narrower than one evaluation, is at most one later. n counts "
  f"replicates; fewer than {statistics.MIN_REPLICATES} decide nothing. "
  "\N{GREATER-THAN OR EQUAL TO} "
  "marks a step that is a lower bound, because an early stop was not reached."
)
_CLAIMS = (
  "A claim of Frankle & Carbin (2019) holds if our mean lies in the band and "
  "the 95% interval (paired t over replicates) excludes the opposite and is no "
  "wider than the band; it is consistent if the interval is wider, and does "
  "not hold if the interval excludes the band. The bands are ours. Where "
  "something happens at a density, it is taken among the measured densities, "
  "from the sparse end, in each replicate, and its interval is half a step of "
  "that ladder wider on each side, as that of an early stop is by half an "
  "evaluation. The interval of what is the best of K densities is at level "
  "1 \N{MINUS SIGN} 0.05 / K; the best density itself decides nothing unless "
  "replicates agree on it more than by luck."
)
_STRUCTURE = (
  "Figures 15, 16 and 19 to 24 of the paper: initial weights of the tickets' "
  "connections, how far the dense network's weights moved inside and outside "
  "of a ticket, and which fraction of its connections each unit keeps. "
  "Replicates are pooled; histograms have area 1."
)
_RESULTS = (
  "Mean over replicates (smallest to largest). \N{GREATER-THAN OR EQUAL TO} "
  "marks a mean step that is a lower bound: in the trials counted at the right "
  "the validation loss still fell at the last evaluation."
)


def _structure(content: Content) -> tuple[str, ...]:
  """The section on what tickets look like, if it is described."""
  drawn = [each for each in content.drawn if each.name in distributions.NAMES]
  if not drawn:
    return ()
  return (
    "<h2>What tickets look like</h2>",
    f"<p>{html.escape(_STRUCTURE)}</p>",
    *(
      f"<h3>{html.escape(each.title)}</h3>\n"
      f"{_panels(each, _sentence(content.protocol))}"
      for each in drawn
    ),
  )


def _unbroken(
  measured: Sequence[statistics.Winning],
) -> list[statistics.Winning]:
  """The longest run of tickets that win, the densest of several as long."""
  runs = [
    [*group]
    for wins, group in itertools.groupby(
      measured, lambda each: each.verdict == "wins"
    )
    if wins
  ]
  return max(runs, key=len, default=[])


def _best(
  run: records.Run,
  wins: Sequence[statistics.Winning],
  measured: Sequence[statistics.Winning],
) -> str:
  best = wins[-1]
  means = [
    statistics.interval(statistics.values(run, "ticket", quantity)[:, k]).mean
    for quantity in (statistics.EARLY_TEST, statistics.EARLY_STEP)
    for k in (
      statistics.grid(run).rounds.index(best.round),
      statistics.grid(run).rounds.index(0),
    )
  ]
  accuracy, dense_accuracy = (tables.number(mean, 2) for mean in means[:2])
  step, dense_step = (tables.number(mean, 0) for mean in means[2:])
  where = tables.percent(best.density)
  found = f"A winning ticket at {where} of the weights"
  if len(wins) > 1:
    first = tables.percent(wins[0].density)
    found = f"Winning tickets from {first} down to {where} of the weights"
  undecided = [
    tables.percent(each.density)
    for each in measured
    if each.verdict == "undecided"
  ]
  return (
    f"{found} ({len(wins)} of {_count(len(measured), 'density')}): "
    f"test accuracy {accuracy}% against {dense_accuracy}% of the dense "
    f"network, early stop at step {step} against {dense_step}."
    + (f" Undecided at {', '.join(undecided)}." if undecided else "")
  )


def _tally(content: Content) -> str:
  verdicts = [each.verdict for each in content.winning]
  counts = "; ".join(
    f"{verdicts.count(verdict)} {verdict}"
    for verdict in ("wins", "undecided", "does not win", "not measured")
    if verdict in verdicts
  )
  replicates = _count(len(statistics.grid(content.run).replicates), "replicate")
  return f"{replicates}. Tickets by density: {counts or 'none yet'}."


def _notes(run: records.Run, protocol: str) -> list[str]:
  notes = [_sentence(protocol)] if protocol else []
  missing, planned = plan.missing(run), plan.expected(run)
  if missing:
    arms = collections.Counter(key.arm for key in missing)
    each = ", ".join(f"{count} {arm}" for arm, count in sorted(arms.items()))
    notes.append(
      f"Unfinished: {len(planned) - len(missing)} of {len(planned)} trainings "
      f"are on disk; missing: {each}."
    )
  if not any(math.isfinite(trial.early_stop.step) for trial in run.trials):
    why = (
      "This run has no validation split, hence no early-stop step"
      if run.config["num_valid"] == 0
      else "No trial has an early-stop step"
    )
    notes.append(
      f"{why}: its figures, the winning-ticket verdicts and every claim about "
      "early stopping are not measured."
    )
  diverged = sum(trial.diverged for trial in run.trials)
  if diverged:
    notes.append(
      f"{_count(diverged, 'trial')} diverged and left the statistics; see the "
      "end of the page."
    )
  if _ended(run):
    notes.append(_ended(run))
  return [f'<p class="note">{html.escape(note)}</p>' for note in notes]


def _ended(run: records.Run) -> str:
  ends = collections.Counter(plan.ended(run).values())
  each = (f"{ends[index]} in round {index}" for index in sorted(ends))
  if len(ends) == 1:
    [(index, count)] = ends.items()
    return f"{count} series ended by divergence in round {index}."
  return f"Series ended by divergence: {', '.join(each)}." if ends else ""


def _figure(figure: canvas.Drawn, protocol: str) -> str:
  caption = f"{figure.caption} {_sentence(protocol)}".strip()
  return f"<h2>{html.escape(figure.title)}</h2>\n{_panels(figure, caption)}"


def _panels(figure: canvas.Drawn, caption: str) -> str:
  """The panels of a figure beside or above each other, and a caption."""
  label = html.escape(figure.title, quote=True)
  panels = "\n".join(
    svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    for svg in figure.panels
  )
  return (
    f'<figure>\n<div class="panels">{panels}</div>\n<figcaption class="small">'
    f"{html.escape(caption)}</figcaption>\n</figure>"
  )


def _table(table: tables.Table, protocol: str) -> str:
  head = "".join(_cell(cell, "th", 16) for cell in table.header)
  body, before = [], None
  grouped = len({row[0] for row in table.rows}) < len(table.rows)
  for row in table.rows:
    first = ' class="first"' if grouped and row[0] != before else ""
    cells = "".join(_cell(cell, "td", 32) for cell in row)
    body.append(f"<tr{first}>{cells}</tr>\n")
    before = row[0]
  caption = html.escape(_sentence(protocol))
  return (
    (f'<p class="small">{caption}</p>\n' if caption else "")
    + f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
    + f"<tbody>\n{''.join(body)}</tbody></table></div>"
  )


def _cell(text: str, tag: str, wrap_from: int) -> str:
  if text in _MARKS:
    kind, sign = _MARKS[text]
    words = html.escape(f"{sign} {text}")
    return f'<{tag} class="mark {kind}">{words}</{tag}>'
  long = ' class="long"' if len(text) > wrap_from else ""
  return f"<{tag}{long}>{html.escape(text)}</{tag}>"


def _config(run: records.Run) -> tables.Table:
  rows = (
    (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
    for key, value in sorted(run.config.items())
  )
  return tables.Table(("Setting", "Value"), tuple(rows))


def _warnings(run: records.Run) -> list[str]:
  found = []
  for trial in run.trials:
    where = (
      f"Replicate {trial.replicate}, round {trial.round} "
      f"({tables.percent(trial.density)}), {trial.arm} {trial.draw}: "
    )
    if trial.diverged:
      found.append(
        f"{where}diverged; this replicate is left out at this density."
      )
    found.extend(f"{where}{text}" for text in trial.warnings)
  return found


def _list(items: Sequence[str]) -> str:
  lines = "".join(f"<li>{html.escape(item)}</li>\n" for item in items)
  return f"<ul>\n{lines}</ul>" if items else ""


def _count(number: int, name: str) -> str:
  plural = name.removesuffix("y") + "ies" if name.endswith("y") else f"{name}s"
  return f"{number} {name if number == 1 else plural}"


def _sentence(text: str) -> str:
  return f"{text[0].upper()}{text[1:]}." if text else ""
