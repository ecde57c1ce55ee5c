"""A run's records in one small file, to be kept with the code.

It has what claims and tables need of every lane, and test accuracy at a few
steps. `unpack` gives back a run that they cannot tell from the original, but
for these curves and for those of the validation loss.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lth_jax import configs, errors
from lth_jax.report import records

FORMAT = 1
# About so many steps of a test curve are kept, closer at the beginning.
_NUM_STEPS = 24
# Parts of the training at which claims look at accuracy.
_PARTS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 1)
_LANE = ("replicate", "round", "arm", "draw", "density", "diverged", "counted")
_POINT = records.Point._fields


def pack(run: records.Run, about: Mapping[str, Any]) -> str:
  """Returns the text of a run's file, one lane a line.

  Args:
    run: the run.
    about: whatever else is to be kept, such as how long it took.

  >>> from lth_jax.report import example
  >>> text = pack(example.run(ticket=[(500, 98.0)]), {"seconds": 12})
  >>> unpack(text)[1]
  {'seconds': 12}
  """
  header = {
    "format": FORMAT,
    "experiment": run.experiment,
    "config": run.config,
    "about": dict(about),
  }
  parts = {
    "lanes": [_lane(lane, run.config["steps"]) for lane in run.lanes],
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
    content = json.loads(text)
    if content["format"] != FORMAT:
      raise ValueError(f"format {content['format']!r} is not {FORMAT}")
    config = configs.to_flat(configs.from_flat(content["config"]))
    run = records.Run(
      str(content["experiment"]),
      config,
      tuple(_read_lane(lane) for lane in content["lanes"]),
      tuple(_read_look(look) for look in content["looks"]),
    )
    about = content["about"]
    if not run.lanes or not isinstance(about, dict):
      raise ValueError("no lanes, or nothing about them")
    return run, about
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    cause = f"no {error}" if isinstance(error, KeyError) else str(error)
    raise errors.InputError(
      f"damaged ({' '.join(cause.split())}); collect the results again."
    ) from error


def _lane(lane: records.Lane, num_steps: int) -> dict[str, Any]:
  chosen = _choose(np.asarray(lane.test_steps), num_steps)
  packed = {name: getattr(lane, name) for name in _LANE}
  return _rounded(packed) | {
    "early_stop": list(_rounded(lane.early_stop._asdict()).values()),
    "end": list(_rounded(lane.end._asdict()).values()),
    "test_steps": [int(lane.test_steps[i]) for i in chosen],
    "test_curve": [_round(lane.test_curve[i]) for i in chosen],
  }


def _choose(steps: np.ndarray, num_steps: int) -> list[int]:
  """Indices of the recorded steps nearest to those that are wanted."""
  if len(steps) == 0:
    return []
  early = np.geomspace(max(steps[-1], 1) / 200, max(steps[-1], 1), _NUM_STEPS)
  wanted = [0, *early, *(part * num_steps for part in _PARTS)]
  return sorted({int(np.argmin(np.abs(steps - step))) for step in wanted})


def _read_lane(content) -> records.Lane:
  return records.Lane(
    **{name: content[name] for name in _LANE},
    early_stop=_read_point(content["early_stop"]),
    end=_read_point(content["end"]),
    test_steps=np.array(content["test_steps"], float),
    test_curve=np.array(content["test_curve"], float),
    warnings=(),
  )


def _read_point(values) -> records.Point:
  found = dict(zip(_POINT, values, strict=True))
  return records.Point(**_numbers(found))


def _read_look(content) -> records.Look:
  return records.Look(**_numbers(content))


def _numbers(content: Mapping[str, Any]) -> dict[str, Any]:
  return {
    name: math.nan if value is None else value
    for name, value in content.items()
  }


def _rounded(content: Mapping[str, Any]) -> dict[str, Any]:
  return {name: _round(value) for name, value in content.items()}


def _round(value: Any) -> Any:
  """Six digits are more than any claim needs; JSON has no NaN."""
  if not isinstance(value, float):
    return value
  return float(f"{value:.6g}") if math.isfinite(value) else None
