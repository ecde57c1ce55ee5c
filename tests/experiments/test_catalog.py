"""The catalog of the paper: every row can be run, and its list is right."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from helpers import commands, synthetic_runs

from experiments import paper
from experiments._paper import catalog, listing, networks
from lth_jax import errors, report
from lth_jax.config import configs, flags
from lth_jax.report import protocols

_ROWS = {row.name: row for row in catalog.ROWS}


@pytest.fixture(scope="module")
def made():
  """{scale: {run: config}} of the whole catalog."""
  return {
    scale: {
      name: catalog.config(run) for name, run in catalog.named(scale).items()
    }
    for scale in catalog.SCALES
  }


def test_every_row_has_distinct_runs_at_every_scale(made):
  for scale, runs in made.items():
    assert len(runs) == sum(len(row.scales[scale]) for row in catalog.ROWS)
    for row in catalog.ROWS:
      found = {configs.run_id(runs[run.name]) for run in row.scales[scale]}
      assert len(found) == len(row.scales[scale]), (row.name, scale)
    assert all(catalog.num_trainings(config) > 1 for config in runs.values())


def _departures(config):
  return protocols.differences(configs.to_flat(config))


def test_rows_depart_from_the_papers_protocols_by_their_own_flags_only(made):
  for row in catalog.ROWS:
    for run in row.scales["paper"]:
      asked = {word[2:].partition("=")[0] for word in run.arguments[1:]}
      found = _departures(made["paper"][run.name]).partition(": ")[2]
      differing = {part.partition(" ")[0] for part in found.split("; ") if part}
      if run.name == "resnet20_rates_0.03":
        asked.add("warmup")  # the paper's protocol at this rate has one
      assert differing <= asked, run.name


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("lenet_sgd", "optimizer sgd instead"),
    ("lenet_sgd", "learning_rate 0.8 instead"),
    ("lenet_continued", "reset continued instead"),
    ("conv4_continued", "reset continued instead"),
    ("conv2_conv_only", "rates Dense=0, Conv=0.1 instead"),
    ("conv6_conv_only", "rates Dense=0, Conv=0.15 instead"),
    ("conv6_fc_only", "rates Conv=0, output=0.1, Dense=0.2 instead"),
    ("resnet20_layerwise", "scope layer instead of global"),
    ("vgg19_layerwise_low", "scope layer instead of global"),
    ("resnet20_warmup_high", "warmup 20,000 instead of 0"),
  ],
)
def test_what_a_row_changes_has_the_papers_value(made, name, words):
  assert words in _departures(made["paper"][name])


def test_every_run_fits_its_network(made):
  """Rules of pruning have leaves, and cover all that is pruned."""
  kinds = {}
  for config in (each for runs in made.values() for each in runs.values()):
    network = config.data.dataset, config.model
    kinds[network, config.pruning.rates] = network, config
  assert len(kinds) > 40
  masks = {}
  for network, config in kinds.values():
    if network not in masks:
      masks[network] = networks.full_masks(config)
    ladder = networks.ladder(config, masks[network])
    assert len(ladder) == config.study.rounds + 1
    assert 0 < ladder[-1] < ladder[0] == 1


def test_a_figure_has_the_rows_that_it_needs():
  assert catalog.find("3") == catalog.find("4a") == catalog.find("20")
  assert catalog.find("3")[0] in catalog.find("9")
  assert [row.name for row in catalog.find("8")] == [
    "resnet20",
    "resnet20_low",
    "resnet20_warmup",
    "resnet20_warmup_high",
  ]
  figures = {"1", "3", "4a", "4b", "4c", *map(str, range(5, 46))}
  assert all(catalog.find(figure) for figure in figures)
  assert catalog.find(catalog.NETWORKS) == []
  with pytest.raises(errors.InputError, match=r"known are 1, 2, 3, 4a, 4b"):
    catalog.find("4")


@pytest.mark.parametrize(
  ("row", "field", "steps"),
  [
    ("resnet20_warmups", "warmup", [0, 500, 1000, 5000, 10_000, 20_000]),
    ("vgg19_warmups", "warmup", [0, 500, 1000, 5000, 10_000, 20_000]),
    ("lenet_rewinding", "rewind_step", [0, 500]),
    ("conv2_rewinding", "rewind_step", [0, 500]),
    ("resnet20_rewinding", "rewind_step", [0, 500, 5000]),
  ],
)
def test_steps_shrink_with_the_run(made, row, field, steps):
  def found(scale):
    for run in _ROWS[row].scales[scale]:
      flat = configs.to_flat(made[scale][run.name])
      yield flat[field], flat["steps"]

  paper = list(found("paper"))
  assert [step for step, _ in paper] == steps
  for (step, length), (original, whole) in zip(found("cpu"), paper):
    assert step == pytest.approx(original / whole * length, abs=1)
  # A smoke run is too short for such shares.
  assert [step > 0 for step, _ in found("smoke")] == [x > 0 for x in steps]
  assert _ROWS[row].scales["paper"][-1].name == f"{row}_{steps[-1]}"


def test_learning_rates_are_varied_at_one_pruning_of_all_conv_nets(made):
  for name, config in (
    (n, c) for runs in made.values() for n, c in runs.items()
  ):
    if found := re.match(r"conv\d_(adam|sgd|momentum)_rates", name):
      assert config.training.optimizer == found[1]
      assert config.pruning.rates == ("output=0.1", "Conv=0.1", "Dense=0.2")


def call(*arguments):
  return commands.call(*arguments, main=paper.main)


def test_the_list_has_every_row(capsys):
  assert call("--list", "--scale=smoke").returncode == 0
  lines = capsys.readouterr().out.splitlines()
  for row in catalog.ROWS:
    [line] = [line for line in lines if line.startswith(f"{row.name} ")]
    assert ", ".join(row.figures) in line and line.endswith(" -")
    assert f"  {row.what}" in lines
  assert max(map(len, lines)) <= 120


def test_the_list_of_a_figure_has_commands_to_copy(tmp_path, capsys):
  folder = tmp_path / "two words"
  call("--list", "--figure=9", "--scale=smoke", f"--workdir={folder}")
  listed = capsys.readouterr().out
  assert listed.count(" not begun") == 2
  found = [
    shlex.split(line)[2:]
    for line in listed.splitlines()
    if line.startswith("  python -m ")
  ]
  assert [command[:2] for command in found[::2]] == [
    ["experiments.paper", "--row=mnist_lenet"],
    ["experiments.paper", "--row=lenet_continued"],
  ]
  runs = catalog.named("smoke")
  for command, name in zip(found[1::2], ("mnist_lenet", "lenet_continued")):
    assert command[0] == "experiments.mnist_lenet"
    assert command[-1] == f"--workdir={folder / name}"
    assert flags.parse(command[1:-1]) == catalog.config(runs[name])


def write(workdir, name, scale, **changes):
  """Writes a run of the catalog that was never trained."""
  config = catalog.config(catalog.named(scale)[name])
  synthetic_runs.write(workdir / name, **configs.to_flat(config) | changes)


def state(name, scale, folder):
  found = listing.text([_ROWS[name]], scale, folder)
  return re.search(rf"^{name} .*:\d\d  (.*)$", found, re.MULTILINE)[1]


def test_the_list_counts_the_trainings_of_a_sweep(tmp_path):
  first, second, *rest = _ROWS["lenet_init_std"].scales["smoke"]
  write(tmp_path, first.name, "smoke")
  write(tmp_path, second.name, "smoke", rounds=0)
  assert state("lenet_init_std", "smoke", tmp_path) == "4 of 15 trainings"
  for run in rest:
    write(tmp_path, run.name, "smoke")
  assert state("lenet_init_std", "smoke", tmp_path) == "13 of 15 trainings"


def test_the_list_knows_runs_that_diverged_and_those_of_other_scales(tmp_path):
  write(tmp_path, "lenet_sgd", "smoke", rounds=0)
  assert state("lenet_sgd", "smoke", tmp_path) == "2 of 6 trainings"
  for path in (tmp_path / "lenet_sgd").rglob("record.json"):
    record = json.loads(path.read_text()) | {"diverged": True}
    synthetic_runs.write_trial(tmp_path / "lenet_sgd", record)
  assert state("lenet_sgd", "smoke", tmp_path) == "complete"
  assert state("lenet_sgd", "cpu", tmp_path) == "other runs are there"


def test_figure_2_prints_the_networks(capsys):
  call("--figure=2")
  printed = capsys.readouterr().out
  weights = "| Conv-6 | 1,144,512 | 1,116,672 | 2,261,184 | 1.1M | 1.7M |"
  densities = "| 7 | 21.07 | 21.23 | 23.88 | 26.61 | 21.91 | 20.99 |"
  assert weights in printed and densities in printed


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ("", "--figure=4a or --row="),
    ("--figure=4a --row=conv2", "--figure=4a or --row="),
    ("--row=conv9", "--row=conv9: there is none"),
    ("--figure=99", "--figure=99: there is none"),
    ("--figure=30 --workdir=pyproject.toml/runs", "pyproject.toml/runs: Not a"),
    ("--figure=4a", "--workdir is missing"),
    ("--figure=4a --scale=huge", "--scale"),
  ],
)
def test_bad_input_is_one_line(arguments, message):
  found = call(*arguments.split())
  assert found.returncode == 2
  commands.assert_one_line(found, message)


def test_images_of_a_later_row_are_looked_for_at_once(tmp_path):
  mnist = tmp_path / "data" / "mnist"
  mnist.mkdir(parents=True)
  (mnist / "train-images-idx3-ubyte").touch()
  flags = f"--data_dir={mnist.parent}", f"--workdir={tmp_path / 'x'}"
  found = call("--figure=1", *flags)
  assert found.returncode == 2
  commands.assert_one_line(found, "No data set 'cifar10'")
  assert "--dataset=mnist_10k" not in found.stderr
  assert not list((tmp_path / "x").iterdir())
  found = call("--figure=3", *flags)
  commands.assert_one_line(found, str(mnist / "train-images-idx3-ubyte"))


@pytest.mark.parametrize(
  "name",
  [
    "lenet_sgd",
    *(
      pytest.param(name, marks=pytest.mark.slow)
      for name in ("conv2_dropout", "resnet20_warmup", "vgg19_layerwise")
    ),
  ],
)
def test_a_row_of_each_kind_of_network_is_run(name, tmp_path, monkeypatch):
  monkeypatch.setattr(report, "write", lambda folder: folder)
  arguments = f"--row={name}", "--scale=smoke", f"--workdir={tmp_path}"
  found = call(*arguments, "--devices=1")
  assert found.returncode == 0, found.stderr
  assert state(name, "smoke", tmp_path) == "complete"
  trials = [
    json.loads(path.read_text())
    for path in (tmp_path / name).glob("replicate_*/*/*/record.json")
  ]
  assert len(trials) >= 2
  assert not any(trial["diverged"] for trial in trials)


def test_another_folder_than_the_clone_is_one_line(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  found = call("--list")
  assert found.returncode == 2
  commands.assert_one_line(found, "start this from the top of a clone")


@pytest.mark.slow
def test_a_sweep_is_run_resumed_and_leaves_a_report_a_point(tmp_path):
  arguments = "--figure=28", "--scale=smoke", f"--workdir={tmp_path}"
  found = call(*arguments, "--devices=1")
  assert found.returncode == 0, found.stderr
  runs = catalog.find("28")[0].scales["smoke"]
  sweep = tmp_path / "figure_28_lenet_momentum_rates"
  names = {run.name for run in runs}
  assert {path.name for path in tmp_path.iterdir()} == names | {sweep.name}
  table = (sweep / "comparison.md").read_text()
  assert all(f"| {run.label} |" in table for run in runs)
  assert (sweep / "comparison.png").exists()
  for name in names:
    assert (tmp_path / name / "report" / "index.html").exists()
  again = call(*arguments)
  assert again.stderr.count("is complete, nothing to train") == len(names)


def test_a_list_whose_reader_leaves_ends_quietly():
  command = f"{sys.executable} -m experiments.paper --list | head -c 10"
  found = subprocess.run(
    ["bash", "-o", "pipefail", "-c", command],
    cwd=commands.ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (found.returncode, found.stderr) == (0, "")
