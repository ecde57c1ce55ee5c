"""A run's results in one small file, to be kept with the code.

It has all that claims and tables need of every trial, and test accuracy at a
few steps. A run that was packed and unpacked gives the same verdicts and
tables. Curves and histograms are kept as far as drawings need them, and
thinner. Execution settings, such as paths of a machine, are left out.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.report import parsing, pooling, protocols, records, structure
from lth_jax.report.figures import curves, distributions
from lth_jax.storage import files

FORMAT = 2
# About so many steps of a test curve are kept, more of them at the beginning.
_NUM_STEPS = 24
# And so many more, equally far apart, of a curve that is drawn.
_NUM_DRAWN, _LAST_DRAWN = 60, 15_000
_CURVES = {"figure_3", "figure_11"}
# Shares of the training at which claims and figures read the accuracy.
_SHARES = (
  *(1 / 50, 1 / 4, 1 / 2, 1),
  *itertools.chain(*protocols.MILESTONES.values()),
)
_SCALARS = (
  *("replicate", "round", "arm", "draw", "density", "diverged", "counted"),
  "steady_step",
)


def pack(
  run: records.Run, about: Mapping[str, Any], drawings: Collection[str] = ()
) -> str:
  """Returns the text of a run's file, one trial a line.

  Args:
    run: the run.
    about: further facts to keep, such as how long it took.
    drawings: names of figures that are drawn from the file, such as "moved".
  """
  config = configs.from_flat(run.config)
  config = dataclasses.replace(config, execution=configs.Execution())
  header = {
    "format": FORMAT,
    "experiment": run.experiment,
    "config": configs.to_flat(config),
    "about": dict(about),
  }
  drawn = curves.shown(run) if _CURVES.intersection(drawings) else set()
  pooled: Sequence[pooling.Pooled] = ()
  if set(distributions.NAMES).intersection(drawings):
    pooled = pooling.nearest(run.pooled, distributions.SHOWN)
  parts = {
    "trials": [
      _pack(each, run.config["steps"], (each.arm, each.round) in drawn)
      for each in run.results
    ],
    "tickets": [_rounded(each._asdict()) for each in run.tickets],
    "pooled": pooling.to_json(pooled),
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
      pooling.from_json(content.get("pooled", ())),
    )
    return run, content["about"]
  except parsing.MALFORMED as error:
    raise errors.InputError(
      f"damaged ({parsing.cause(error)}); collect the results again."
    ) from error


def _pack(
  result: records.Result, num_steps: int, is_drawn: bool
) -> dict[str, Any]:
  packed = {name: getattr(result, name) for name in _SCALARS}
  found = _rounded(packed) | {
    "early_stop": list(_rounded(result.early_stop._asdict()).values()),
    "end": list(_rounded(result.end._asdict()).values()),
  }
  for kind in ("test", "valid") if is_drawn else ("test",):
    steps, curve = (getattr(result, f"{kind}_{x}") for x in ("steps", "curve"))
    chosen = _choose(np.asarray(steps), num_steps, is_drawn)
    found[f"{kind}_steps"] = [int(steps[i]) for i in chosen]
    found[f"{kind}_curve"] = [_round(curve[i]) for i in chosen]
  return found


def _choose(steps: np.ndarray, num_steps: int, is_drawn: bool) -> list[int]:
  """Indices of the recorded steps nearest to the wanted ones."""
  if len(steps) == 0:
    return []
  last = max(steps[-1], 1)
  early = np.geomspace(last / 200, last, _NUM_STEPS)
  wanted = [0, *early, *(share * num_steps for share in _SHARES)]
  if is_drawn:
    wanted += [*np.linspace(0, min(last, _LAST_DRAWN), _NUM_DRAWN)]
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
    valid_steps=np.array(content.get("valid_steps", ()), float),
    valid_curve=np.array(content.get("valid_curve", ()), float),
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
