"""The catalog of the paper: every row can be run, and says what it costs."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import threading

import pytest
from etils import epath

from experiments import costs
from experiments._paper import catalog, listing, networks
from lth_jax import errors
from lth_jax.config import configs, plan
from lth_jax.report import protocols, records
from lth_jax.runner import experiment
from lth_jax.storage import files

_ROOT = pathlib.Path(__file__).parents[2]
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


# In which fields rows differ from their network's main protocol, beside those
# that a sweep varies.
_TICKETS, _THREE = {"arms"}, {"arms", "replicates"}
_DEPARTURES = {
  "lenet_continued": _TICKETS | {"reset"},
  "lenet_sgd": _TICKETS | {"optimizer", "learning_rate"},
  "lenet_sgd_controls": _TICKETS | {"optimizer", "learning_rate"},
  "resnet20_warmup_high": {"warmup"},
  **dict.fromkeys(("lenet_adam_rates", "lenet_init_std"), _THREE),
  "lenet_sgd_rates": _THREE | {"optimizer"},
  "lenet_momentum_rates": _THREE | {"optimizer"},
  "lenet_pruning_rates": _THREE,
  "lenet_sizes": _THREE,
  **{
    f"conv{n}_{name}": fields
    for n in (2, 4, 6)
    for name, fields in {
      "dropout": _TICKETS,
      "continued": _TICKETS | {"reset"},
      # Those of Conv-6 prune convolutions by 10% a round, not by 15%.
      "adam_rates": _THREE | ({"rates"} if n == 6 else set()),
      "sgd_rates": _THREE | {"optimizer"} | ({"rates"} if n == 6 else set()),
      "momentum_rates": _THREE
      | {"optimizer"}
      | ({"rates"} if n == 6 else set()),
      "pruning_rates": _THREE,
      "dropout_rates": _THREE,
      "conv_only": _THREE | {"rates"},
      "fc_only": _THREE | {"rates"},
    }.items()
  },
  **{
    f"{network}_{name}": fields
    for network in ("resnet20", "vgg19")
    for name, fields in {
      "layerwise": {"scope"},
      "layerwise_high": {"scope"},
      "layerwise_low": {"scope"},
      "rates": _TICKETS | {"warmup"},
      "warmups": _TICKETS,
    }.items()
  },
}


@pytest.mark.parametrize("row", catalog.ROWS, ids=lambda row: row.name)
def test_rows_at_the_papers_scale_are_its_protocols(row):
  varied = {
    flag.removeprefix("--").partition("=")[0]
    for point in row.points
    for flag in point.flags.split()
  }
  if any(point.warmup is not None for point in row.points):
    varied.add("warmup")
  for run in catalog.runs(row, "paper"):
    config = configs.to_flat(catalog.config(run))
    found = protocols.differences(config).partition(": ")[2]
    differing = {part.partition(" ")[0] for part in found.split("; ") if part}
    expected = _DEPARTURES.get(row.name, set())
    assert expected - {"rates", "warmup"} <= differing, run.name
    assert differing <= expected | varied, run.name


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("lenet_sgd", "learning_rate 0.8 instead"),
    ("conv2_conv_only", "rates Dense=0, Conv=0.1 instead"),
    ("conv6_conv_only", "rates Dense=0, Conv=0.15 instead"),
    ("conv6_fc_only", "rates Conv=0, output=0.1, Dense=0.2 instead"),
    ("resnet20_layerwise", "scope layer instead of global"),
  ],
)
def test_what_a_row_changes_has_the_papers_value(name, words):
  [run] = catalog.runs(row_named(name), "paper")
  assert words in protocols.differences(configs.to_flat(catalog.config(run)))


@pytest.mark.parametrize("scale", catalog.SCALES)
def test_every_run_fits_its_network(scale):
  """Rules of pruning have leaves, and cover all that is pruned."""
  seen = set()
  for row in catalog.ROWS:
    for run in catalog.runs(row, scale):
      config = catalog.config(run)
      kind = (
        config.data.dataset,
        config.model.model,
        config.model.hidden,
        config.pruning.rates,
      )
      if kind not in seen:
        seen.add(kind)
        masks = networks.full_masks(config)
        ladder = networks.ladder(config, masks)
        assert len(ladder) == config.study.rounds + 1, run.name
        assert 0 < ladder[-1] < ladder[0] == 1, run.name
  assert len(seen) > 20


def test_figures_that_need_the_same_trainings_share_them():
  assert catalog.find("3") == catalog.find("4a") == catalog.find("20")
  assert catalog.find("3")[0] in catalog.find("9")
  assert [row.name for row in catalog.find("8")] == [
    "resnet20",
    "resnet20_low",
    "resnet20_warmup",
    "resnet20_warmup_high",
  ]


def test_every_figure_with_trainings_has_rows():
  figures = {"1", "3", "4a", "4b", "4c", *map(str, range(5, 46))}
  assert all(catalog.find(figure) for figure in figures)
  assert catalog.find(catalog.NETWORKS) == []
  with pytest.raises(errors.InputError, match="--figure=4: there is none"):
    catalog.find("4")


def test_a_figure_that_is_none_is_an_error_that_lists_them():
  with pytest.raises(errors.InputError, match=r"known are 1, 2, 3, 4a, 4b"):
    catalog.find("99")


def row_named(name):
  return next(row for row in catalog.ROWS if row.name == name)


@pytest.mark.parametrize(
  ("name", "scale", "warmups"),
  [
    ("resnet20_warmups", "paper", [0, 500, 1000, 5000, 10_000, 20_000]),
    ("resnet20_warmups", "cpu", [0, 20, 40, 200, 400, 800]),
    ("vgg19_warmups", "paper", [0, 500, 1000, 5000, 10_000, 20_000]),
    ("vgg19_warmups", "cpu", [0, 5, 11, 53, 107, 213]),
  ],
)
def test_warmup_shrinks_with_the_run(name, scale, warmups):
  runs = catalog.runs(row_named(name), scale)
  made = [catalog.config(run).training.warmup for run in runs]
  assert made == warmups
  assert runs[-1].name == f"{name}_20000"


@pytest.mark.parametrize("n", [2, 4, 6])
@pytest.mark.parametrize("scale", catalog.SCALES)
def test_rates_of_learning_are_varied_at_one_pruning_of_all_conv_nets(n, scale):
  for optimizer in ("adam", "sgd", "momentum"):
    for run in catalog.runs(row_named(f"conv{n}_{optimizer}_rates"), scale):
      config = catalog.config(run)
      assert config.training.optimizer == optimizer
      assert configs.rules(config) == [
        ("output", 0.1),
        ("Conv", 0.1),
        ("Dense", 0.2),
      ]


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
  assert "about, on 2 CPU cores" in found.stdout
  for row in catalog.ROWS:
    figures = re.escape(", ".join(row.figures))
    pattern = rf"^{row.name} +{figures} +smoke .* -$"
    assert re.search(pattern, found.stdout, re.MULTILINE)
  assert max(map(len, found.stdout.splitlines())) <= 120


def test_the_list_of_a_figure_has_commands_to_copy(tmp_path):
  folder = tmp_path / "two words"
  found = paper("--list", "--figure=9", "--scale=smoke", f"--workdir={folder}")
  assert found.stdout.count(" not begun") == 2
  commands = [
    shlex.split(line)
    for line in found.stdout.splitlines()
    if line.startswith("  python")
  ]
  common = ["--scale=smoke", f"--workdir={folder}"]
  assert [command[3:] for command in commands] == [
    ["--row=mnist_lenet", *common],
    ["--row=lenet_continued", *common],
  ]


def commit(folder, config, *, until=99, diverged=()):
  """Makes the trials of a run's first rounds count as stored."""
  for replicate in plan.replicates(config):
    for index in range(min(until, config.study.rounds + 1)):
      for trial in plan.of_round(config, replicate, index):
        (folder / trial.name).mkdir(parents=True)
        record = {"diverged": trial.name in diverged}
        (folder / trial.name / "record.json").write_text(json.dumps(record))
        (folder / trial.name / "commit.json").touch()


def state(row, scale, folder):
  found = listing.text([row], scale, folder).splitlines()
  line = next(line for line in found if line.startswith(f"{row.name} "))
  return re.search(r":\d\d  (.*)$", line)[1]


def test_the_list_says_how_much_is_done(tmp_path):
  row = row_named("lenet_init_std")
  runs = catalog.runs(row, "smoke")
  commit(tmp_path / runs[0].name, catalog.config(runs[0]))
  commit(tmp_path / runs[1].name, catalog.config(runs[1]), until=1)
  assert state(row, "smoke", tmp_path) == "4 of 15 trainings"
  for run in runs[2:]:
    commit(tmp_path / run.name, catalog.config(run))
  assert state(row, "smoke", tmp_path) == "13 of 15 trainings"


def test_a_series_that_diverged_is_complete_before_its_last_round(tmp_path):
  row = row_named("lenet_sgd")
  [run] = catalog.runs(row, "smoke")
  config = catalog.config(run)
  first = {"replicate_0/round_000/ticket", "replicate_1/round_000/ticket"}
  commit(tmp_path / run.name, config, until=1, diverged=first)
  assert state(row, "smoke", tmp_path) == "complete"
  assert listing.num_done(config, tmp_path / run.name) == (2, 2)


def test_a_run_of_another_scale_is_not_counted(tmp_path):
  row = row_named("lenet_sgd")
  [run] = catalog.runs(row, "smoke")
  config = catalog.config(run)
  commit(tmp_path / run.name, config)
  stored = {
    "format": 3,
    "run_id": configs.run_id(config),
    "data": "0",
    "config": configs.to_flat(config),
  }
  (tmp_path / run.name / "config.json").write_text(
    json.dumps(files.seal(stored))
  )
  assert state(row, "smoke", tmp_path) == "complete"
  assert state(row, "cpu", tmp_path) == "other runs are there"


@pytest.mark.parametrize(
  ("asked", "milliseconds"),
  [
    ({"model": "conv2"}, 70),
    ({"model": "conv2", "width": 0.25}, 14.4),
    ({"model": "conv2", "width": 0.125}, 7.2),
    ({"model": "conv2", "width": 0.75}, 52.5),
    ({"model": "conv4", "width": 0.5}, 61),
    ({}, 0.71),
    ({"model": "vgg19", "batch_size": 128}, 2 * 1259),
  ],
)
def test_a_step_takes_what_was_measured_at_the_nearest_width(
  asked, milliseconds
):
  config = configs.from_flat(asked | {"steps": 1000})
  assert costs.seconds(config) == pytest.approx(milliseconds)


def test_figure_2_prints_the_networks():
  found = paper("--figure=2")
  assert found.returncode == 0, found.stderr
  cells = [line.split(" | ") for line in found.stdout.splitlines()]
  assert [
    "| Conv-6",
    "1,144,512",
    "1,116,672",
    "2,261,184",
    "1.1M",
    "1.7M |",
  ] in (cells)
  assert [
    "| 7",
    "21.07",
    "21.23",
    "23.88",
    "26.61",
    "21.91",
    "20.99 |",
  ] in cells


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((), "Say which"),
    (("--figure=4a", "--row=conv2"), "Say which"),
    (("--row=conv9",), "--row=conv9: there is none"),
    (("--figure=99",), "--figure=99: there is none"),
    (
      ("--figure=30", "--scale=smoke", "--workdir=pyproject.toml/runs"),
      "pyproject.toml/runs: Not a directory; mend that",
    ),
    (("--figure=4a",), "--workdir is missing"),
    (("--figure=4a", "--scale=huge"), "--scale"),
  ],
)
def test_bad_input_is_one_line(arguments, message):
  found = paper(*arguments)
  assert found.returncode == 2
  assert message in found.stderr and found.stderr.count("\n") == 1


def test_images_of_a_later_row_are_looked_for_at_once(tmp_path):
  mnist = tmp_path / "data" / "mnist"
  mnist.mkdir(parents=True)
  (mnist / "train-images-idx3-ubyte").touch()
  found = paper(
    "--figure=1", f"--data_dir={mnist.parent}", f"--workdir={tmp_path / 'runs'}"
  )
  assert found.returncode == 2 and found.stderr.count("\n") == 1
  assert "No data set 'cifar10'" in found.stderr
  assert "--dataset" not in found.stderr
  assert not list((tmp_path / "runs").iterdir())
  both = paper("--figure=3", f"--data_dir={mnist.parent}", f"--workdir={mnist}")
  assert str(mnist / "train-images-idx3-ubyte") in both.stderr  # it is empty


@pytest.mark.parametrize(
  "name",
  [
    "conv2_dropout",
    pytest.param("resnet20_warmup", marks=pytest.mark.slow),
    pytest.param("vgg19_layerwise", marks=pytest.mark.slow),
  ],
)
def test_a_row_of_each_kind_of_network_is_run(name, tmp_path):
  [run] = catalog.runs(row_named(name), "smoke")
  config = catalog.config(run)
  folder = epath.Path(tmp_path / run.name)
  experiment.run(config, folder, name, threading.Event())
  assert listing.num_done(config, folder)[0] == catalog.num_trainings(config)
  found = records.read(folder)
  assert {trial.round for trial in found.trials} == {0, 1}
  assert not any(trial.diverged for trial in found.trials)


def test_another_folder_than_the_clone_is_one_line(tmp_path):
  found = subprocess.run(
    [sys.executable, "-m", "experiments.paper", "--list"],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(_ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert found.returncode == 2 and found.stderr.count("\n") == 1
  assert "start this from the top of a clone" in found.stderr


@pytest.mark.slow
def test_a_sweep_is_run_resumed_and_leaves_a_report_a_point(tmp_path):
  arguments = "--figure=28", "--scale=smoke", f"--workdir={tmp_path}"
  found = paper(*arguments, "--devices=1")
  assert found.returncode == 0, found.stderr
  names = {run.name for run in catalog.runs(*catalog.find("28"), "smoke")}
  folders = {path.name for path in tmp_path.iterdir()}
  assert folders == names | {"figure_28_lenet_momentum_rates"}
  table = (
    tmp_path / "figure_28_lenet_momentum_rates" / "comparison.md"
  ).read_text()
  assert all(f"| {name.rpartition('_')[2]} |" in table for name in names)
  assert (
    tmp_path / "figure_28_lenet_momentum_rates" / "comparison.png"
  ).exists()
  for name in names:
    assert (tmp_path / name / "report" / "index.html").exists()
  again = paper(*arguments)
  assert again.stderr.count("is complete, nothing to train") == len(names)


def test_a_sweep_with_two_equal_points_is_one_line():
  points = (
    catalog.Point("0.1", "--learning_rate=0.1"),
    catalog.Point("1e-1", "--learning_rate=1e-1"),
  )
  row = catalog.Row("lenet_sgd_rates", ("27",), "", points)
  with pytest.raises(errors.InputError, match="are the same run"):
    catalog.runs(row, "cpu")


def test_a_list_whose_reader_leaves_ends_quietly():
  command = f"{sys.executable} -m experiments.paper --list | head -c 10"
  found = subprocess.run(
    ["bash", "-o", "pipefail", "-c", command],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (found.returncode, found.stderr) == (0, "")
