"""A tiny run, for examples in docstrings."""

from collections.abc import Sequence

import numpy as np

from lth_jax.config import configs
from lth_jax.report import records

_NONE = np.empty(0)


def run(**arms: Sequence[tuple[float, ...] | None]) -> records.Run:
  """Returns a run of one replicate at the densities 1, 1/2, 1/4, ...

  Args:
    arms: of each arm and density the early-stop step and the test accuracy in
      percent; then, if not 100, the train accuracy; None where there is no
      trial. Early stop and end of the training are alike.

  >>> found = run(ticket=[(500, 98.0), (300, 98.5)], reinit=[None, (600, 97.0)])
  >>> [(trial.arm, trial.density) for trial in found.trials]
  [('ticket', 1.0), ('ticket', 0.5), ('reinit', 0.5)]
  """
  trials = tuple(
    records.Result(
      0, k, arm, 0, 0.5**k, _NONE, _NONE, end, end, False, (), counted=1000
    )
    for arm, measured in arms.items()
    for k, point in enumerate(measured)
    if point is not None
    for end in [_point(*point)]
  )
  rounds = max(map(len, arms.values())) - 1
  config = configs.to_flat(configs.Config())
  config |= {"rounds": rounds, "replicates": 1, "reinits": 1}
  config |= {"arms": list(arms), "steps": 1000}
  return records.Run("example", config, trials)


def _point(step, test, train=100.0) -> records.Point:
  return records.Point(step, True, test / 100, train / 100, valid_loss=0.1)
