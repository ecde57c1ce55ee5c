"""The page of results: figure by figure, the paper beside ours.

It is made from what `experiments.results` has collected.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from experiments._paper import catalog, figures, networks
from lth_jax import errors
from lth_jax.config import configs
from lth_jax.parallel import progress
from lth_jax.report import (
  claim_table,
  claims,
  plan,
  protocols,
  records,
  summary_file,
  tables,
)
from lth_jax.storage import files

# Where runs are collected, beside the page; a folder a scale.
FOLDER = "results"
_WHEN = {True: "before these runs", False: "after"}
_SCALES = {
  "paper": "the paper's scale",
  "cpu": "cpu scale, which never counts as the paper's",
  "smoke": "smoke scale, which only shows that the code runs",
}


class Collected(NamedTuple):
  """A run as it was collected.

  Attributes:
    run: its records.
    about: `seconds` of training, all trials added up, and the `environment`.
  """

  run: records.Run
  about: Mapping[str, Any]


def text(folder: pathlib.Path) -> str:
  """Returns the text of results.md.

  Args:
    folder: of the page, with `results/<scale>` in it.

  Raises:
    InputError: a file of records is damaged.
  """
  collected = {scale: read(folder / FOLDER / scale) for scale in catalog.SCALES}
  judged = {
    figure: {scale: _judge(figure, runs) for scale, runs in collected.items()}
    for figure in figures.FIGURES
  }
  parts = [
    _HEAD,
    _overview(judged),
    *(
      _section(figure, collected, judged[figure], folder)
      for figure in figures.FIGURES
    ),
    _run_table(collected),
  ]
  return "\n\n".join(parts) + "\n"


def read(folder: pathlib.Path) -> dict[str, Collected]:
  """Returns what was collected in a folder, by the names of runs.

  Args:
    folder: of one scale.

  Raises:
    InputError: a file is damaged.
  """
  found = {}
  for path in sorted(folder.glob("*.json")):
    try:
      found[path.stem] = Collected(
        *summary_file.unpack(files.read(epath.Path(path)).decode())
      )
    except (ValueError, OSError) as error:
      raise errors.InputError(f"{path}: {error}") from error
  return found


_HEAD = f"""\
# Results

Written by `python -m experiments.results` from the records in `{FOLDER}/`; do
not edit. What is said of the paper is from Frankle & Carbin (2019). A claim
*holds* if the mean of ours lies in its band and the 95% interval over
replicates excludes the opposite and is no wider than the band, is *consistent*
if the interval is wider, and *does not hold* if the interval excludes the band;
else it is *undecided*, and always so under 3 replicates. It is *not measured*
if a run cannot say: it is too small for a number that is about the paper's
size, or had not trained to its end. The opposite is the value that refutes the
claim: no difference, no effect of pruning, or the end of the band. Claims at
cpu scale are about a smaller question (the differences stand beside each run)
and never count as the paper's.

In the drawings lines are means over replicates and bars run from the smallest
to the largest. Arms and runs are moved sideways by half a percent of an axis
of percentages, so that their bars stand beside each other. An open marker is a
lower bound: in some training the validation loss still fell at the end. The
vertical axis shows everything in figures 1 and 14; elsewhere it is that of
tickets, controls that fall far below leave it, and the table of the run has
their numbers. LeNet's leaves `Dense_0`, `Dense_1` and `Dense_2` are its first
and second hidden layer and its output layer."""


class _Judged(NamedTuple):
  """A claim as it was judged, and whether it was there before the runs."""

  result: claims.Judgment
  is_registered: bool


def _judge(figure: str, collected: Mapping[str, Collected]) -> list[_Judged]:
  """The claims of a figure whose runs are there."""
  found = []
  for claim in claims.CLAIMS:
    if claim.figure == figure and set(claim.runs) <= set(collected):
      runs = [collected[name] for name in claim.runs]
      sample = claims.measure(claim, *(each.run for each in runs))
      begun = [each.about.get("begun") for each in runs]
      found.append(
        _Judged(claims.judge(claim, sample), claims.registered(claim, begun))
      )
  return found


def _overview(judged) -> str:
  registered, after = (
    {
      (figure, scale): [
        each.result for each in found if each.is_registered is wanted
      ]
      for figure, scales in judged.items()
      for scale, found in scales.items()
    }
    for wanted in (True, False)
  )
  return "\n\n".join(
    [
      "## Claims registered before their runs",
      "Each claim has the date of its last change (`experiments.claim_dates`); "
      "it is registered if the runs that it is judged on began after it.",
      _counts(registered, "not run"),
      *_by_chance([each for found in registered.values() for each in found]),
      "## Claims written after these runs",
      "Exploratory: these runs had been seen when the claims were written.",
      _counts(after),
    ]
  )


def _counts(
  found: Mapping[tuple[str, str], list[claims.Judgment]], *missing: str
) -> str:
  """Verdicts by figure and scale, and how many claims are missing there."""
  head = ("Figure", "Scale", *claims.VERDICTS, *missing)
  rows = []
  for figure in figures.FIGURES:
    of_figure = [claim for claim in claims.CLAIMS if claim.figure == figure]
    scales = [scale for scale in catalog.SCALES if found[figure, scale]]
    for scale in scales or ([""] if of_figure and missing else []):
      results = found.get((figure, scale), [])
      counts = [_count_verdict(results, each) for each in claims.VERDICTS]
      counts += [len(of_figure) - len(results)] * len(missing)
      rows.append((f"[{figure}](#figure-{figure})", scale, counts))
  total = [sum(column) for column in zip(*(counts for *_, counts in rows))]
  lines = [
    (name, scale, *(str(count) if count else "" for count in counts))
    for name, scale, counts in [*rows, ("all", "", total)]
  ]
  rule = ("---",) * len(head)
  return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _count_verdict(results: Sequence[claims.Judgment], verdict: str) -> int:
  return sum(result.verdict == verdict for result in results)


def _by_chance(results: Sequence[claims.Judgment]) -> Iterator[str]:
  if not results:
    return
  measured = [each for each in results if each.verdict != "not measured"]
  comparative = sum(claims.is_comparative(each.claim) for each in measured)
  held = sum(
    claims.is_comparative(each.claim)
    and each.verdict in ("holds", "consistent")
    for each in measured
  )
  yield (
    f"Of the {len(measured)} that were measured {comparative} say that there "
    f"is a difference; {held} of these hold or are consistent, and about "
    f"{comparative * claims.BY_CHANCE:.1f} would if there were none "
    f"({100 * claims.BY_CHANCE:.1f}% of each, by "
    "`python -m experiments.null_claims`). Claims on one run share its "
    "networks, and all on LeNet the same dense ones, so that they hold or "
    "fail together more often than that."
  )


def _section(figure, collected, judged, folder: pathlib.Path) -> str:
  title = figures.FIGURES[figure].title
  parts = [f'<a id="figure-{figure}"></a>\n\n## Figure {figure}. {title}']
  if figure == catalog.NETWORKS:
    parts.append("`python -m experiments.paper --figure=2`")
    parts.append(networks.markdown().strip())
    return "\n\n".join(parts)
  for scale in catalog.SCALES:
    names = [name for name in _runs(figure, scale) if name in collected[scale]]
    if names:
      parts += _at_scale(figure, scale, names, judged[scale])
      missing = [name for name in _runs(figure, scale) if name not in names]
      if missing:
        parts.append(f"Not run: {', '.join(missing)}.")
      parts += _images(figure, scale, folder)
  if len(parts) > 1:
    parts += filter(None, [figures.FIGURES[figure].remark])
  else:
    parts.append(f"Not run: `{_command(figure, 'cpu')}`")
  return "\n\n".join(parts)


def _runs(figure: str, scale: str) -> list[str]:
  return [
    run.name for row in catalog.find(figure) for run in catalog.runs(row, scale)
  ]


def _at_scale(figure, scale, names, judged) -> list[str]:
  links = ", ".join(f"[{name}](#{scale}-{name})" for name in names)
  parts = [f"At {_SCALES[scale]}: {links}.", f"`{_command(figure, scale)}`"]
  if figures.FIGURES[figure].quantities is figures.ON_VALIDATION:
    parts.append(
      "Accuracies are those on validation images, as in the paper's appendices."
    )
  if judged:
    text = claim_table.tabulate([each.result for each in judged]).text
    rows = tuple(
      (*row[1:], ", ".join(each.result.claim.runs), _WHEN[each.is_registered])
      for row, each in zip(text.rows, judged)
    )
    table = tables.Table((*text.header[1:], "Runs", "Written"), rows)
    parts.append(tables.markdown(table, "").strip())
  return parts


def _run_table(collected) -> str:
  rows = []
  for scale, runs in collected.items():
    planned = {
      run.name: catalog.num_trainings(catalog.config(run))
      for row in catalog.ROWS
      for run in catalog.runs(row, scale)
      if run.name in runs
    }
    for name, (run, about) in runs.items():
      count = _count(run, planned[name])
      link = f"[{name}]({FOLDER}/{scale}/{name}.md)"
      rows.append(
        (
          f'<a id="{scale}-{name}"></a>{link}',
          scale,
          count,
          progress.duration(about.get("seconds", 0)),
          tables.cell(_machine(about.get("environment", {}))),
          tables.cell(protocol(name, run)),
        )
      )
  head = "| Run | Scale | Trainings | Time | On | Protocol |"
  lines = [f"| {' | '.join(row)} |" for row in rows]
  return "\n".join(
    [
      "## Runs\n",
      "Time is that of all trainings added up; as many run at once as there "
      "are devices.\n",
      head,
      "|" + " --- |" * 6,
      *lines,
    ]
  )


def protocol(name: str, run: records.Run) -> str:
  """Says how a run differs from the same one at the paper's scale.

  Args:
    name: of the run in the catalog.
    run: its records.
  """
  [original] = [
    catalog.config(each)
    for row in catalog.ROWS
    for each in catalog.runs(row, "paper")
    if each.name == name
  ]
  found = protocols.differences(run.config, configs.to_flat(original))
  return found or "as published"


def _count(run: records.Run, planned: int) -> str:
  """Trainings of a run; a series that diverged has fewer than were planned."""
  ended = len(plan.expected(run)) if plan.ended(run) else planned
  found = len(run.results)
  return str(found) if found >= min(ended, planned) else f"{found} of {planned}"


def _machine(environment: Mapping[str, Any]) -> str:
  device = environment.get("device_kind", "?")
  return f"{device}, jax {environment.get('jax', '?')}"


def _images(figure: str, scale: str, folder: pathlib.Path) -> list[str]:
  names = [f"{run}_{name}" for run, name in figures.FIGURES[figure].drawings]
  names += [each.name for each in figures.beside(figure, scale)]
  paths = [f"{FOLDER}/{scale}/{name}.png" for name in names]
  return [
    f"![Figure {figure}]({path})" for path in paths if (folder / path).exists()
  ]


def _command(figure: str, scale: str) -> str:
  return (
    f"python -m experiments.paper --figure={figure} --scale={scale} "
    "--workdir=runs/paper"
  )
