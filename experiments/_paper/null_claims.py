"""Counts the comparative claims that hold where there is nothing to find.

  python -m experiments._paper.null_claims --studies=200

A study has one simulated run of each kind that a claim names. In it, every arm
at every density is as accurate and as fast as the dense network, plus the noise
of LeNet (standard deviations of 0.15 points within a replicate, and of 25% in
early stops). A claim is comparative if it says that there is a difference.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags as absl_flags

from experiments._paper import catalog
from lth_jax.config import configs, flags
from lth_jax.report import claims, records
from lth_jax.runner import command

_ROUNDS, _STEPS, _EVERY = 20, 15_000, 100


def main(argv: Sequence[str]) -> None:
  """Prints the share of comparative claims that hold."""

  def run():
    asked = _flags()
    command.parse(asked, argv)
    command.show(_text(list(studies(asked.studies, asked.replicates))))

  command.call(run)


def _flags() -> absl_flags.FlagValues:
  values = absl_flags.FlagValues()
  own = flags.group(values) | {"lower_bound": 1}
  absl_flags.DEFINE_integer("studies", 200, "How many.", **own)
  absl_flags.DEFINE_integer("replicates", 5, "Of each run.", **own)
  return values


def _text(found: Sequence[Mapping[str, str]]) -> str:
  held = np.array(
    [[x in ("holds", "consistent") for x in each.values()] for each in found]
  )
  lines = [
    f"{held.shape[1]} comparative claims, {len(found)} studies: "
    f"{100 * held.mean():.1f}% hold or are consistent, "
    f"{held.sum(axis=1).mean():.1f} a study, {held.sum(axis=1).max()} at most"
  ]
  lines += [
    f"{100 * share:.1f}%: {text}"
    for text, share in zip(found[0], held.mean(axis=0))
    if share > 0.05
  ]
  return "\n".join(lines) + "\n"


def studies(num: int, replicates: int) -> Iterator[dict[str, str]]:
  """Yields {text: verdict} of the comparative claims, a study at a time."""
  rng = np.random.default_rng(0)
  planned = {
    name: configs.to_flat(catalog.config(run))
    for name, run in catalog.named("paper").items()
  }
  for _ in range(num):
    made, found = {}, {}
    for claim in filter(claims.is_comparative, claims.CLAIMS):
      for name in claim.runs:
        if name not in made:
          made[name] = _run(name, planned[name], replicates, rng)
      sample = claims.measure(claim, *(made[name] for name in claim.runs))
      found[f"{claim.figure} {claim.text}"] = claims.judge(
        claim, sample
      ).verdict
    yield found


def _run(name, planned, replicates, rng) -> records.Run:
  config = planned | {
    "rounds": _ROUNDS,
    "replicates": replicates,
    "reinits": 1,
    "randoms": 1,
    "control_rounds": [],
    "eval_every": _EVERY,
  }
  trials = []
  for replicate in range(replicates):
    level = 98 + 0.1 * rng.standard_normal()
    for index in range(_ROUNDS + 1):
      for arm, draw in _arms(config) if index else [("ticket", 0)]:
        numbers = _numbers(level, planned["steps"], rng)
        trials.append(
          records.Result(
            replicate, index, arm, draw, 0.8**index, diverged=False,
            warnings=(), counted=266_200, **numbers,
          )
        )  # fmt: skip
  return records.Run(name, config, tuple(trials))


def _arms(config) -> list[tuple[str, int]]:
  return [
    records.name_arm(config, arm, draw)
    for arm in config["arms"]
    for draw in range(len(config["noise"]) if arm == "noise" else 1)
  ]


def _numbers(level: float, num_steps: int, rng) -> dict[str, Any]:
  """Draws the measurements of one training."""
  accuracies = level + 0.15 * rng.standard_normal(5)
  test, valid, end_test, end_valid, early = accuracies / 100
  train, end_train = (99.3 + 0.1 * rng.standard_normal(2)) / 100
  step, steady = np.round(40 * np.exp(0.25 * rng.standard_normal(2))) * _EVERY
  reaching = 1000 * np.exp(0.1 * rng.standard_normal())
  steps = np.sort([0, num_steps / 50, num_steps / 4, reaching])
  return {
    "test_steps": steps,
    "test_curve": np.where(steps < reaching, 0.9, early - 0.01),
    "early_stop": records.Measurement(step, True, test, train, 0.08, valid),
    "end": records.Measurement(
      _STEPS, True, end_test, end_train, 0.12, end_valid
    ),
    "steady_step": steady,
  }


if __name__ == "__main__":
  main(sys.argv)
