"""Configs, their identity, and the flags and flagfiles that make them."""

import dataclasses
import pathlib
import re

import pytest

from lth_jax import errors
from lth_jax.config import configs, flags

_ROOT = pathlib.Path(__file__).parents[2]
_FLAGFILES = sorted((_ROOT / "experiments/flags/mnist_lenet").glob("*.flags"))


def test_field_names_are_unique_over_sections_and_have_help():
  sections = [
    dataclasses.fields(section.type)
    for section in dataclasses.fields(configs.Config)
  ]
  names = [field.name for fields in sections for field in fields]
  assert len(names) == len(set(names)) == len(configs.fields())
  for _, field, _ in configs.fields().values():
    assert len(field.metadata["help"]) > 5


def test_flat_and_back():
  config = configs.from_flat({"hidden": [7], "seed": 3, "arms": ["ticket"]})
  assert config.model.hidden == (7,)
  assert configs.to_flat(config)["hidden"] == [7]
  assert configs.from_flat(configs.to_flat(config)) == config


@pytest.mark.parametrize(
  "changed",
  [
    {"rates": ["Dense_[0-9]{1,2}/kernel=0.2", 'a"b=0.1'], "hidden": [3, 4]},
    {
      "hidden": [30, 10],
      "order_seed": 5,
      "control_rounds": [1, 4],
      "rates": ["Dense_2=0.1", "kernel=0.25"],
      "learning_rate": 0.1 + 0.2,
      "data_dir": "some where",
    },
  ],
)
def test_a_flagfile_gives_its_config(tmp_path, changed):
  config = configs.from_flat(changed)
  path = tmp_path / "run.flags"
  path.write_text(flags.to_flagfile(config))
  assert flags.parse([f"--flagfile={path}"]) == config


def test_unknown_fields_are_refused_with_a_suggestion():
  with pytest.raises(errors.InputError, match="did you mean 'seed'"):
    configs.from_flat({"sede": 3})


def test_identity_is_what_decides_results():
  base = configs.run_id(configs.Config())
  for name, value in [("rounds", 30), ("replicates", 9), ("devices", 1)]:
    assert configs.run_id(configs.from_flat({name: value})) == base
  for name, value in [("steps", 10), ("seed", 1), ("rates", ["k=0.1"])]:
    assert configs.run_id(configs.from_flat({name: value})) != base


def test_differences_leave_out_how_a_run_is_computed():
  asked = {"steps": 9}, {"steps": 9, "seed": 1, "devices": 2}
  runs = [configs.from_flat(values) for values in asked]
  assert configs.differences(runs) == [{"seed": 0}, {"seed": 1}]


# The id of each before there was a rule `output` and an order for each round.
@pytest.mark.parametrize(
  ("changed", "old", "expected"),
  [
    ({}, "Dense_2/kernel=0.1 kernel=0.2", "44136fa355b3678a"),
    ({}, "Dense_2/kernel=0.05 kernel=0.1", "ddef8a41b24dc4dd"),
    (
      {"model": "conv2"},
      "Dense_2/kernel=0.1 Conv=0.1 Dense=0.2",
      "d8c8cfe7fdcb509b",
    ),
    (
      {"model": "conv6"},
      "Conv=0 Dense_2/kernel=0.1 Dense=0.2",
      "ab314299935bab9a",
    ),
    (
      {"model": "resnet20"},
      "shortcut=0 Dense=0 kernel=0.2",
      "f11f46eec51cc38b",
    ),
    ({"model": "vgg19"}, "Dense=0 kernel=0.36", "4cafe3f502529750"),
    (
      {"hidden": [9, 8, 7]},
      "Dense_2/kernel=0.1 kernel=0.2",
      "deaaeb56cc308d31",
    ),
  ],
)
def test_a_rule_for_the_output_keeps_the_id_of_a_run(changed, old, expected):
  changed |= {"order": "shared"}
  run = configs.from_flat(changed | {"rates": old.split()})
  assert configs.run_id(run) == expected
  new = re.sub("Dense(_2/kernel)?=(0 kernel|0.1|0.05)", r"output=\2", old)
  asked = configs.from_flat(changed | {"rates": new.split()})
  same = len(run.model.hidden) == 2  # else that rule was another layer's
  assert (asked == run, configs.run_id(asked) == expected) == (same, same)
  assert configs.from_flat(configs.to_flat(run)) == run


@pytest.mark.parametrize(
  "changed",
  [
    {"steps": 0},
    {"steps": "many"},
    {"steps": True},
    {"batch_size": 0},
    {"learning_rate": 0.0},
    {"learning_rate": float("nan")},
    {"momentum": 1.0},
    {"eval_every": 0},
    {"seed": -1},
    {"order_seed": 2**32},
    {"rounds": -1},
    {"replicates": 0},
    {"reinits": 0},
    {"arms": ["reinit"]},
    {"arms": ["ticket", "ticket"]},
    {"arms": ["ticket", "sandwich"]},
    {"control_rounds": [0]},
    {"control_rounds": [1, 1]},
    {"control_rounds": [3], "rounds": 2},
    {"first_replicate": 2**31},
    {"steps": 2**31},
    {"rates": ["kernel=-0.1"]},
    {"devices": -1},
    {"checkpoint_minutes": -1.0},
    {"optimizer": "adamm"},
    {"model": "lenett"},
    {"scope": "all"},
    {"rates": ["kernel"]},
    {"rates": ["kernel=1"]},
    {"rates": ["kernel=x"]},
    {"rates": ["=0.2"]},
    {"pruning": "oneshot", "reset": "continued"},
    {"arms": ["ticket", "noise"], "noise": []},
    {"trials_per_device": -1},
    {"width": 0.0},
    {"dropout": 1.0},
    {"warmup": 10**6},
    {"drops": [5, 5]},
    {"drops": [20, 10]},
    {"drops": [0, 2]},
    {"drops": [10, 60], "steps": 60},
    {"hidden": [10**20, 10]},
    {"width": 1e30},
    {"learning_rate": 1e-50},  # not a float32
    {"learning_rate": 1e39},
    {"weight_decay": 1e39},
    {"init_std": 1e-50},
    {"trials_per_device": 100_000},
    {"dropout": 0.5},  # of lenet
    {"noise": [1.0, 1.0]},
    {"augment": "flip"},
    {"batch_devices": 7},
  ],
)
def test_wrong_values_are_one_line_that_names_the_field(changed):
  with pytest.raises(errors.InputError) as caught:
    configs.from_flat(changed)
  assert "\n" not in str(caught.value)
  assert any(name in str(caught.value) for name in changed)


def test_a_wrong_config_cannot_be_made_in_any_way():
  config = configs.Config()
  with pytest.raises(errors.InputError, match="--steps=0: must be"):
    configs.Training(steps=0)
  with pytest.raises(errors.InputError, match="--warmup=6"):
    dataclasses.replace(config.training, steps=5, warmup=6)
  with pytest.raises(errors.InputError, match="--batch_devices=7"):
    dataclasses.replace(config, execution=configs.Execution(batch_devices=7))


def test_a_rule_may_hold_an_equals_sign():
  config = configs.from_flat({"rates": ["a=b=0.5"]})
  assert configs.rules(config) == [("a=b", 0.5)]


@pytest.mark.parametrize("path", _FLAGFILES, ids=lambda path: path.stem)
def test_flagfiles_parse(path):
  config = flags.parse([f"--flagfile={path}"])
  if path.stem == "paper":
    default = configs.Config()
    identity = configs.identity(config)
    assert identity["test_every"] == 100
    identity["test_every"] = default.training.test_every
    assert identity == configs.identity(default)
    study = dataclasses.replace(config.study, first_replicate=0, randoms=1)
    assert study == default.study


def test_there_are_the_flagfiles_that_the_readme_lists():
  names = {path.stem for path in _FLAGFILES}
  assert names == {"smoke", "quickstart", "cpu", "paper", "google"}


@pytest.mark.parametrize(
  ("asked", "dataset", "folder"),
  [
    (["--dataset=npz:a.npz"], "npz:a.npz", ""),
    (["--dataset=npz:sets/a.npz"], "npz:a.npz", "sets"),
    (["--dataset=folder:./sets/pets/"], "folder:pets", "sets"),
    (["--dataset=idx:../here"], "idx:here", ".."),
    (["--dataset=npz:a.npz", "--data_dir=sets"], "npz:a.npz", "sets"),
    (["--dataset=npz:b/a.npz", "--data_dir=sets"], "npz:a.npz", "sets/b"),
    (["--dataset=npz:/x/a.npz", "--data_dir=sets"], "npz:a.npz", "/x"),
    (["--dataset=npz:~/a.npz"], "npz:a.npz", "home"),
    (["--dataset=folder:."], "folder:work", ".."),
  ],
)
def test_a_run_has_the_name_of_its_data_wherever_they_lie(
  tmp_path, monkeypatch, asked, dataset, folder
):
  (tmp_path / "work").mkdir()
  monkeypatch.chdir(tmp_path / "work")
  monkeypatch.setenv("HOME", str(tmp_path / "work" / "home"))
  config = flags.parse(asked)
  assert config.data.dataset == dataset
  expected = (tmp_path / "work" / folder).resolve()
  assert config.execution.data_dir == str(expected)
  elsewhere = flags.parse([f"--dataset={dataset}", "--data_dir=/else"])
  assert configs.run_id(elsewhere) == configs.run_id(config)
  path = tmp_path / "run.flags"
  path.write_text(flags.to_flagfile(config))
  assert flags.parse([f"--flagfile={path}"]) == config


@pytest.mark.parametrize("name", ["npz:", "npz:b/a.npz", "folder:..", "idx:/"])
def test_a_config_has_no_path_in_the_name_of_its_data(name):
  with pytest.raises(errors.InputError, match="--data_dir"):
    configs.from_flat({"dataset": name})


@pytest.mark.parametrize("name", ["emnist/letters:3.1.0", "mnist", "my/npz"])
def test_other_names_of_data_stay(name):
  config = flags.parse([f"--dataset={name}"])
  assert config.data.dataset == name and config.execution.data_dir is None
