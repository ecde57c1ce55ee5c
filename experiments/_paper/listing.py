"""The list of rows: what each shows, its commands, its cost, its state."""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence

from etils import epath

from experiments._paper import catalog
from lth_jax import runner
from lth_jax.config import configs
from lth_jax.config.configs import Config
from lth_jax.report import plan, records

_HEAD = f"""\
Time (h:mm:ss) is a rough sum over all trainings, on 2 CPU cores.
Where data are not found, add --data_dir=DIR. Figure {catalog.NETWORKS} shows \
the networks and
needs no training: python -m experiments.paper --figure={catalog.NETWORKS}
"""
_LINE = "{:<24}{:<56}{:<6}{:>5}{:>10}{:>12}  {}"

# Milliseconds a step, evaluation included, measured on 2 CPU cores: by model,
# at a number of images a step, by width.
_MILLISECONDS = {
  "lenet": (60, {1.0: 0.71}),
  "conv2": (60, {1.0: 70.0, 0.25: 14.4}),
  "conv4": (60, {1.0: 122.0}),
  "conv6": (60, {1.0: 183.0}),
  "resnet20": (128, {1.0: 338.0, 0.5: 144.0}),
  "vgg19": (64, {1.0: 1259.0, 0.125: 31.0}),
}


def text(
  rows: Sequence[catalog.Row], scale: str, folder: epath.Path | None
) -> str:
  """Lists rows; of a part of them also the command of each run.

  The state of runs is that in `folder`; None leaves it out.
  """
  columns = "row", "figures", "scale", "runs", "trainings", "time", "state"
  lines = [_HEAD, _LINE.format(*columns)]
  where = folder or "runs/paper"
  for row in rows:
    row_flags = f"--row={row.name}", f"--scale={scale}", f"--workdir={where}"
    lines += [_numbers(row, scale, folder), f"  {row.what}"]
    lines.append(_command("paper", *row_flags))
    if len(rows) < len(catalog.ROWS):
      lines += [
        _command("mnist_lenet", *run.arguments, f"--workdir={where}/{run.name}")
        for run in row.scales[scale]
      ]
  return "\n".join(lines) + "\n"


def _command(module: str, *arguments: str) -> str:
  return "  " + shlex.join(
    ["python", "-m", f"experiments.{module}", *arguments]
  )


def _numbers(row: catalog.Row, scale: str, folder: epath.Path | None) -> str:
  runs = {run.name: catalog.config(run) for run in row.scales[scale]}
  counts = {name: catalog.num_trainings(runs[name]) for name in runs}
  needed = sum(counts[name] * _seconds(runs[name]) for name in runs)
  return _LINE.format(
    row.name,
    ", ".join(row.figures),
    scale,
    len(runs),
    sum(counts.values()),
    runner.duration(needed),
    "-" if folder is None else _state(runs, folder),
  )


def _seconds(config: Config) -> float:
  """Estimates the time of one training, from the nearest measured width."""
  width = config.model.width
  images, known = _MILLISECONDS[config.model.model]
  nearest = min(known, key=lambda each: abs(math.log(each / width)))
  step = known[nearest] * width / nearest * config.training.batch_size / images
  return config.training.steps * step / 1000


def _state(runs: Mapping[str, Config], folder: epath.Path) -> str:
  done = planned = 0
  for name, config in runs.items():
    run = records.Run(name, configs.to_flat(config), ())
    if records.committed(folder / name):
      stored = records.read(folder / name)
      found = configs.from_flat(stored.config)
      if configs.run_id(found) != configs.run_id(config):
        return "other runs are there"
      run = dataclasses.replace(stored, config=run.config)
    expected = len(plan.expected(run))
    planned += expected
    done += expected - len(plan.missing(run))
  if done == planned:
    return "complete"
  return f"{done} of {planned} trainings" if done else "not begun"
