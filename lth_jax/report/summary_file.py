"""A run's records in one small file, to be kept with the code.

It has what claims and tables need of every trial, and test accuracy at a few
steps. `unpack` gives back a run that they cannot tell from the original, but
for these curves and those of the validation loss. How it was computed is left
out: paths of a machine have no place here.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.report import protocols, records
from lth_jax.storage import files

FORMAT = 1
# About so many steps of a test curve are kept, closer at the beginning.
_NUM_STEPS = 24
# Parts of the training at which claims and figures look at accuracy.
_PARTS = (
  *(1 / 50, 1 / 4, 1 / 2, 1),
  *itertools.chain(*protocols.MILESTONES.values()),
)
_TRIAL = (
  *("replicate", "round", "arm", "draw", "density", "diverged", "counted"),
  "steady_step",
)
_POINT = records.Point._fields


def pack(run: records.Run, about: Mapping[str, Any]) -> str:
  """Returns the text of a run's file, one trial a line.

  Args:
    run: the run.
    about: whatever else is to be kept, such as how long it took.

  >>> from lth_jax.report import example
  >>> text = pack(example.run(ticket=[(500, 98.0)]), {"seconds": 12})
  >>> unpack(text)[1]
  {'seconds': 12}
  """
  config = configs.from_flat(run.config)
  config = dataclasses.replace(config, execution=configs.Execution())
  header = {
    "format": FORMAT,
    "experiment": run.experiment,
    "config": configs.to_flat(config),
    "about": dict(about),
  }
  parts = {
    "trials": [_trial(trial, run.config["steps"]) for trial in run.trials],
    "looks": [_rounded(look._asdict()) for look in run.looks],
  }
  text = json.dumps(header, indent=1).removesuffix("\n}")
  for name, rows in parts.items():
    lines = ",\n".join(json.dumps(row) for row in rows)
    text += f',\n "{name}": [\n{lines}\n ]'
  return text + "\n}\n"


def unpack(text: str) -> tuple[records.Run, dict[str, Any]]:
  """Returns what `pack` was given.

  Args:
    text: content of the file.

  Raises:
    errors.InputError: it is damaged or of another format.

  >>> unpack("{}")
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: damaged (no 'format'); collect the results again.
  """
  try:
    content = files.parse(text)
    if content["format"] != FORMAT:
      raise ValueError(f"format {content['format']!r} is not {FORMAT}")
    asked = configs.from_flat(content["config"])
    config = configs.to_flat(asked)
    run = records.Run(
      str(content["experiment"]),
      config,
      tuple(_read_trial(trial) for trial in content["trials"]),
      tuple(_read_look(look) for look in content["looks"]),
    )
    about = content["about"]
    if not run.trials or not isinstance(about, dict):
      raise ValueError("no trials, or nothing about them")
    return run, about
  except records.MALFORMED as error:
    raise errors.InputError(
      f"damaged ({records.cause(error)}); collect the results again."
    ) from error


def _trial(trial: records.Result, num_steps: int) -> dict[str, Any]:
  chosen = _choose(np.asarray(trial.test_steps), num_steps)
  packed = {name: getattr(trial, name) for name in _TRIAL}
  return _rounded(packed) | {
    "early_stop": list(_rounded(trial.early_stop._asdict()).values()),
    "end": list(_rounded(trial.end._asdict()).values()),
    "test_steps": [int(trial.test_steps[i]) for i in chosen],
    "test_curve": [_round(trial.test_curve[i]) for i in chosen],
  }


def _choose(steps: np.ndarray, num_steps: int) -> list[int]:
  """Indices of the recorded steps nearest to those that are wanted."""
  if len(steps) == 0:
    return []
  early = np.geomspace(max(steps[-1], 1) / 200, max(steps[-1], 1), _NUM_STEPS)
  wanted = [0, *early, *(part * num_steps for part in _PARTS)]
  return sorted({int(np.argmin(np.abs(steps - step))) for step in wanted})


def _read_trial(content) -> records.Result:
  trial = records.Result(
    replicate=int(content["replicate"]),
    round=int(content["round"]),
    arm=str(content["arm"]),
    draw=int(content["draw"]),
    density=float(content["density"]),
    diverged=bool(content["diverged"]),
    counted=int(content["counted"]),
    steady_step=_number(content.get("steady_step")),
    early_stop=_read_point(content["early_stop"]),
    end=_read_point(content["end"]),
    test_steps=np.array([float(x) for x in content["test_steps"]]),
    test_curve=np.array([_number(x) for x in content["test_curve"]]),
    warnings=(),
  )
  if trial.test_steps.shape != trial.test_curve.shape:
    raise ValueError("test steps and accuracies differ in length")
  return records.check(trial)


def _read_point(values) -> records.Point:
  found = dict(zip(_POINT, values, strict=True))
  reached = bool(found.pop("reached"))
  return records.Point(
    reached=reached, **{name: _number(value) for name, value in found.items()}
  )


def _read_look(content) -> records.Look:
  where = int(content["replicate"]), int(content["round"]), str(content["leaf"])
  numbers = (_number(content.get(name)) for name in records.Look._fields[3:])
  return records.Look(*where, *numbers)


def _number(value: Any) -> float:
  return math.nan if value is None else float(value)


def _rounded(content: Mapping[str, Any]) -> dict[str, Any]:
  return {name: _round(value) for name, value in content.items()}


def _round(value: Any) -> Any:
  """Six digits are more than any claim needs; JSON has no NaN."""
  if not isinstance(value, float):
    return value
  return float(f"{value:.6g}") if math.isfinite(value) else None
