"""The trials of a run; uses no jax, so that reports use it too.

A trial is one training of one replicate and arm in one round.
"""

from collections.abc import Iterator
from typing import NamedTuple

from lth_jax.config.configs import Config


class Trial(NamedTuple):
  """One training of a run.

  Attributes:
    replicate: index of the replicate.
    round: index of the round, 0 for the dense network.
    arm: one of `configs.ARMS`, "search", or "rewind_point", the dense network
      trained to the step that every round begins at.
    draw: index of the draw; None for an arm with one draw, and for the first
      random mask.
  """

  replicate: int
  round: int
  arm: str
  draw: int | None = None

  @property
  def name(self) -> str:
    """The trial's folder below the workdir."""
    suffix = "" if self.draw is None else f"_{self.draw}"
    return (
      f"replicate_{self.replicate}/round_{self.round:03d}/{self.arm}{suffix}"
    )

  @property
  def is_control(self) -> bool:
    """Whether the trial is of a control arm."""
    return self.arm not in ("ticket", "search", "rewind_point")


def owner(run_id: str, data: str, name: str) -> str:
  """Returns the text by which a stored result names its run, data and trial.

  `name` is the result's folder below the workdir.
  """
  return f"run {run_id}, data {data[:16]}, {name}"


def replicates(config: Config) -> range:
  """Returns the indices of a run's replicates."""
  first = config.study.first_replicate
  return range(first, first + config.study.replicates)


def of_round(config: Config, replicate: int, round_index: int) -> list[Trial]:
  """Lists the trials of a round, the ticket first.

  >>> from lth_jax.config import configs
  >>> config = {"arms": ["ticket", "reinit"], "reinits": 2}
  >>> found = of_round(configs.from_flat(config), replicate=0, round_index=7)
  >>> [trial.name for trial in found]
  ['replicate_0/round_007/ticket', 'replicate_0/round_007/reinit_0',
  'replicate_0/round_007/reinit_1']
  """
  trial = Trial(replicate, round_index, "ticket")
  if round_index == 0:
    return [*rewind_points(config, replicate), trial]
  found = [trial]
  continued = config.pruning.reset == "continued"
  if continued and round_index < config.study.rounds:
    found.append(trial._replace(arm="search"))
  return found + controls(config, replicate, round_index)


def trials(config: Config) -> Iterator[Trial]:
  """Yields all trials of a run in their order."""
  for replicate in replicates(config):
    for index in range(config.study.rounds + 1):
      yield from of_round(config, replicate, index)


def rewind_points(config: Config, replicate: int) -> list[Trial]:
  """Lists the trial that all others of a replicate begin from, if there is one.

  With `rewind_step` 0 they begin from theta_0, which is not trained.
  """
  trial = Trial(replicate, 0, "rewind_point")
  return [trial] if config.pruning.rewind_step else []


def steps(config: Config, trial: Trial) -> range:
  """Returns the steps that a trial is trained for: the first, and the end."""
  if trial.arm == "rewind_point":
    return range(config.pruning.rewind_step)
  return range(config.pruning.rewind_step, config.training.steps)


def keeps_optimizer_state(config: Config, trial: Trial) -> bool:
  """Returns whether a trial's result has the optimizer's state, for later."""
  rewound = config.pruning.optimizer_state == "rewound"
  return rewound and trial.arm == "rewind_point"


def controls(config: Config, replicate: int, round_index: int) -> list[Trial]:
  """Lists the control trials of a round; the dense round 0 has none."""
  chosen = config.study.control_rounds
  if round_index == 0 or (chosen and round_index not in chosen):
    return []
  study = config.study
  draws = {"reinit": range(study.reinits), "noise": range(len(study.noise))}
  # The first has the name of the times when there was no other.
  masks = None, *range(1, study.randoms)
  draws |= dict.fromkeys(("random", "random_global"), masks)
  return [
    Trial(replicate, round_index, arm, draw)
    for arm in sorted(set(study.arms) - {"ticket"})
    for draw in draws.get(arm, (None,))
  ]


def parent(config: Config, trial: Trial) -> Trial | None:
  """Returns the trial whose trained weights a trial's masks are pruned from.

  None for the dense network.

  >>> from lth_jax.config import configs
  >>> config = configs.from_flat({"reset": "continued"})
  >>> parent(config, Trial(0, 2, "reinit", 1)).name
  'replicate_0/round_001/search'
  """
  if trial.round == 0:
    return None
  if trial.round == 1 or config.pruning.pruning == "oneshot":
    return Trial(trial.replicate, 0, "ticket")
  arm = "search" if config.pruning.reset == "continued" else "ticket"
  return Trial(trial.replicate, trial.round - 1, arm)


def supplies_masks(config: Config, trial: Trial) -> bool:
  """Returns whether the masks of later rounds are pruned from a trial."""
  after = Trial(trial.replicate, trial.round + 1, "ticket")
  return trial == parent(config, after)


def num_at_once(config: Config) -> int:
  """Returns the largest number of trials that can run side by side."""
  counts = [
    len(of_round(config, 0, index)) for index in range(config.study.rounds + 1)
  ]
  return config.study.replicates * max(counts)
