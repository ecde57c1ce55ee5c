"""Which trials a finished run has, and which of them are missing."""

from typing import NamedTuple

import numpy as np

from lth_jax.config import plan
from lth_jax.report import records


def expected(run: records.Run) -> tuple[plan.Trial, ...]:
  """Lists the trials of the run when it is finished.

  A replicate ends where its masks would come from a trial that diverged. Arms
  and draws are named as in a report (`records.name_arm`).
  """
  config, ends = run.typed_config, ended(run)
  return tuple(
    plan.Trial(replicate, index, *_name(run, trial))
    for replicate in plan.replicates(config)
    for index in range(ends.get(replicate, config.study.rounds) + 1)
    for trial in plan.of_round(config, replicate, index)
  )


def missing(run: records.Run) -> tuple[plan.Trial, ...]:
  """Lists the trials that are still to be trained."""
  found = {result[:4] for result in run.results}
  return tuple(trial for trial in expected(run) if trial not in found)


def ended(run: records.Run) -> dict[int, int]:
  """Returns {replicate: round in which its series of rounds diverged}."""
  ends = dict[int, int]()
  for result in run.results:
    trial = plan.Trial(result.replicate, result.round, result.arm)
    if result.diverged and plan.supplies_masks(run.typed_config, trial):
      found = ends.get(result.replicate, result.round)
      ends[result.replicate] = min(found, result.round)
  return ends


def last_round(run: records.Run, arm: str) -> int:
  """Returns the last round in which an arm is trained."""
  rounds = [
    index
    for index in range(run.typed_config.study.rounds + 1)
    for trial in plan.of_round(run.typed_config, 0, index)
    if _name(run, trial)[0] == arm
  ]
  return max(rounds, default=0)


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

  `known` tells where there is a number of it, bool `[R, K]`.
  """
  grid = run.grid
  to_come = {each.replicate for each in missing(run) if each.arm == arm}
  pending = np.isin(grid.replicates, list(to_come))
  last = last_round(run, arm)
  done = known[:, np.array(grid.rounds) >= last].any(axis=1)
  return Incomplete(known.any(axis=1) & ~done & ~pending, pending)


def _name(run: records.Run, trial: plan.Trial) -> tuple[str, int]:
  return records.name_arm(run.config, trial.arm, trial.draw or 0)
