"""The paper's question in one table: where tickets win, by network.

It opens the page of results and the results in README.md.
"""

from collections.abc import Mapping
from typing import NamedTuple

from experiments._paper import catalog, figures
from lth_jax.report import headline, records, statistics, tables, winning

# The figures in which the paper asks where tickets win, and their networks
# where the names of runs do not tell.
_FIGURES = {
  "4a": "",
  "4c": "",
  "5": "",
  "6": "",
  "7": "VGG-19",
  "8": "ResNet-20",
}
_SCALES = ("paper", "cpu")
_RULE = """\
A ticket *wins* if the one-sided 95% bound of its test accuracy lies above that
of the dense network minus 0.1 point, and the bound of its early stop at most
one evaluation later; it does not win if a bound shows the opposite. Of VGG-19
and ResNet-20, whose early stop the paper does not report, accuracy at the end
decides alone. Each network is at the largest scale at which it was run.
"""
_LEGEND = """\
With each verdict: test accuracy minus the dense network's, in points; early
stop over the dense network's. This factor is a lower bound after ≥, where a
ticket's stop was not reached; an upper bound after ≤, where a dense network's
was not; and unknown after ?, where both were not.
"""


class _Judged(NamedTuple):
  """The tickets of a run, at the scale at which it was made."""

  name: str
  scale: str
  run: records.Run
  found: tuple[winning.Winning, ...]

  @property
  def title(self) -> str:
    n = len(self.run.grid.replicates)
    return f"{self.name} ({self.scale} scale, n = {n})"


Runs = Mapping[str, Mapping[str, records.Run]]  # by scale and name


def text(collected: Runs) -> str:
  """Returns the rule, the finding of each network, and the table."""
  judged, missing = [], []
  for name, run in _asked().items():
    made = [scale for scale in _SCALES if run in collected.get(scale, {})]
    if made:
      found = collected[made[0]][run]
      judged.append(_Judged(name, made[0], found, winning.winning(found)))
    else:
      missing.append(name)
  shown = [each for each in judged if not winning.reason(each.run)]
  lines = [
    f"* {each.title}: {headline.headline(each.run, each.found)}\n"
    for each in shown
  ]
  untrained = "; ".join(each.title for each in judged if each not in shown)
  parts = [_RULE]
  if shown:
    parts += ["".join(lines), _by_density(shown), _LEGEND]
  if untrained:
    parts.append(f"Not measured, as they had not trained: {untrained}.\n")
  if missing:
    parts.append(f"Not run: {'; '.join(missing)}.\n")
  return "\n".join(parts)


def _asked() -> dict[str, str]:
  """{name for a reader: name of the run} of the runs that answer."""
  found: dict[str, str] = {}
  for number, network in _FIGURES.items():
    for row in catalog.find(number):
      if row.name not in found.values():
        name = figures.FIGURES[number].names[row.name]
        name = "LeNet, one-shot" if name == "one-shot" else name
        found[", ".join(filter(None, (network, name)))] = row.name
  return found


def _by_density(shown: list[_Judged]) -> str:
  """Tabulates verdicts; densities are those of the longest ladder."""
  longest = max(shown, key=lambda each: len(each.found))
  rows = tuple(
    (
      tables.percent(ours.density),
      *(_cell(each, ours.density) for each in shown),
    )
    for ours in longest.found
  )
  header = "Weights left", *(each.title for each in shown)
  return tables.markdown(tables.Table(header, rows), "").lstrip()


def _cell(each: _Judged, density: float) -> str:
  near = statistics.column(each.run, density)
  known = {x.round: x for x in each.found}
  found = None if near is None else known.get(each.run.grid.rounds[near])
  if found is None:
    return tables.DASH
  points = tables.number(found.accuracy.mean, 2)
  verdict = "**wins**" if found.verdict == "wins" else found.verdict
  cell = f"{verdict}: {'+' * (found.accuracy.mean >= 0)}{points}"
  if found.ratio.n == 0:
    return cell
  factor = tables.mark(found.bound) + tables.number(found.ratio.mean, 2)
  return f"{cell}, {factor}\N{MULTIPLICATION SIGN}"
