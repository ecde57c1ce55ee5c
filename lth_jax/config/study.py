"""How much of a run is trained: rounds, replicates, arms and their draws."""

import dataclasses
from collections.abc import Iterator

from lth_jax.config import checks
from lth_jax.config.checks import Range

ARMS = (
  "ticket",
  "reinit",
  "redraw",
  "noise",
  "random",
  "random_global",
  "magnitude_at_start",
)
# Trials of the largest run: a report lists them all.
_MAX_TRIALS = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(checks.Section):
  """How much is trained; may grow from one call to the next."""

  rounds: int = checks.field(
    20, "Prunings after the dense round 0.", checks.within(0, 1000)
  )
  replicates: int = checks.field(
    5, "Independent repetitions.", checks.within(1, 10_000)
  )
  first_replicate: int = checks.field(
    0, "Index of the first replicate.", checks.INDEX
  )
  arms: tuple[str, ...] = checks.choice(
    ("ticket", "reinit", "random"),
    "What to train at each density; ticket is needed.",
    ARMS,
  )
  reinits: int = checks.field(
    3, "Fresh draws of weights for each ticket.", checks.within(1, 1000)
  )
  randoms: int = checks.field(
    1,
    "Random masks for each ticket, of 'random' and of 'random_global'.",
    checks.within(1, 1000),
  )
  noise: tuple[float, ...] = checks.field(
    (0.5, 1.0, 2.0, 3.0),
    "Levels of the arm 'noise': standard deviation of the noise added to a "
    "ticket's weights, in units of its layer's initial standard deviation.",
    Range(
      lambda levels: (
        checks.are_distinct(levels)
        and all(map(checks.ZERO_OR_FLOAT.allows, levels))
      ),
      "different levels of 0 or more, and below 1e38",
    ),
  )
  control_rounds: tuple[int, ...] = checks.field(
    (),
    "Rounds at which the controls are trained; by default all.",
    Range(
      lambda rounds: (
        all(r >= 1 for r in rounds) and checks.are_distinct(rounds)
      ),
      "rounds from 1 on, each once",
    ),
  )

  def _conflicts(self) -> Iterator[str]:
    if "ticket" not in self.arms:
      yield (
        "--arms lacks 'ticket': masks come from tickets, and every control is "
        "compared with one; add it."
      )
    if "noise" in self.arms and not self.noise:
      yield (
        "--noise has no level, but --arms asks for 'noise': give some, such as "
        "--noise=0.5,1, or leave the arm out."
      )
    for index in self.control_rounds:
      if index > self.rounds:
        yield (
          f"--control_rounds={checks.show(self.control_rounds)}: there is no "
          f"round {index} of --rounds={self.rounds}; leave it out."
        )
    draws = self.reinits + 2 * self.randoms + len(self.noise)
    kinds = len(self.arms) + draws
    if self.replicates * (self.rounds + 1) * kinds > _MAX_TRIALS:
      yield (
        f"--replicates={self.replicates}: with --rounds={self.rounds}, "
        f"--reinits={self.reinits} and the other arms these are more than "
        f"{_MAX_TRIALS:,} trials; ask for fewer."
      )
