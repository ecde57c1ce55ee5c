"""The page of results: figure by figure, what the paper says and what we found.

It is made by `results.md.j2` from what `experiments.results` has collected; its
main part, made by `readme.md.j2`, is in README.md.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jinja2

from experiments._paper import catalog, figures, networks, order, wins
from lth_jax import errors, runner
from lth_jax.config import configs
from lth_jax.report import (
  claim_table,
  claims,
  plan,
  protocols,
  records,
  summary_file,
  tables,
)

# Where runs are collected, in the folder of the page; a folder a scale.
FOLDER = "results"
_SCALES = {
  "paper": "the paper's scale",
  "cpu": "cpu scale, which never counts as the paper's",
  "smoke": "smoke scale, which only shows that the code runs",
}
# The part of README.md that is made, and the figure that it shows in full.
_BEGIN = "<!-- Made by python -m experiments.results; do not edit. -->"
_END = "<!-- End of what is made. -->"
_FIRST = "4a"
_BRIEF = ("Claim", "Published", "Ours", "95% interval", "Verdict")
_ENVIRONMENT = jinja2.Environment(
  loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
  autoescape=False,  # of Markdown; tables.cell makes foreign text harmless
  trim_blocks=True,
  lstrip_blocks=True,
  undefined=jinja2.StrictUndefined,
)


class Collected(NamedTuple):
  """A run as it was collected, and facts about it (`report.provenance`)."""

  run: records.Run
  about: Mapping[str, Any]


class _Judged(NamedTuple):
  """A claim as it was judged, and whether it is older than the runs."""

  result: claims.Judgment
  is_registered: bool


class _Findings(NamedTuple):
  """All runs that were collected, and claims by figure and scale."""

  collected: dict[str, dict[str, Collected]]
  judged: dict[tuple[str, str], list[_Judged]]


def text(folder: pathlib.Path) -> str:
  """Returns the text of results.md, of a folder with `results/<scale>`.

  Raises:
    InputError: a file of records is damaged.
  """
  collected, judged = found = _gather(folder)
  sections = [
    (number, figure, _at_scales(number, collected, judged, folder))
    for number, figure in figures.FIGURES.items()
  ]
  page = _ENVIRONMENT.get_template("results.md.j2").render(
    folder=FOLDER,
    wins=_wins(found),
    verdicts=list(claims.VERDICTS),
    registered=_count(judged, True),
    after=_count(judged, False),
    chance=_by_chance(judged),
    sections=sections,
    order=order.text({n: x.run for n, x in collected["cpu"].items()}),
    networks={"number": catalog.NETWORKS, "text": networks.markdown()},
    runs=_run_rows(collected),
  )
  return page.rstrip("\n") + "\n"


def with_results(readme: str, folder: pathlib.Path) -> str:
  """Returns a README with its part on results, between two comments, renewed.

  Raises:
    InputError: a comment is missing, or a file of records is damaged.
  """
  before, begin, rest = readme.partition(_BEGIN)
  _, end, after = rest.partition(_END)
  if not end:
    raise errors.InputError(f"README.md lacks {_BEGIN} or {_END}; add them.")
  found = _gather(folder)
  judged = found.judged
  scale = next((x for x in catalog.SCALES if judged[_FIRST, x]), "")
  part = _ENVIRONMENT.get_template("readme.md.j2").render(
    folder=folder.name,
    wins=_wins(found),
    registered=_totals(judged, True),
    after=_totals(judged, False),
    chance=_by_chance(judged),
    figure={"number": _FIRST, "title": figures.FIGURES[_FIRST].title},
    scale=_SCALES.get(scale, ""),
    claims=_claim_table(judged[_FIRST, scale], _BRIEF) if scale else "",
  )
  return f"{before}{begin}\n{part.strip()}\n{end}{after}"


def _gather(folder: pathlib.Path) -> _Findings:
  collected = {scale: read(folder / FOLDER / scale) for scale in catalog.SCALES}
  judged = {
    (number, scale): _judge(number, runs)
    for number in figures.FIGURES
    for scale, runs in collected.items()
  }
  return _Findings(collected, judged)


def _wins(found: _Findings) -> str:
  return wins.text(
    {
      scale: {name: each.run for name, each in runs.items()}
      for scale, runs in found.collected.items()
    }
  )


def _totals(judged, is_registered: bool) -> str:
  """Counts verdicts altogether, such as "24 hold, 2 do not hold"."""
  names = [*claims.VERDICTS, *["not run"] * is_registered]
  plurals = {"holds": "hold", "does not hold": "do not hold"}
  *_, (_, _, *counts) = _count(judged, is_registered)
  return ", ".join(
    f"{count} {name if count == '1' else plurals.get(name, name)}"
    for name, count in zip(names, counts, strict=True)
    if count
  )


def read(folder: pathlib.Path) -> dict[str, Collected]:
  """Returns what was collected in the folder of a scale, by names of runs.

  Raises:
    InputError: a file is damaged.
  """
  found = {}
  for path in sorted(folder.glob("*.json")):
    try:
      unpacked = summary_file.unpack(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
      raise errors.InputError(f"{path}: {error}") from error
    found[path.stem] = Collected(*unpacked)
  return found


def protocol(name: str, run: records.Run) -> str:
  """Describes how a run differs from the same run at the paper's scale."""
  original = configs.to_flat(catalog.config(catalog.named("paper")[name]))
  return protocols.differences(run.config, original) or "as published"


def _judge(figure: str, collected: Mapping[str, Collected]) -> list[_Judged]:
  """Returns the claims of a figure whose runs are there."""
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


def _count(
  judged: Mapping[tuple[str, str], Sequence[_Judged]], is_registered: bool
) -> list[list[str]]:
  """Counts verdicts by figure and scale, and in the last row altogether.

  Of registered claims a last column has the number that are not run, at this
  scale and in the last row at any, and figures without runs have a row.
  """
  rows: list[tuple[str, str, list[int]]] = []
  for figure in figures.FIGURES:
    num_claims = sum(claim.figure == figure for claim in claims.CLAIMS)
    verdicts = {
      scale: [
        each.result.verdict
        for each in judged[figure, scale]
        if each.is_registered == is_registered
      ]
      for scale in catalog.SCALES
    }
    shown = [scale for scale in catalog.SCALES if verdicts[scale]]
    for scale in shown or ([""] if is_registered and num_claims else []):
      found = verdicts.get(scale, [])
      counts = [found.count(verdict) for verdict in claims.VERDICTS]
      missing = [num_claims - len(found)] * is_registered
      rows.append((f"[{figure}](#figure-{figure})", scale, counts + missing))
  width = len(claims.VERDICTS) + is_registered
  total = [sum(counts[k] for *_, counts in rows) for k in range(width)]
  if is_registered:
    run = {result.claim for result in _registered(judged)}
    total[-1] = len({*claims.CLAIMS} - run)
  return [
    [name, scale, *(str(count or "") for count in counts)]
    for name, scale, counts in [*rows, ("all", "", total)]
  ]


def _registered(
  judged: Mapping[tuple[str, str], Sequence[_Judged]],
) -> list[claims.Judgment]:
  """Lists the verdicts on claims that are older than their runs."""
  every = [each for found in judged.values() for each in found]
  return [each.result for each in every if each.is_registered]


def _by_chance(
  judged: Mapping[tuple[str, str], Sequence[_Judged]],
) -> str:
  """Tells how many registered claims hold, and how many would by chance."""
  results = _registered(judged)
  measured = [each for each in results if each.verdict != "not measured"]
  comparative = [x for x in measured if claims.is_comparative(x.claim)]
  held = [x for x in comparative if x.verdict in ("holds", "consistent")]
  if not measured:
    return ""
  return (
    f"Of the {len(measured)} registered claims that were measured, "
    f"{len(comparative)} say that there is a difference. Of these, {len(held)} "
    f"hold or are consistent; about {len(comparative) * claims.BY_CHANCE:.1f} "
    f"would if there were no difference ({claims.BY_CHANCE:.1%} of them, by "
    "`python -m experiments._paper.null_claims`)."
  )


def _at_scales(
  number: str, collected, judged, folder: pathlib.Path
) -> list[dict[str, Any]]:
  """Returns what the section of a figure has about the runs at each scale."""
  found, view = [], figures.FIGURES[number].view
  for scale, title in _SCALES.items():
    rows = catalog.find(number)
    every = [run.name for row in rows for run in row.scales[scale]]
    runs = [name for name in every if name in collected[scale]]
    if runs:
      found.append(
        {
          "scale": scale,
          "title": title,
          "runs": runs,
          "missing": [name for name in every if name not in runs],
          "is_on_validation": view and view.quantities is figures.VALIDATION,
          "claims": _claim_table(judged[number, scale]),
          "images": _images(number, scale, folder),
        }
      )
  return found


def _claim_table(judged: Sequence[_Judged], columns: Sequence[str] = ()) -> str:
  """Tabulates verdicts; with `columns` only these."""
  if not judged:
    return ""
  table = claim_table.tabulate([each.result for each in judged]).text
  rows = tuple(
    (
      *row[1:],
      ", ".join(each.result.claim.runs),
      "before these runs" if each.is_registered else "after",
    )
    for row, each in zip(table.rows, judged)
  )
  header = (*table.header[1:], "Runs", "Written")
  chosen = [header.index(name) for name in columns or header]
  table = tables.Table(
    tuple(header[k] for k in chosen),
    tuple(tuple(row[k] for k in chosen) for row in rows),
  )
  return tables.markdown(table, "").strip() + "\n"


def _images(number: str, scale: str, folder: pathlib.Path) -> list[str]:
  names = list(figures.FIGURES[number].drawings)
  names += [each.name for each in figures.comparisons(number, scale)]
  paths = [f"{FOLDER}/{scale}/{name}.png" for name in names]
  return [path for path in paths if (folder / path).exists()]


def _run_rows(
  collected: Mapping[str, Mapping[str, Collected]],
) -> list[tuple[str, ...]]:
  rows: list[tuple[str, ...]] = []
  for scale, runs in collected.items():
    named = catalog.named(scale)
    for name, (run, about) in runs.items():
      planned = catalog.config(named[name])
      environment = about.get("environment", {})
      device = environment.get("device_kind", "?")
      link = f"[{name}]({FOLDER}/{scale}/{name}.md)"
      rows.append(
        (
          f'<a id="{scale}-{name}"></a>{link}',
          scale,
          _num_trainings(run, planned),
          runner.duration(about.get("seconds", 0)),
          tables.cell(f"{device}, jax {environment.get('jax', '?')}"),
          tables.cell(protocol(name, run)),
        )
      )
  return rows


def _num_trainings(run: records.Run, asked: configs.Config) -> str:
  """Counts trainings; a replicate that diverged has fewer than were planned."""
  planned = catalog.num_trainings(asked)
  if plan.ended(run):
    planned = min(planned, len(plan.expected(run)))
  found = len(plan.expected(run)) - len(plan.missing(run))
  if run.config["first_replicate"] != asked.study.first_replicate:
    return f"{found}, of other replicates than are now planned"
  return str(found) if found >= planned else f"{found} of {planned}"
