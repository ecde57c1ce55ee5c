"""Sweeps: from ranges to points, and the commands around them."""

import itertools
import re
import runpy
import shlex
import shutil
import sys

import pytest
from helpers import commands, sweeps, synthetic_runs

from experiments import report, sweep
from experiments._sweep import points
from lth_jax import errors
from lth_jax import report as report_lib
from lth_jax.config import flags


def ids(**ranges):
  return [point.id for point in sweeps.make(**ranges)]


def test_an_id_depends_on_the_values_of_its_point_only():
  assert ids(seed=["1", "0"], learning_rate=["2e-3"]) == [
    "learning_rate=0.002,seed=1",
    "learning_rate=0.002,seed=0",
  ]
  assert ids(learning_rate=["0.002"], seed=["1"]) == [
    "learning_rate=0.002,seed=1"
  ]
  assert ids(hidden=["30,10"], drops=["", "10,20"]) == [
    "drops=,hidden=30-10",
    "drops=10-20,hidden=30-10",
  ]


def test_ids_are_safe_and_distinct_whatever_the_characters():
  rates = ["a/b=0.1,kernel=0.2", "a-b=0.1,kernel=0.2", "a b=0.1,kernel=0.2"]
  rates += [",".join(f"{name}=0.1" for name in "abcdefghijklmnopqrstuvwxyz")]
  found = ids(rates=rates, source=["auto"])
  assert len(set(found)) == 4
  for each in found:
    assert re.fullmatch(r"[\w.+=,-]{1,130}", each, re.ASCII)
    assert shlex.quote(each) == each


def test_labels_are_names_for_kubernetes_and_skypilot():
  found = sweeps.make(learning_rate=["1e-5", "2e-5"], hidden=["30,10", "20"])
  found += sweeps.make("elsewhere", hidden=["20"])
  labels = {point.label for point in found}
  assert len(labels) == 5
  for each in labels:
    assert re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", each)
    assert len(each) <= 40


def test_the_product_is_complete():
  ranges = {"seed": ["0", "1", "2"], "hidden": ["30,10", "20"], "width": ["1"]}
  found = sweeps.make(**ranges)
  asked = {
    (point.config.randomness.seed, point.config.model.hidden) for point in found
  }
  assert asked == set(itertools.product((0, 1, 2), ((30, 10), (20,))))
  assert len(found) == 6
  assert all(point.config.training.steps == 60 for point in found)
  assert found[0].command == (
    "python",
    "-m",
    "experiments.mnist_lenet",
    sweeps.SMOKE,
    "--hidden=30,10",
    "--seed=0",
    "--width=1",
    "--workdir=runs/sweep/hidden=30-10,seed=0,width=1.0",
  )


def test_ranges_are_parsed():
  for text, values in {
    "seed=0,1": ["0", "1"],
    "seed=0 1": ["0", "1"],
    "hidden=300,100 50": ["300,100", "50"],
    "rates=a=0.1,b=0.2 c=0.3": ["a=0.1,b=0.2", "c=0.3"],
    "drops='' 10,20": ["", "10,20"],
    "data_dir='my data',other": ["my data", "other"],
  }.items():
    assert points.parse_ranges([text]) == {text.partition("=")[0]: values}
  for text in ("seed", "seed=", "=1", "data_dir='x"):
    with pytest.raises(errors.InputError, match=f"--vary={text}: "):
      points.parse_ranges([text])


@pytest.mark.parametrize(
  ("ranges", "message"),
  [
    ({"seed": ["1", "1"]}, "seed=1 and seed=1 are the same run"),
    ({"learning_rate": ["1e-3", "0.001"]}, "are the same run"),
    ({"devices": ["1", "2"]}, "devices=1 and devices=2 are the same run"),
    ({"sed": ["1"]}, "Unknown command line flag 'sed'"),
    ({"seed": ["x"]}, "--seed=x"),
    ({"seed": ["-1"]}, "--seed=-1: must be in"),
    ({"warmup": ["61"]}, "--warmup=61: longer than the run"),
  ],
)
def test_a_wrong_point_is_found_before_anything_runs(ranges, message):
  with pytest.raises(errors.InputError, match=message) as caught:
    sweeps.make(**ranges)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("odd", ["two\nlines", "a\rb", "a\x1b[2Jb", "a\u2028b"])
def test_characters_that_cannot_be_printed_are_refused(odd):
  """They would split the lines of scripts, whatever quotes are around them."""
  for workdir, base, seed in (
    (odd, sweeps.SMOKE, "0"),
    ("runs", f"--data_dir={odd}", "0"),
    ("runs", sweeps.SMOKE, odd),
  ):
    with pytest.raises(errors.InputError, match="be printed") as caught:
      sweeps.make(workdir, [base], seed=[seed])
    assert str(caught.value).isprintable()


def test_all_points_are_for_several_hosts_or_none(tmp_path):
  kinds = {"auto": tmp_path / "auto.flags", "off": tmp_path / "off.flags"}
  for seed, (kind, path) in enumerate(kinds.items()):
    path.write_text(f"--distributed={kind}\n--seed={seed}\n")
  with pytest.raises(errors.InputError, match="a sweep of each kind") as caught:
    sweeps.make(flagfile=[str(path) for path in kinds.values()])
  assert "\n" not in str(caught.value)
  assert all(
    x.is_distributed for x in sweeps.make(base=[f"--flagfile={kinds['auto']}"])
  )
  assert not any(
    x.is_distributed for x in sweeps.make(base=["--distributed=off"])
  )


@pytest.mark.parametrize("last", ["--", "steps=9", "-"])
def test_a_flagfile_that_ends_the_flags_is_refused(tmp_path, last):
  """What a point varies comes behind it and would not be read."""
  path = tmp_path / "ends.flags"
  path.write_text(f"--steps=60\n{last}\n")
  with pytest.raises(errors.InputError, match="is no flag") as caught:
    sweeps.make(base=[f"--flagfile={path}"])
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("module", ["mnist_lenet", "report", "sweep", "paper"])
def test_help_is_no_failure_and_keeps_the_lines_of_examples(
  module, monkeypatch, capsys
):
  path = commands.ROOT / f"experiments/{module}.py"
  monkeypatch.setattr(sys, "argv", [module, "--help"])
  with pytest.raises(SystemExit) as ended:
    runpy.run_path(str(path), run_name="__main__")
  assert not ended.value.code
  examples = re.search(r"\n\n((?:  .*\n)+)\n", path.read_text())[1]
  assert examples.startswith(f"  python -m experiments.{module} ")
  assert examples in capsys.readouterr().out


def call_report(*arguments):
  return commands.call(*map(str, arguments), main=report.main)


def test_a_report_asks_for_a_folder_and_takes_it_as_an_argument(tmp_path):
  found = call_report()
  commands.assert_one_line(found, "experiments.report runs/quickstart")
  for folder in ([tmp_path], [f"--workdir={tmp_path}"], [tmp_path, tmp_path]):
    found = call_report(*folder)
    assert found.returncode == 2
    commands.assert_one_line(found, f"{tmp_path}: no config.json here")


def test_runs_are_compared_by_what_they_differ_in(tmp_path, monkeypatch):
  monkeypatch.setattr(report_lib, "write", lambda folder: folder)
  small = {"arms": ["ticket"], "rounds": 1, "replicates": 1}
  for name, rate in (("a", 0.001), ("b", 0.002)):
    synthetic_runs.write(tmp_path / name, learning_rate=rate, **small)
  one, out = f"--workdir={tmp_path}/a", f"--out={tmp_path / 'out'}"
  assert call_report(one).stderr.startswith("Report: ")
  found = call_report(f"--workdir={tmp_path}/*", out)
  assert found.returncode == 0, found.stderr
  table = (tmp_path / "out" / "comparison.md").read_text()
  assert "| learning_rate=0.001 | 1 |" in table
  assert "| learning_rate=0.002 | 1 |" in table
  shutil.copytree(tmp_path / "a", tmp_path / "copy")
  for arguments, message in (
    ([f"--workdir={tmp_path}/*"], "--out is the folder"),
    ([one, out], "--out is the folder"),
    ([one, f"--workdir={tmp_path}/copy", out], "hold the same run"),
    ([f"--workdir={tmp_path}/no*", out], "matches no folder of a run"),
  ):
    found = call_report(*arguments)
    assert found.returncode == 2
    commands.assert_one_line(found, message)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--vary=seed=0,1"], "--workdir is missing"),
    (["--workdir=x"], "--vary is missing"),
    (["--workdir=x", "--vary=seed=1", "--vary=seed=2"], "the flag seed twice"),
    (["--workdir=x", "--vary=seed=1", "--", "runs"], "'runs' is no flag"),
    (["--workdir=x", "--vary=seed=1", "--", "--", "--steps=9"], "'--' is no"),
    (["--workdir=x", "--vary=seed=1", "--", "-"], "'-' is no flag"),
    (
      ["--workdir=x", "--vary=seed=1", "--", "--data_dir"],
      "'--data_dir' is no flag with its value",
    ),
    (["--workdir=a\nb", "--vary=seed=1"], r"'--workdir=a\nb': has"),
    (["--workdir=gs://", "--vary=seed=1"], "is named gs://BUCKET/FOLDER"),
    (["--workdir=runs/*", "--vary=seed=1"], "has '*' in its name"),
    (["--workdir=x", "--vary=seed=1", "--emit=jobset"], "--image is missing"),
  ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
  found = commands.call(*arguments, main=sweep.main)
  assert found.returncode == 2
  commands.assert_one_line(found, message)
  assert capsys.readouterr().out == ""


def test_the_file_is_what_would_be_printed(tmp_path, capsys):
  arguments = "--vary=seed=0,1", "--emit=slurm", "--workdir=x"
  path = tmp_path / "sweep.sbatch"
  commands.call(*arguments, "--", sweeps.SMOKE, main=sweep.main)
  printed = capsys.readouterr().out
  written = commands.call(
    *arguments, f"--out={path}", "--", sweeps.SMOKE, main=sweep.main
  )
  assert (written.returncode, capsys.readouterr().out) == (0, "")
  assert path.read_text() == printed == sweeps.text("slurm", sweeps.make("x"))


def test_the_commands_of_the_docs_are_right(capsys):
  found = []
  for name in (
    "README.md",
    *(f"docs/{x}.md" for x in ("running", "slurm", "tpu")),
  ):
    page = (commands.ROOT / name).read_text().replace("\\\n", " ")
    page = page.replace("$BUCKET", "gs://bucket").replace("$IMAGE", "image")
    found += re.findall(r"python -m (experiments\.\w+) (.*)", page)
  for module, arguments in found:
    words = [x for x in shlex.split(arguments) if not x.startswith("--out=")]
    if module == "experiments.mnist_lenet":
      assert flags.parse([x for x in words if not x.startswith("--workdir")])
    elif module == "experiments.sweep":
      made = commands.call(*words, main=sweep.main)
      assert (made.returncode, made.stderr) == (0, ""), arguments
      assert "learning_rate=" in capsys.readouterr().out or "seed=" in arguments
  assert len(found) > 10
