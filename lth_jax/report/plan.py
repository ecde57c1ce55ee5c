"""Which trials a finished run has, and which of them are missing."""

from typing import Any, NamedTuple

import numpy as np

from lth_jax.config import configs, plan
from lth_jax.report import records


class Key(NamedTuple):
  """Names a trial as a report does (`records.name_arm`)."""

  replicate: int
  round: int
  arm: str
  draw: int


def expected(run: records.Run) -> tuple[Key, ...]:
  """Lists the trials of the run when it is finished.

  A replicate ends where its masks would come from a trial that diverged.

  Args:
    run: the run.
  """
  config, ends = configs.from_flat(run.config), ended(run)
  return tuple(
    Key(replicate, index, *_name(run.config, trial))
    for replicate in plan.replicates(config)
    for index in range(ends.get(replicate, config.study.rounds) + 1)
    for trial in plan.of_round(config, replicate, index)
  )


def missing(run: records.Run) -> tuple[Key, ...]:
  """Lists the trials that are still to be trained.

  Args:
    run: the run.
  """
  found = {result[:4] for result in run.results}
  return tuple(key for key in expected(run) if key not in found)


def ended(run: records.Run) -> dict[int, int]:
  """Returns the round in which each series of rounds diverged.

  Args:
    run: the run.

  Returns:
    {replicate: round}, without the replicates that did not diverge.
  """
  config, ends = configs.from_flat(run.config), dict[int, int]()
  for result in run.results:
    trial = plan.Trial(result.replicate, result.round, result.arm)
    if result.diverged and plan.supplies_masks(config, trial):
      found = ends.get(result.replicate, result.round)
      ends[result.replicate] = min(found, result.round)
  return ends


def last_round(config: dict[str, Any], arm: str) -> int:
  """Returns the last round in which an arm is trained.

  Args:
    config: the flat configuration of a run.
    arm: its name.
  """
  asked = configs.from_flat(config)
  return max(
    (
      index
      for index in range(asked.study.rounds + 1)
      for trial in plan.of_round(asked, 0, index)
      if _name(config, trial)[0] == arm
    ),
    default=0,
  )


class Incomplete(NamedTuple):
  """Replicates that have less of an arm than was planned, bool `[R]` each.

  Attributes:
    diverged: they end before the last planned density, as a trial diverged.
    pending: some of their trials are still to be trained.
  """

  diverged: np.ndarray
  pending: np.ndarray

  @property
  def pending_note(self) -> str:
    """A remark on those to be trained; "" if there are none."""
    if not self.pending.any():
      return ""
    count, of = self.pending.sum(), len(self.pending)
    return f"not trained to the end yet: {count} of {of}"

  @property
  def note(self) -> str:
    """A remark on both kinds; "" if all replicates are complete."""
    if not self.diverged.any():
      return self.pending_note
    count, of = self.diverged.sum(), len(self.diverged)
    left_out = f"left out, as a trial diverged: {count} of {of}"
    return "; ".join(filter(None, (left_out, self.pending_note)))


def incomplete(run: records.Run, arm: str, known: np.ndarray) -> Incomplete:
  """Finds the replicates that have less of an arm than was planned.

  Args:
    run: the run.
    arm: its name.
    known: where there is a number of it, bool `[R, K]`.
  """
  grid = run.grid
  to_come = {key.replicate for key in missing(run) if key.arm == arm}
  pending = np.isin(grid.replicates, list(to_come))
  last = last_round(run.config, arm)
  done = known[:, np.array(grid.rounds) >= last].any(axis=1)
  return Incomplete(known.any(axis=1) & ~done & ~pending, pending)


def _name(config: dict[str, Any], trial: plan.Trial) -> tuple[str, int]:
  return records.name_arm(config, trial.arm, trial.draw or 0)
