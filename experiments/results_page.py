"""The page of results: figure by figure, the paper beside ours.

It is made from what `experiments.results` has collected.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments import catalog, figures, networks
from lth_jax import configs, errors, progress
from lth_jax.report import claims, digest, plan, protocols, records, tables

# Where runs are collected, beside the page; a folder a scale.
FOLDER = "results"
_VERDICTS = ("holds", "does not hold", "undecided", "not measured")
_SCALES = {
  "paper": "the paper's scale",
  "cpu": "cpu scale, which never counts as the paper's",
  "smoke": "smoke scale, which only shows that the code runs",
}


class Collected(NamedTuple):
  """A run as it was collected.

  Attributes:
    run: its records.
    about: `seconds` of training, all lanes added up, and the `environment`.
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
      found[path.stem] = Collected(*digest.unpack(path.read_text("utf-8")))
    except (errors.InputError, UnicodeDecodeError) as error:
      raise errors.InputError(f"{path}: {error}") from error
  return found


_HEAD = f"""\
# Results

Written by `python -m experiments.results` from the records in `{FOLDER}/`; do
not edit. What is said of the paper is from Frankle & Carbin (2019). A claim
*holds* if the mean of ours lies in its band and the 95% interval over
replicates excludes the opposite, *does not hold* if the interval excludes the
band, else it is *undecided*, and always so under 3 replicates; bands were
written down before the runs. The opposite is the value that refutes the claim:
no difference, no effect of pruning, or the end of the band. Claims at cpu scale
are about a smaller question (the differences stand beside each run) and never
count as the paper's.

In the drawings lines are means over replicates and bars run from the smallest
to the largest. Arms and runs are moved sideways by half a percent of an axis
of percentages, so that their bars stand beside each other. An open marker is a
lower bound: in some training the validation loss still fell at the end. The
vertical axis shows everything in figures 1 and 14; elsewhere it is that of
tickets, controls that fall far below leave it, and the table of the run has
their numbers. LeNet's leaves `Dense_0`, `Dense_1` and `Dense_2` are its first
and second hidden layer and its output layer."""


def _judge(
  figure: str, collected: Mapping[str, Collected]
) -> list[tuple[str, claims.Result]]:
  """The claims of a figure, and the runs that each was judged on."""
  found = []
  for claim in claims.CLAIMS:
    if claim.figure == figure and set(claim.runs) <= set(collected):
      runs = (collected[name].run for name in claim.runs)
      result = claims.judge(claim, claims.measure(claim, *runs))
      found.append((", ".join(claim.runs), result))
  return found


def _overview(judged) -> str:
  lines = [f"| Figure | Scale | {' | '.join(_VERDICTS)} |", "|" + " --- |" * 6]
  totals = {}
  for figure, scales in judged.items():
    for scale, found in scales.items():
      if found:
        counts = [
          sum(result.verdict == verdict for _, result in found)
          for verdict in _VERDICTS
        ]
        link = f"[{figure}](#figure-{figure})"
        cells = " | ".join(str(count) if count else "" for count in counts)
        lines.append(f"| {link} | {scale} | {cells} |")
        total = totals.setdefault(scale, [0] * len(_VERDICTS))
        totals[scale] = [a + b for a, b in zip(total, counts)]
  for scale, counts in totals.items():
    lines.append(f"| all | {scale} | {' | '.join(map(str, counts))} |")
  lines.append(
    f"\nOf {len(claims.CLAIMS)} claims those are counted whose runs were made, "
    "once a run where several can decide them."
  )
  return "\n".join(lines)


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
    text = tables.claim_table([result for _, result in judged]).text
    rows = tuple(
      (*row[1:], names) for row, (names, _) in zip(text.rows, judged)
    )
    table = tables.Table((*text.header[1:], "Runs"), rows)
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
          _machine(about.get("environment", {})),
          protocol(name, run),
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
  found = len(run.lanes)
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
