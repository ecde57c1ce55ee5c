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


def test_protocol_differences_are_named():
  paper = configs.to_flat(configs.Config())
  assert protocols.differences(paper) == ""
  assert protocols.differences({**paper, "rates": [
    "output=0.10", "kernel=.2"]}) == ""  # fmt: skip
  assert protocols.differences({**paper, "replicates": 20}) == ""
  assert protocols.differences({**paper, "steps": 15000}) == (
    "scaled down: steps 15,000 instead of 50,000"
  )
  assert protocols.differences({**paper, "optimizer": "sgd"}) == (
    "not the paper's main protocol: optimizer sgd instead of adam"
  )


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (
      {"arms": ["ticket", "reinit"]},
      "not the paper's main protocol: arms ticket, reinit instead",
    ),
    (
      {"control_rounds": [1, 5]},
      "not the paper's main protocol: control_rounds 1, 5",
    ),
    ({"control_rounds": list(range(1, 21))}, ""),
    ({"arms": ["ticket", "reinit"], "pruning": "oneshot"}, ""),
    ({"arms": ["ticket", "reinit", "random", "random_global"]}, ""),
    ({"scaling": "l2"}, "not the paper's main protocol: scaling l2"),
    ({"order": "per_round"}, "not the paper's main protocol: order per_round"),
    ({"matmul_precision": "default"}, "protocol: matmul_precision default"),
    (
      {"rates": ["Dense_0/kernel=0.1", "kernel=0.2"]},
      "protocol: rates Dense_0",
    ),
    ({"rates": ["kernel=0.2", "output=0.1"]}, "protocol: rates kernel"),
    ({"dataset": "mnist_corrupted"}, "not the paper's main protocol: dataset"),
    ({"dataset": "mnist_10k"}, "scaled down: dataset mnist_10k"),
    ({"test_every": 1, "seed": 3}, ""),
  ],
)
def test_departures_from_the_paper_are_named(change, words):
  found = protocols.differences(configs.to_flat(configs.Config()) | change)
  assert words in found
  assert bool(words) == bool(found)


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
