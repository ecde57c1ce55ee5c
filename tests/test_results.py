"""docs/results.md: made from what was collected, and up to date."""

import json
import pathlib
import re
import subprocess
import sys

import pytest
import synthetic_runs

from experiments import catalog, collect, figures, results_page
from lth_jax import configs, errors

_ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def in_a_clone(monkeypatch):
  monkeypatch.chdir(_ROOT)


def _write(workdir, name, **changes):
  """A finished run of the catalog at cpu scale that was never trained."""
  [row] = [row for row in catalog.ROWS if row.name == name]
  [run] = catalog.runs(row, "cpu")
  config = configs.to_flat(catalog.config(run)) | changes
  synthetic_runs.write(workdir / name, **config)
  environment = {"environments": [{"jax": "0.0", "cpus": 2}]}
  (workdir / name / "env.json").write_text(json.dumps(environment))
  for path in (workdir / name).rglob("record.json"):
    (path.parent / "timing.json").write_text('{"seconds": 2.0}')
  return workdir / name


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
  """A page's folder with two runs collected."""
  folder = tmp_path_factory.mktemp("docs")
  workdir = tmp_path_factory.mktemp("runs")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(_ROOT)
    _write(workdir, "mnist_lenet")
    _write(workdir, "lenet_oneshot", arms=["ticket", "reinit"])
    collect.into_folder(workdir, "cpu", folder / "results" / "cpu")
  return folder


def test_a_page_has_every_figure_of_the_paper(collected):
  text = results_page.text(collected)
  for number in figures.FIGURES:
    assert f"\n## Figure {number}. " in text
  assert text.count("Not run: `") > 20
  assert "\n## Figure 4a. " in text.partition("Not run: `")[0]


def test_a_page_has_claims_images_commands_and_time(collected):
  text = results_page.text(collected)
  section = text.partition("## Figure 4a.")[2].partition("## Figure")[0]
  assert "--figure=4a --scale=cpu" in section
  assert "never counts as the paper's" in section
  table = text.partition("\n## Runs")[2]
  assert "scaled down: steps 15,000 instead of 50,000" in table
  assert re.search(r"Tickets learn fastest at \| holds \| 21%", section)
  section = text.partition("## Figure 4c.")[2].partition("## Figure")[0]
  assert "Iterative tickets more accurate than one-shot" in section
  assert "mnist_lenet, lenet_oneshot" in section
  for link in re.findall(r"\| \[\w+\]\((results[^)]*)\)", text):
    assert (collected / link).read_text().startswith("mnist_lenet, scaled") or (
      "oneshot" in link
    )
  images = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text)
  assert "results/cpu/figure_4c.png" in images and len(images) > 5
  for image in images:
    assert (collected / image).read_bytes()[:4] == b"\x89PNG"


def test_a_page_names_the_runs_that_a_figure_lacks(collected):
  text = results_page.text(collected)
  section = text.partition("## Figure 9.")[2].partition("## Figure")[0]
  assert "Not run: lenet_continued." in section
  assert "Accuracies are those on validation images" in section
  section = text.partition("## Figure 4a.")[2].partition("## Figure")[0]
  assert "Not run" not in section and "validation images" not in section


def test_counts_of_verdicts_add_up(collected):
  overview = results_page.text(collected).partition("## Figure")[0]
  rows = [
    [int(cell or 0) for cell in map(str.strip, line.split("|")[3:-1])]
    for line in overview.splitlines()
    if re.match(r"\| (\[|all)", line)
  ]
  *figure_rows, total = rows
  assert [sum(column) for column in zip(*figure_rows)] == total
  assert total[0] > 10


def test_another_run_than_the_catalogs_is_refused(tmp_path):
  _write(tmp_path, "mnist_lenet", learning_rate=0.5)
  with pytest.raises(errors.InputError, match=r"learning_rate differ"):
    collect.into_folder(tmp_path, "cpu", tmp_path / "out")
  assert not list((tmp_path / "out").glob("*.json"))


def test_a_damaged_file_is_named(collected, tmp_path):
  path = tmp_path / "results" / "cpu" / "mnist_lenet.json"
  path.parent.mkdir(parents=True)
  whole = (collected / "results/cpu/mnist_lenet.json").read_text()
  path.write_text(whole[: len(whole) // 2])
  with pytest.raises(errors.InputError, match=r"mnist_lenet\.json: damaged"):
    results_page.text(tmp_path)


def _command(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "experiments.results", *arguments],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


def test_bad_input_is_one_line(tmp_path):
  found = _command(f"--workdir={tmp_path}", f"--folder={tmp_path}")
  assert found.returncode == 2
  assert "no run of the catalog is here" in found.stderr
  assert found.stderr.count("\n") == 1


def test_the_committed_page_is_that_of_the_committed_records():
  assert results_page.text(_ROOT / "docs") == (
    _ROOT / "docs" / "results.md"
  ).read_text(encoding="utf-8")
