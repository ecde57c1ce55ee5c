"""The files of a report."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from helpers import drawings, synthetic_runs

from lth_jax import errors, report

_SMALL = {
  "rounds": 2,
  "steps": 1500,
  "test_every": 300,
  "dataset": "mnist_10k",
  "arms": ["ticket", "reinit"],
  "reinits": 2,
}
_FILES = {
  "index.html",
  "summary.md",
  *(f"{name}.{end}" for name in ("table", "claims", "verdicts")
    for end in ("csv", "md")),
  *(f"figure_{name}.{end}" for name in ("3", "4a", "4b", "11")
    for end in ("svg", "png")),
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  """A small run with its report written."""
  workdir = synthetic_runs.write(tmp_path_factory.mktemp("small"), **_SMALL)
  report.write(workdir)
  return workdir


def test_a_report_has_every_file_and_no_other(small):
  found = {path.name for path in (small / "report").iterdir()}
  assert found - {".lock"} == _FILES


def test_a_broken_off_report_has_no_page_and_the_next_is_equal(small, tmp_path):
  workdir = tmp_path / "copy"
  shutil.copytree(small, workdir)
  blocked = workdir / "report" / "table.csv"
  blocked.unlink()
  (blocked / "folder").mkdir(parents=True)
  with pytest.MonkeyPatch.context() as patch:
    drawings.keep(patch)
    with pytest.raises((OSError, errors.StorageError)):
      report.write(workdir)
  assert not (workdir / "report" / "index.html").exists()
  shutil.rmtree(blocked)
  report.write(workdir)
  for path in (small / "report").iterdir():
    again = workdir / "report" / path.name
    assert path.read_bytes() == again.read_bytes(), path.name


def test_the_page_needs_no_other_file(small):
  page = (small / "report" / "index.html").read_text()
  assert not re.search(r'(src|href)="(?!#)', page)
  assert not re.search(r"url\((?!#)|@import|<script|<link", page)
  ids = re.findall(r'\bid="([^"]+)"', page)
  assert len(ids) == len(set(ids))
  assert all(
    target in ids for target in re.findall(r'(?:href="#|url\(#)([^")]+)', page)
  )
  assert page.count("<svg") == 11
  assert page.endswith("</html>\n")


def test_scaled_down_is_marked_everywhere(small):
  note = "steps 1,500 instead of 50,000"
  for name in ("index.html", "summary.md", "table.md", "claims.md"):
    assert note in (small / "report" / name).read_text()
  page = (small / "report" / "index.html").read_text()
  assert page.count(note) >= 3 + 4  # tables and the note; figures
  for name in ("table", "claims", "verdicts"):
    with open(small / "report" / f"{name}.csv", newline="") as file:
      rows = list(csv.DictReader(file))
    assert rows
    assert all(note in row["protocol"] for row in rows)


def test_the_table_has_the_numbers_of_the_records(small):
  with open(small / "report" / "table.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  row = next(r for r in rows if (r["round"], r["arm"]) == ("2", "reinit"))

  def step(replicate, draw):
    folder = small / f"replicate_{replicate}/round_002/reinit_{draw}"
    record = json.loads((folder / "record.json").read_text())
    return record["early_stop"]["step"]

  stops = np.array([[step(r, d) for d in range(2)] for r in range(3)])
  stops = stops.mean(axis=1)
  for name, value in zip(
    ("mean", "min", "max"), (stops.mean(), stops.min(), stops.max())
  ):
    assert float(row[f"early_stop_step_{name}"]) == pytest.approx(value, 1e-5)
  assert (row["replicates"], row["trials"]) == ("3", "6")
  assert rows[0]["arm"] == "dense"


def test_without_a_validation_split_there_is_no_early_stop(tmp_path, shown):
  changes = {**_SMALL, "rounds": 1, "num_valid": 0, "arms": ["ticket"]}
  workdir = synthetic_runs.write(tmp_path, **changes)
  # Of an earlier report, before the folder was put to another use.
  (workdir / "report").mkdir()
  for name in ("figure_4a.png", "figure_41.svg", "moved.png"):
    (workdir / "report" / name).write_bytes(b"old")
  page = report.write(workdir).read_text()
  assert "no validation split" in page
  assert "Winning tickets cannot be judged" in page
  assert "figure 4a" not in page.lower()
  found = {path.name for path in (workdir / "report").glob("*.[ps][nv]g")}
  assert found == {f"{name}.{end}" for name in shown for end in ("png", "svg")}
  assert set(shown) == {"figure_3", "figure_4b"}


def test_wins_and_the_main_figure_come_first_on_the_page(tmp_path, shown):
  changes = {**_SMALL, "rounds": 1, "pruning": "oneshot"}
  page = report.write(synthetic_runs.write(tmp_path, **changes)).read_text()
  titles = [
    *("Winning tickets", "Figure 4a", "Published claims"),
    *("Figure 3", "Figure 4c", "All results"),
  ]
  places = [page.index(f"<h2>{title}") for title in titles]
  assert places == sorted(places)


def test_each_panel_is_a_pdf_of_a_columns_width(small):
  folder = report.write_pdfs(small)
  found = {path.name: path.read_bytes() for path in folder.glob("*.pdf")}
  assert {"figure_4a_1.pdf", "figure_4a_2.pdf"} <= {*found}
  for content in found.values():
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
    assert float(box[1]) == pytest.approx(72 * 3.25, abs=0.5)
    assert float(box[2]) < 72 * 4
    assert b"/FontFile2" in content  # a font is embedded,
    assert b"/Type3" not in content  # as one that venues accept
    assert b"CreationDate" not in content
  again = report.write_pdfs(small)
  assert found == {path.name: path.read_bytes() for path in again.glob("*.pdf")}
