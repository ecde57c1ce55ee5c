"""Which trials a run is to have, and which of them are missing."""

from typing import Any, NamedTuple

import numpy as np

from lth_jax.config import configs, plan
from lth_jax.report import records, statistics


class Key(NamedTuple):
  """Names a trial."""

  replicate: int
  round: int
  arm: str
  draw: int


def expected(run: records.Run) -> tuple[Key, ...]:
  """Lists the trials that the run has when it is finished.

  Where masks would come from a trial that diverged, the replicate's series has
  ended, and with it this list.

  >>> from lth_jax.config import configs
  >>> config = configs.to_flat(configs.Config())
  >>> config |= {"rounds": 1, "replicates": 1, "arms": ["ticket", "reinit"]}
  >>> [key[1:] for key in expected(records.Run("example", config, ()))]
  [(0, 'ticket', 0), (1, 'ticket', 0), (1, 'reinit', 0), (1, 'reinit', 1),
   (1, 'reinit', 2)]
  """
  config, ends = configs.from_flat(run.config), ended(run)
  return tuple(
    Key(
      replicate,
      index,
      *records.name_arm(run.config, trial.arm, trial.draw or 0),
    )
    for replicate in plan.replicates(config)
    for index in range(ends.get(replicate, config.study.rounds) + 1)
    for trial in plan.of_round(config, replicate, index)
  )


def missing(run: records.Run) -> tuple[Key, ...]:
  """Lists the trials that are still to be trained.

  >>> from lth_jax.config import configs
  >>> config = configs.to_flat(configs.Config())
  >>> config |= {"rounds": 1, "replicates": 1, "arms": ["ticket"]}
  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> missing(records.Run("example", config, (dense,)))
  (Key(replicate=0, round=1, arm='ticket', draw=0),)
  """
  found = {trial[:4] for trial in run.trials}
  return tuple(key for key in expected(run) if key not in found)


def ended(run: records.Run) -> dict[int, int]:
  """Returns the round in which the series of a replicate diverged, if any.

  >>> config = {"pruning": "iterative", "reset": "every_round"}
  >>> end = records.Point(500, True, 0.1, 0.1)
  >>> trial = records.Result(3, 7, "ticket", 0, 0.2, [], [], end, end, True, ())
  >>> ended(records.Run("example", config, (trial,)))
  {3: 7}
  """
  config, ends = configs.from_flat(run.config), dict[int, int]()
  for trial in run.trials:
    named = plan.Trial(trial.replicate, trial.round, trial.arm)
    if trial.diverged and plan.supplies_masks(config, named):
      found = ends.get(trial.replicate, trial.round)
      ends[trial.replicate] = min(found, trial.round)
  return ends


def last_round(flat: dict[str, Any], arm: str) -> int:
  """Returns the last round in which an arm is to be trained.

  >>> config = {"arms": ["ticket", "random"], "rounds": 9}
  >>> config |= {"reset": "every_round", "control_rounds": [2, 7]}
  >>> last_round(config, "ticket"), last_round(config, "random")
  (9, 7)
  """
  config = configs.from_flat(flat)
  return max(
    (
      index
      for index in range(config.study.rounds + 1)
      for trial in plan.of_round(config, 0, index)
      if records.name_arm(flat, trial.arm, trial.draw or 0)[0] == arm
    ),
    default=0,
  )


def short(
  run: records.Run, arm: str, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Finds the replicates that have less of an arm than was planned.

  Args:
    run: the run.
    arm: name of the arm.
    known: where there is a number of it, bool `[R, K]`.

  Returns:
    Those that end before the last planned density and get no further, bool
    `[R]` (a trial diverged), and those with trials still to be trained, `[R]`.

  >>> from lth_jax.config import configs
  >>> config = configs.to_flat(configs.Config()) | {"rounds": 2}
  >>> end = records.Point(500, True, 0.98, 1.0)
  >>> dense = records.Result(0, 0, "ticket", 0, 1.0, [], [], end, end, 0, ())
  >>> trials = dense, dense._replace(round=1, density=0.5)
  >>> run, known = records.Run("example", config, trials), np.ones((1, 2), bool)
  >>> short(run, "ticket", known)  # round 2 is still to be trained
  (array([False]), array([ True]))
  """
  axes = statistics.grid(run)
  to_come = {key.replicate for key in missing(run) if key.arm == arm}
  pending = np.isin(axes.replicates, list(to_come))
  last = last_round(run.config, arm)
  done = known[:, np.array(axes.rounds) >= last].any(axis=1)
  return known.any(axis=1) & ~done & ~pending, pending


def remark(left_out: np.ndarray, pending: np.ndarray) -> str:
  """Says how many replicates `short` found; "" if none.

  Args:
    left_out: as from `short`, bool `[R]`.
    pending: likewise.

  >>> remark(np.array([True, False, False]), np.array([False, False, True]))
  'left out, as a trial diverged: 1 of 3; not trained to the end yet: 1 of 3'
  """
  ended_early, unfinished, of = left_out.sum(), pending.sum(), len(pending)
  notes = (
    f"left out, as a trial diverged: {ended_early} of {of}"
    if ended_early
    else "",
    f"not trained to the end yet: {unfinished} of {of}" if unfinished else "",
  )
  return "; ".join(filter(None, notes))
