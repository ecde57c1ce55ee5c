"""Runs as reports read them, made up in memory."""

import dataclasses

import numpy as np

from helpers import synthetic_runs
from lth_jax.config import configs
from lth_jax.report import claims, records

_STEPS = 15000


def result(
  replicate, index, density, step, accuracy, arm="ticket", draw=0, **changes
):
  """Returns a result; `accuracy` (%) is that of all images but training's."""
  share = accuracy / 100
  stop = records.Measurement(float(step), step < _STEPS, share, 1.0, 0.1, share)
  end = stop._replace(step=float(_STEPS), reached=True)
  empty = np.empty(0)
  return records.Result(
    replicate, index, arm, draw, density, empty, empty, stop, end, False, ()
  )._replace(**changes)  # fmt: skip


def run(config=None, **arms):
  """Returns a run; arms are `[replicate][round]` of (early stop, accuracy).

  Densities are 1, 1/2, 1/4, ...; None stands for no trial.
  """
  found = tuple(
    result(replicate, index, 0.5**index, *numbers, arm)
    for arm, replicates in arms.items()
    for replicate, rounds in enumerate(replicates)
    for index, numbers in enumerate(rounds)
    if numbers is not None
  )
  flat = configs.to_flat(configs.Config()) | {
    "rounds": max(each.round for each in found),
    "replicates": 1 + max(each.replicate for each in found),
    "arms": list(arms),
    "reinits": 1,
    "steps": 1000,
  }
  return records.Run("made up", flat | (config or {}), found)


def tickets(step, accuracy, density=(1.0, 0.5, 0.25, 0.125), **config):
  """Returns a run of tickets; step and accuracy (%) are `[R, K]`."""
  found = tuple(
    result(r, k, density[k], step[r][k], accuracy[r][k])
    for r in range(len(step))
    for k in range(len(step[r]))
  )
  planned = {"arms": ["ticket"], "rounds": max(map(len, step)) - 1}
  planned |= {"replicates": len(step)}
  return records.Run("test", synthetic_runs.config(**planned | config), found)


def ladder(accuracy, train=1.0, **config):
  """Returns a run of tickets at 0.8^k that end as they stop early."""
  step = [[1000.0 + k for k in range(len(row))] for row in accuracy]
  density = [0.8**k for k in range(max(map(len, accuracy)))]
  return change(
    tickets(step, accuracy, density, **config),
    lambda each: each._replace(
      end=each.early_stop._replace(reached=True, train_accuracy=train)
    ),
  )


def change(run, alter):
  """Returns a run with each result altered."""
  return dataclasses.replace(run, results=tuple(map(alter, run.results)))


def keep(run, wanted):
  """Returns a run with the results that are wanted."""
  return dataclasses.replace(run, results=tuple(filter(wanted, run.results)))


def add(run, *more):
  """Returns a run with more results."""
  return dataclasses.replace(run, results=(*run.results, *more))


def sample(estimator, quantity, place, against, *runs):
  """Returns what runs give for a claim that asks for this."""
  claim = claims.CLAIMS[0]._replace(
    estimator=estimator, quantity=quantity, place=place, against=against
  )
  return claims.measure(claim, *runs)
