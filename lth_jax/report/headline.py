"""The main finding of a run in one sentence."""

import collections
import itertools
from collections.abc import Sequence

from lth_jax.report import plan, records, statistics, tables, winning


def headline(run: records.Run, found: Sequence[winning.Winning]) -> str:
  """Returns the main finding of a run in one sentence."""
  measured = [each for each in found if each.accuracy.n > 0]
  if not found:
    ended = divergence(run)
    more = not ended or plan.missing(run)
    waiting = "Only the dense network has been trained so far."
    return f"{ended} {waiting if more else ''}".strip()
  if not measured:
    why = winning.reason(run) or (
      "this run has no early-stop step of a ticket and of its dense network"
    )
    return f"Winning tickets cannot be judged: {why}."
  if wins := max(_streaks(measured, "wins"), key=len, default=[]):
    return _winners(run, wins, measured)
  most = max(each.accuracy.n for each in measured)
  if most < statistics.MIN_REPLICATES:
    return (
      f"Undecided: {count(most, 'replicate')} cannot tell luck from effect; a "
      f"verdict needs at least {statistics.MIN_REPLICATES}."
    )
  lost = sum(each.verdict == "does not win" for each in measured)
  return (
    f"No winning ticket is established: of {count(len(measured), 'density')}, "
    f"{lost} do not win and {len(measured) - lost} are undecided."
  )


def tally(run: records.Run, found: Sequence[winning.Winning]) -> str:
  """Returns the number of replicates and of each verdict."""
  verdicts = collections.Counter(each.verdict for each in found)
  plurals = {"wins": "win", "does not win": "do not win"}
  counts = "; ".join(
    f"{number} {verdict if number == 1 else plurals.get(verdict, verdict)}"
    for verdict in ("wins", "undecided", "does not win", "not measured")
    if (number := verdicts[verdict])
  )
  replicates = count(len(run.grid.replicates), "replicate")
  return f"{replicates}. Tickets by density: {counts or 'none yet'}."


def divergence(run: records.Run) -> str:
  """Returns a sentence on the series that diverged; "" if none did."""
  ends = collections.Counter(plan.ended(run).values())
  if len(ends) == 1:
    [(index, number)] = ends.items()
    return f"{number} series ended by divergence in round {index}."
  each = (f"{ends[index]} in round {index}" for index in sorted(ends))
  return f"Series ended by divergence: {', '.join(each)}." if ends else ""


def spans(found: Sequence[winning.Winning], verdict: str) -> str:
  """Returns the densities of a verdict, neighbours as a range; "" if none."""
  return ", ".join(
    " to ".join(dict.fromkeys(tables.percent(x.density) for x in (g[0], g[-1])))
    for g in _streaks(found, verdict)
  )


def count(number: int, name: str) -> str:
  """Returns a number and a noun, such as "2 densities" for "density"."""
  plural = name.removesuffix("y") + "ies" if name.endswith("y") else f"{name}s"
  return f"{number} {name if number == 1 else plural}"


def _streaks(
  found: Sequence[winning.Winning], verdict: str
) -> list[list[winning.Winning]]:
  """Groups neighbouring densities of a verdict, from dense to sparse."""
  groups = itertools.groupby(found, lambda each: each.verdict == verdict)
  return [[*group] for wanted, group in groups if wanted]


def _winners(
  run: records.Run,
  wins: Sequence[winning.Winning],
  measured: Sequence[winning.Winning],
) -> str:
  best = wins[-1]
  where = tables.percent(best.density)
  found = f"A winning ticket at {where} of the weights"
  if len(wins) > 1:
    first = tables.percent(wins[0].density)
    found = f"Winning tickets from {first} down to {where} of the weights"
  others = spans([each for each in measured if each not in wins], "wins")
  undecided = spans(measured, "undecided")
  return (
    f"{found} ({len(wins)} of {count(len(measured), 'density')}): "
    f"{_numbers(run, best.round)}."
    + (f" Others at {others}." if others else "")
    + (f" Undecided at {undecided}." if undecided else "")
  )


def _numbers(run: records.Run, index: int) -> str:
  """Mean accuracy and early stop of a round's tickets and of dense networks."""

  def means(quantity: statistics.Quantity, digits: int) -> list[str]:
    values = statistics.values(run, "ticket", quantity)
    columns = (values[:, run.grid.rounds.index(x)] for x in (index, 0))
    return [tables.number(statistics.interval(x).mean, digits) for x in columns]

  accuracy = "test accuracy {}% against {}% of the dense network"
  if winning.judged_at_the_end(run):
    return accuracy.format(*means(statistics.END_TEST, 2))
  step, dense_step = means(statistics.EARLY_STEP, 0)
  test = accuracy.format(*means(statistics.EARLY_TEST, 2))
  return f"{test}, early stop at step {step} against {dense_step}"
