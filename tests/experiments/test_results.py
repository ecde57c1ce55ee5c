"""docs/results.md: made from what was collected, and up to date."""

import json
import re
import shutil

import numpy as np
import pytest
from helpers import commands, synthetic_runs
from helpers import results as results_helpers
from matplotlib import colors, figure
from PIL import Image

from experiments import results
from experiments._paper import (
  catalog,
  collect,
  figures,
  order,
  results_page,
)
from lth_jax import errors
from lth_jax.config import configs
from lth_jax.report import claims
from lth_jax.report.figures import canvas as report_figures
from lth_jax.report.figures import panels
from lth_jax.storage import files

_DOCS = commands.ROOT / "docs"


def _write(workdir, name, **changes):
  """A finished run of the catalog at cpu scale that was never trained."""
  config = configs.to_flat(catalog.config(catalog.named("cpu")[name])) | changes
  synthetic_runs.write(workdir / name, **config)
  environment = {"environments": [{"jax": "0.0", "cpus": 2}]}
  files.write_json(workdir / name / "env.json", files.add_checksum(environment))
  for path in (workdir / name).rglob("record.json"):
    (path.parent / "timing.json").write_text('{"seconds": 2.0}')
  return workdir / name


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
  """A page's folder with two runs collected."""
  folder = tmp_path_factory.mktemp("docs")
  workdir = tmp_path_factory.mktemp("runs")
  _write(workdir, "mnist_lenet")
  _write(workdir, "lenet_oneshot", arms=["ticket", "reinit"])
  collect.into_folder(workdir, "cpu", folder / "results" / "cpu")
  collect.draw("cpu", folder / "results" / "cpu")
  return folder


@pytest.fixture
def copied(collected, tmp_path):
  """A page's folder with the records of these runs, to be changed."""
  folder = tmp_path / "results" / "cpu"
  folder.mkdir(parents=True)
  for path in (collected / "results" / "cpu").glob("*.json"):
    shutil.copy(path, folder)
  return folder


@pytest.fixture(scope="module")
def page(collected):
  """The page that is made of them."""
  return results_page.text(collected)


def _section(page, number):
  return page.partition(f"## Figure {number}.")[2].partition("## Figure")[0]


@pytest.mark.parametrize(
  ("finished", "begun"),
  [
    ([90, 70], "1970-01-01T00:01:08Z"),  # of two seconds each
    ([90, None], None),
  ],
)
def test_a_run_is_collected_with_its_beginning(tmp_path, finished, begun):
  path = _write(tmp_path, "lenet_sgd", rounds=1)
  trials = sorted(path.rglob("timing.json"))
  for index, timing in enumerate(trials):
    end = finished[index % 2]
    content = {"seconds": 2.0} | ({} if end is None else {"finished": end})
    timing.write_text(json.dumps(content))
  collect.into_folder(tmp_path, "cpu", tmp_path / "out")
  found = json.loads((tmp_path / "out/lenet_sgd.json").read_text())
  assert found["about"].get("begun") == begun


def test_a_page_has_every_figure_of_the_paper(page):
  for number in figures.FIGURES:
    heading = f"Figure {number}. " if number[0].isdigit() else ""
    assert f"\n## {heading}{figures.FIGURES[number].title}\n" in page
  assert page.count("Not run: `") > 20
  assert "\n## Figure 4a. " in page.partition("Not run: `")[0]


def test_a_page_has_claims_images_commands_and_time(collected, page):
  section = _section(page, "4a")
  assert "--figure=4a --scale=cpu" in section
  assert "never counts as the paper's" in section
  table = page.partition("\n## Runs")[2]
  assert "scaled down: steps 15,000 instead of 50,000" in table
  assert re.search(r"Tickets learn fastest at \| holds \| 21%", section)
  section = _section(page, "4c")
  assert "Iterative tickets more accurate than one-shot" in section
  assert "mnist_lenet, lenet_oneshot" in section
  for link in re.findall(r"\| \[\w+\]\((results[^)]*)\)", page):
    assert (collected / link).read_text().startswith("mnist_lenet, scaled") or (
      "oneshot" in link
    )
  images = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", page)
  assert "results/cpu/figure_4c.png" in images and len(images) > 5
  for image in images:
    assert (collected / image).read_bytes()[:4] == b"\x89PNG"


def test_a_page_names_the_runs_that_a_figure_lacks(page):
  section = _section(page, "9")
  assert "Not run: lenet_continued." in section
  assert "Accuracies are on validation images" in section
  section = _section(page, "4a")
  assert "Not run" not in section and "validation images" not in section


def test_colours_of_arms_survive_in_small_files(collected):
  path = collected / "results/cpu/mnist_lenet_figure_3.png"
  picture = np.asarray(Image.open(path).convert("RGB"), int)
  for arm in ("ticket", "reinit"):
    wanted = [255 * part for part in colors.to_rgb(panels.arm_style(arm)[0])]
    near = np.abs(picture - wanted).max(axis=-1) <= 8
    assert near.sum() > 500


@pytest.fixture
def drawn(monkeypatch):
  """{title: axes of its panels} of what is drawn."""
  kept, draw_parts = {}, report_figures.draw_parts

  def keep(name, title, parts, note):
    kept[title] = [figure.Figure().subplots() for _ in parts]
    for part, axes in zip(parts, kept[title]):
      part(axes)
    return draw_parts(name, title, parts[:1], note)

  monkeypatch.setattr(report_figures, "draw_parts", keep)
  return kept


def test_each_control_has_a_drawing_of_its_own(tmp_path, drawn):
  records = _DOCS / "results/cpu/lenet_controls.json"
  shutil.copy(records, tmp_path)
  collect.draw("cpu", tmp_path)
  names = {path.stem for path in tmp_path.glob("*.png")}
  assert names == {"figure_17", "figure_18", "figure_25"}
  arms = [axes[0].get_legend_handles_labels()[1] for axes in drawn.values()]
  levels = ["noise 0.5", "noise 1", "noise 2", "noise 3"]
  assert arms == [
    ["ticket", "redraw", "reinit"],
    ["ticket", "reinit", "magnitude_at_start"],
    ["ticket", *levels, "reinit"],
  ]
  for panels_ in drawn.values():
    titles = [axes.get_title() for axes in panels_]
    assert titles == ["Early-stop step", "Test accuracy at early stop (%)"]


def test_figures_of_random_masks_show_them_collapse(tmp_path, drawn):
  shutil.copy(_DOCS / "results/cpu/mnist_lenet.json", tmp_path)
  collect.draw("cpu", tmp_path)
  for title in (
    "Figure 1. Tickets and random masks (LeNet)",
    "Figure 14. Tickets, reinits and random masks at the end (LeNet)",
  ):
    axes = drawn[title][-1]
    lowest = min(bars[0].get_ydata().min() for bars in axes.containers)
    assert axes.get_ylim()[0] < lowest < 90


def test_a_comparison_names_each_run_for_a_reader():
  rows = {row.name for row in catalog.ROWS}
  for number in (x for x, each in figures.FIGURES.items() if each.view):
    for scale in catalog.SCALES:
      shown = [each.runs for each in figures.comparisons(number, scale)]
      named = [pair for runs in shown for pair in runs.items()]
      every = [
        run.name for row in catalog.find(number) for run in row.scales[scale]
      ]
      assert sorted(run for _, run in named) == sorted(every)
      assert not {name for name, _ in named} & rows


def _counts(table):
  """The rows of an overview, and its last."""
  rows = [
    [int(cell or 0) for cell in map(str.strip, line.split("|")[3:-1])]
    for line in table.splitlines()
    if re.match(r"\| (\[|all)", line)
  ]
  return rows[:-1], rows[-1]


def test_counts_of_verdicts_add_up(page):
  overview = page.partition("## Figure")[0]
  tables = overview.split("## Claims ")[1:]
  for table in tables:
    rows, total = _counts(table)
    assert [sum(column) for column in zip(*rows)] == total
  # Runs that do not say when they began are none that claims were before.
  (_, registered), (_, after) = map(_counts, tables)
  assert registered == [0] * 5 + [len(claims.CLAIMS)]
  assert sum(after) > 30


def test_claims_before_their_runs_are_counted_apart(copied, tmp_path):
  path = copied / "mnist_lenet.json"
  begun = '"begun": "2036-01-01T00:00:00Z", "seconds"'
  path.write_text(path.read_text().replace('"seconds"', begun))
  page = results_page.text(tmp_path)
  registered, after = page.partition("## Figure")[0].split("## Claims ")[1:]
  _, [*verdicts, missing] = _counts(registered)
  _, exploratory = _counts(after)
  assert sum(verdicts) > 30 and sum(verdicts) + missing == len(claims.CLAIMS)
  # Of a claim on two runs one is not enough.
  assert sum(exploratory) > 3
  assert re.search(
    r"Of the \d+ registered claims that were measured, \d+ say", registered
  )
  section = _section(page, "4c")
  both = [x for x in section.splitlines() if "mnist_lenet, lenet_oneshot" in x]
  assert both and all(x.endswith("| after |") for x in both)


def test_another_run_than_the_catalogs_is_refused(tmp_path):
  _write(tmp_path, "mnist_lenet", learning_rate=0.5)
  with pytest.raises(errors.InputError, match=r"learning_rate differ"):
    collect.into_folder(tmp_path, "cpu", tmp_path / "out")
  assert not list((tmp_path / "out").glob("*.json"))


def test_a_damaged_file_is_named(copied, tmp_path):
  path = copied / "mnist_lenet.json"
  path.write_text(path.read_text()[:1000])
  with pytest.raises(errors.InputError, match=r"mnist_lenet\.json: damaged"):
    results_page.text(tmp_path)


def test_bad_input_is_one_line(tmp_path):
  found = commands.call(
    f"--workdir={tmp_path}", f"--folder={tmp_path}", main=results.main
  )
  assert found.returncode == 2
  commands.assert_one_line(found, "no run of the catalog is here")


def test_without_a_workdir_all_is_drawn_again_and_nothing_else_stays(
  collected, copied, tmp_path
):
  smoke = copied.rename(copied.with_name("smoke"))
  (smoke / "figure_4c.png").write_bytes(b"of other code")
  (smoke / "figure_7.png").write_bytes(b"of runs that are gone")
  found = commands.call(f"--folder={tmp_path}", main=results.main)
  assert found.returncode == 0, found.stderr
  new = (collected / "results/cpu/figure_4c.png").read_bytes()
  assert (smoke / "figure_4c.png").read_bytes() == new
  assert not (smoke / "figure_7.png").exists()


def test_two_orders_are_compared_on_the_replicates_that_they_share(
  collected, page
):
  assert "not run (`python -m experiments.paper --row=lenet_order" in page
  run = results_page.read(collected / "results/cpu")["mnist_lenet"].run
  alike = results_helpers.change(
    run,
    lambda x: x._replace(early_stop=x.early_stop._replace(step=500.0)),
  )
  fewer = results_helpers.keep(run, lambda x: 10 < x.replicate < 13)
  text = order.text(
    {"lenet_order_shared": alike, "lenet_order_per_round": fewer}
  )
  [repeated] = re.findall(r"of ticket that another .*", text)
  assert "| 42 of 42 | " in repeated and "42 of 42 |\n" not in repeated
  assert "| Replicates | 11, 12 | 11, 12 |" in text
  assert "| Ticket wins at |" in text


@pytest.mark.parametrize("scale", catalog.SCALES)
def test_the_committed_drawings_are_those_of_the_committed_records(scale):
  folder = _DOCS / "results" / scale
  collected = results_page.read(folder)
  expected = {
    each.name: collect.digest(folder, each.runs)
    for each in collect.drawings(scale, collected)
  }
  found = {}
  for path in folder.glob("*.png"):
    with Image.open(path) as picture:
      found[path.stem] = picture.text.get(collect.RECORDS)
  assert found == expected, "run python -m experiments.results"
  for name, text in collect.summaries(collected).items():
    assert (folder / f"{name}.md").read_text(encoding="utf-8") == text


def test_a_figure_of_one_line_compares_nothing(copied):
  collected = results_page.read(copied)
  named = {each.name for each in collect.drawings("cpu", collected)}
  assert "figure_4c" in named
  del collected["lenet_oneshot"]
  named = {each.name for each in collect.drawings("cpu", collected)}
  assert "figure_1_mnist" in named
  assert not named & {"figure_4c", "figure_9"}


def test_a_name_of_a_device_is_shown_not_obeyed(copied, tmp_path):
  path = copied / "mnist_lenet.json"
  content = json.loads(path.read_text())
  content["about"]["environment"] = {"device_kind": "a|b <img> [c](http://d)"}
  path.write_text(json.dumps(content))
  lines = results_page.text(tmp_path).splitlines()
  [row] = [line for line in lines if "a\\|b" in line]
  assert len(re.split(r"(?<!\\)\|", row)) == 8
  assert "<img" not in row and "](http" not in row


def test_the_committed_page_is_that_of_the_committed_records():
  committed = (_DOCS / "results.md").read_text(encoding="utf-8")
  assert results_page.text(_DOCS) == committed


def test_the_results_in_the_readme_are_those_of_the_committed_records():
  committed = (commands.ROOT / "README.md").read_text(encoding="utf-8")
  assert results_page.with_results(committed, _DOCS) == committed


def test_a_readme_without_exploratory_runs(tmp_path):
  readme = results_page.with_results(
    (commands.ROOT / "README.md").read_text(encoding="utf-8"), tmp_path
  )
  assert "that had been seen" not in readme and "not run" in readme


def test_the_readme_needs_both_of_its_comments(collected):
  with pytest.raises(errors.InputError, match="lacks <!-- Made by"):
    results_page.with_results("# A project\n", collected)


def test_where_tickets_win_comes_first(page):
  part = page.partition("## How to read")[0]
  assert part.startswith("# Results\n\n## Where tickets win")
  assert "* LeNet (cpu scale, n = 7): Winning tickets from" in part
  header, _, *rows = re.findall(r"^\|.*\|$", part, re.MULTILINE)
  assert header.count("(cpu scale, n = ") == 2 and len(rows) == 20
  assert re.match(r"\| 21.1% \| \*\*wins\*\*: \+0\.\d+, 0\.\d+. \|", rows[6])
  assert re.match(r"\| 1.2% \| does not win: .\d\.\d+, \d\.\d+", rows[-1])
  assert "Not run: Conv-2; Conv-4; Conv-6" in part
