"""The catalog of the paper: every row can be run, and says what it costs."""

import pathlib
import re
import subprocess
import sys

import pytest

from experiments import catalog
from lth_jax import configs, errors

_ROOT = pathlib.Path(__file__).parents[1]
_ROWS = [(row, scale) for row in catalog.ROWS for scale in catalog.SCALES]


@pytest.fixture(autouse=True)
def in_a_clone(monkeypatch):
  monkeypatch.chdir(_ROOT)


@pytest.mark.parametrize(
  ("row", "scale"), _ROWS, ids=[f"{row.name}-{s}" for row, s in _ROWS]
)
def test_every_row_has_every_scale(row, scale):
  runs = catalog.runs(row, scale)
  assert len(runs) == max(len(row.points), 1)
  made = [catalog.config(run) for run in runs]
  assert len({configs.run_id(config) for config in made}) == len(runs)
  assert all(catalog.num_trainings(config) > 1 for config in made)
  assert len({run.name for run in runs}) == len(runs)


def test_flagfiles_are_those_of_the_rows():
  folders = {path.name for path in (_ROOT / "experiments/flags").iterdir()}
  assert folders == {row.name for row in catalog.ROWS}


def test_a_flagfile_says_what_it_is_for():
  for path in (_ROOT / "experiments/flags").rglob("*.flags"):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# "), path
    assert max(map(len, lines)) <= 80, path


def test_figures_that_need_the_same_trainings_share_them():
  assert catalog.find("3") == catalog.find("4a") == catalog.find("20")
  assert catalog.find("3")[0] in catalog.find("9")
  assert [row.name for row in catalog.find("8")] == [
    "resnet20",
    "resnet20_low",
    "resnet20_warmup",
  ]


def test_a_figure_that_is_none_is_an_error_that_lists_them():
  with pytest.raises(errors.InputError, match=r"known are 1, 3, 4a, 4b"):
    catalog.find("99")


def paper(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "experiments.paper", *arguments],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


def test_the_list_has_every_row():
  found = paper("--list", "--scale=smoke")
  assert found.returncode == 0, found.stderr
  for row in catalog.ROWS:
    assert re.search(rf"^{row.name} ", found.stdout, re.MULTILINE)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((), "Say which"),
    (("--figure=4a", "--row=conv2"), "Say which"),
    (("--row=conv9",), "--row=conv9: there is none"),
    (("--figure=4a",), "--workdir is missing"),
    (("--figure=4a", "--scale=huge"), "--scale"),
  ],
)
def test_bad_input_is_one_line(arguments, message):
  found = paper(*arguments)
  assert found.returncode == 2
  assert message in found.stderr and found.stderr.count("\n") == 1


def test_a_sweep_is_run_resumed_and_leaves_a_report_a_point(tmp_path):
  arguments = "--figure=30", "--scale=smoke", f"--workdir={tmp_path}"
  found = paper(*arguments, "--devices=1")
  assert found.returncode == 0, found.stderr
  names = {run.name for run in catalog.runs(*catalog.find("30"), "smoke")}
  folders = {path.name for path in tmp_path.iterdir()}
  assert folders == names | {"lenet_init_std"}
  table = (tmp_path / "lenet_init_std" / "comparison.md").read_text()
  assert all(f"| {name.rpartition('_')[2]} |" in table for name in names)
  assert (tmp_path / "lenet_init_std" / "comparison.png").exists()
  for name in names:
    assert (tmp_path / name / "report" / "index.html").exists()
  again = paper(*arguments)
  assert again.stderr.count("is complete, nothing to train") == len(names)
