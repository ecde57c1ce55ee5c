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
    return (
      "Winning tickets cannot be judged: this run has no early-stop step of a "
      "ticket and of its dense network."
    )
  if wins := _longest_streak(measured):
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


def count(number: int, name: str) -> str:
  """Returns a number and a noun, such as "2 densities" for "density"."""
  plural = name.removesuffix("y") + "ies" if name.endswith("y") else f"{name}s"
  return f"{number} {name if number == 1 else plural}"


def _longest_streak(
  measured: Sequence[winning.Winning],
) -> list[winning.Winning]:
  """The most neighbouring tickets that win; of several streaks the densest."""
  streaks = [
    [*group]
    for wins, group in itertools.groupby(
      measured, lambda each: each.verdict == "wins"
    )
    if wins
  ]
  return max(streaks, key=len, default=[])


def _winners(
  run: records.Run,
  wins: Sequence[winning.Winning],
  measured: Sequence[winning.Winning],
) -> str:
  def mean(quantity: statistics.Quantity, index: int, digits: int) -> str:
    values = statistics.values(run, "ticket", quantity)
    column = values[:, run.grid.rounds.index(index)]
    return tables.number(statistics.interval(column).mean, digits)

  best = wins[-1]
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
  test, dense_test = (
    mean(statistics.EARLY_TEST, index, 2) for index in (best.round, 0)
  )
  step, dense_step = (
    mean(statistics.EARLY_STEP, index, 0) for index in (best.round, 0)
  )
  return (
    f"{found} ({len(wins)} of {count(len(measured), 'density')}): test "
    f"accuracy {test}% against {dense_test}% of the dense network, early stop "
    f"at step {step} against {dense_step}."
    + (f" Undecided at {', '.join(undecided)}." if undecided else "")
  )
