"""Differences from the paper's protocols."""

import pathlib

import pytest
from helpers import results, synthetic_runs

from lth_jax.config import configs, flags
from lth_jax.report import (
  claims,
  protocols,
  records,
)
from lth_jax.report.figures import layout

_OTHER = "not the paper's main protocol"


@pytest.mark.parametrize("model", configs.built_in("model"))
def test_a_report_knows_every_network(model):
  config = configs.to_flat(configs.from_flat({"model": model}))
  assert protocols.of(config)["steps"] > 0
  assert protocols.DENSE_ACCURACY[model] > 50
  assert layout.NETWORKS[model]


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({}, ""),
    ({"rates": ["output=0.10", "kernel=.2"]}, ""),
    ({"replicates": 20}, ""),
    ({"test_every": 1, "seed": 3}, ""),
    ({"control_rounds": list(range(1, 21))}, ""),
    ({"arms": ["ticket", "reinit"], "pruning": "oneshot"}, ""),
    ({"arms": ["ticket", "reinit", "random", "random_global"]}, ""),
    ({"steps": 15000}, "scaled down: steps 15,000 instead of 50,000"),
    ({"optimizer": "sgd"}, f"{_OTHER}: optimizer sgd instead of adam"),
    (
      {"arms": ["ticket", "reinit"]},
      f"{_OTHER}: arms ticket, reinit instead of ticket, reinit, random",
    ),
    (
      {"control_rounds": [1, 5]},
      f"{_OTHER}: control_rounds 1, 5 instead of all",
    ),
    ({"randoms": 1}, f"{_OTHER}: randoms 1 instead of 2"),
    (
      {"randoms": 1, "arms": ["ticket"]},
      f"{_OTHER}: arms ticket instead of ticket, reinit, random",
    ),
    ({"scaling": "l2"}, f"{_OTHER}: scaling l2 instead of unit"),
    ({"order": "shared"}, f"{_OTHER}: order shared instead of per_round"),
    (
      {"matmul_precision": "default"},
      f"{_OTHER}: matmul_precision default instead of highest",
    ),
    (
      {"rates": ["kernel=0.2", "output=0.1"]},
      f"{_OTHER}: rates kernel=0.2, output=0.1 instead of output=0.1, "
      "kernel=0.2",
    ),
    (
      {"dataset": "mnist_corrupted"},
      f"{_OTHER}: dataset mnist_corrupted instead of mnist",
    ),
    (
      {"dataset": "mnist_10k"},
      "scaled down: dataset mnist_10k instead of mnist",
    ),
  ],
)
def test_differences_from_the_paper_are_named(change, words):
  paper = configs.to_flat(configs.Config()) | {"randoms": 2}
  assert protocols.differences(paper | change) == words


def test_a_variant_is_held_to_the_papers_run_of_it():
  paper = configs.to_flat(configs.Config())
  original = paper | {"optimizer": "sgd", "learning_rate": 0.8}
  assert protocols.differences(original, original) == ""
  ours = original | {"num_train": 9000, "replicates": 3}
  assert protocols.differences(ours, original) == (
    "scaled down: num_train 9,000 instead of all; replicates 3 instead of 5"
  )


@pytest.mark.parametrize(
  ("changes", "protocol"),
  [
    ({"model": "conv2"}, {"steps": 20000, "learning_rate": 2e-4}),
    (
      {"model": "conv4", "dropout": 0.5},
      {"steps": 75000, "learning_rate": 2e-4, "dropout": 0.5},
    ),
    ({"model": "resnet20"}, {"scope": "global", "drops": [20000, 25000]}),
    ({"model": "vgg19", "warmup": 9}, {"warmup": 10000, "learning_rate": 0.1}),
  ],
)
def test_each_network_has_its_protocol_and_its_claims(changes, protocol):
  config = synthetic_runs.config(**changes)
  assert protocol.items() <= protocols.of(config).items()
  run = records.Run("test", config, results.ladder([[98.0, 98.3]] * 3).results)
  names = {result.claim.runs[0] for result in claims.evaluate(run)}
  assert all(name.startswith(changes["model"]) for name in names)
  assert protocols.differences(config | protocols.of(config)) == ""


def test_an_empty_list_is_shown_as_none():
  config = synthetic_runs.config(model="resnet20", drops=[])
  assert "drops none instead of 20000, 25000" in protocols.differences(config)


def test_the_paper_flagfiles_are_the_protocols():
  flagfiles = pathlib.Path(__file__).parents[2] / "experiments/flags"
  for row in ("mnist_lenet", "conv2", "conv6", "resnet20", "vgg19"):
    text = (flagfiles / row / "paper.flags").read_text()
    lines = [x for x in text.splitlines() if x.startswith("--")]
    config = configs.to_flat(flags.parse(lines))
    assert protocols.differences(config) == "", row
