"""A run's results in one small file, to be kept with the code.

It has all that claims and tables need of every trial, and test accuracy at a
few steps. A run that was packed and unpacked gives the same verdicts and
tables; its accuracy curves are thinner and its validation curves are gone.
Execution settings, such as paths of a machine, are left out.
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
from lth_jax.report import parsing, protocols, records, structure
from lth_jax.storage import files

FORMAT = 2
# About so many steps of a test curve are kept, more of them at the beginning.
_NUM_STEPS = 24
# Shares of the training at which claims and figures read the accuracy.
_SHARES = (
  *(1 / 50, 1 / 4, 1 / 2, 1),
  *itertools.chain(*protocols.MILESTONES.values()),
)
_SCALARS = (
  *("replicate", "round", "arm", "draw", "density", "diverged", "counted"),
  "steady_step",
)


def pack(run: records.Run, about: Mapping[str, Any]) -> str:
  """Returns the text of a run's file, one trial a line.

  `about` are further facts to keep, such as how long it took.
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
    "trials": [_pack(each, run.config["steps"]) for each in run.results],
    "tickets": [_rounded(each._asdict()) for each in run.tickets],
  }
  text = json.dumps(header, indent=1).removesuffix("\n}")
  for name, rows in parts.items():
    lines = ",\n".join(json.dumps(row) for row in rows)
    text += f',\n "{name}": [\n{lines}\n ]'
  return text + "\n}\n"


def unpack(text: str) -> tuple[records.Run, dict[str, Any]]:
  """Returns the run and the facts that `pack` was given.

  Raises:
    errors.InputError: the text is damaged or of another format.
  """
  try:
    content = files.parse(text)
    if content["format"] != FORMAT:
      raise ValueError(f"format {content['format']!r} is not {FORMAT}")
    run = records.Run(
      content["experiment"],
      configs.to_flat(configs.from_flat(content["config"])),
      tuple(map(_unpack, content["trials"])),
      tuple(map(_unpack_ticket, content["tickets"])),
    )
    return run, content["about"]
  except parsing.MALFORMED as error:
    raise errors.InputError(
      f"damaged ({parsing.cause(error)}); collect the results again."
    ) from error


def _pack(result: records.Result, num_steps: int) -> dict[str, Any]:
  chosen = _choose(np.asarray(result.test_steps), num_steps)
  packed = {name: getattr(result, name) for name in _SCALARS}
  return _rounded(packed) | {
    "early_stop": list(_rounded(result.early_stop._asdict()).values()),
    "end": list(_rounded(result.end._asdict()).values()),
    "test_steps": [int(result.test_steps[i]) for i in chosen],
    "test_curve": [_round(result.test_curve[i]) for i in chosen],
  }


def _choose(steps: np.ndarray, num_steps: int) -> list[int]:
  """Indices of the recorded steps nearest to the wanted ones."""
  if len(steps) == 0:
    return []
  last = max(steps[-1], 1)
  early = np.geomspace(last / 200, last, _NUM_STEPS)
  wanted = [0, *early, *(share * num_steps for share in _SHARES)]
  return sorted({int(np.argmin(np.abs(steps - step))) for step in wanted})


def _unpack(content: dict[str, Any]) -> records.Result:
  result = records.Result(
    **{name: content[name] for name in _SCALARS[:-1]},
    steady_step=_number(content.get("steady_step")),
    early_stop=_unpack_measurement(content["early_stop"]),
    end=_unpack_measurement(content["end"]),
    test_steps=np.array(content["test_steps"], float),
    test_curve=np.array(content["test_curve"], float),  # None becomes NaN
    warnings=(),
  )
  parsing.check_numbers(result)
  return result


def _unpack_measurement(values: list[Any]) -> records.Measurement:
  step, reached, *metrics = values
  return records.Measurement(_number(step), reached, *map(_number, metrics))


def _unpack_ticket(content: dict[str, Any]) -> structure.TicketStatistics:
  where = content["replicate"], content["round"], content["leaf"]
  names = structure.TicketStatistics._fields[len(where) :]
  numbers = (_number(content.get(name)) for name in names)
  return structure.TicketStatistics(*where, *numbers)


def _number(value: float | None) -> float:
  return math.nan if value is None else float(value)


def _rounded(content: Mapping[str, Any]) -> dict[str, Any]:
  return {name: _round(value) for name, value in content.items()}


def _round(value: Any) -> Any:
  """Six digits are more than any claim needs; JSON has no NaN."""
  if not isinstance(value, float):
    return value
  return float(f"{value:.6g}") if math.isfinite(value) else None
