"""Reads a run's records from its folder into a `Run`."""

import dataclasses
import functools
import hashlib
import math
import re
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from lth_jax import errors
from lth_jax.config import configs, plan
from lth_jax.report import environments, origins, parsing, pooling, structure
from lth_jax.storage import files

# Folders with other names, such as "replicate_0 copy", are a person's.
_TRIAL_NAME = re.compile(r"replicate_\d+/round_\d+/[a-z]\w*/commit\.json")
# The smoothed minimum of a loss: evaluations in the moving average, and how
# near the least average counts as reached. Both are ours.
_WINDOW, _NEAR = 5, 1.01


class Measurement(NamedTuple):
  """Metrics of a trial at one step; NaN where one was not measured.

  Attributes:
    step: training step.
    reached: False if the validation loss was still falling at the last
      evaluation, so that an early-stop `step` is only a lower bound.
    test_accuracy: fraction in [0, 1].
    train_accuracy: fraction in [0, 1].
    valid_loss: mean loss on the validation images, nats.
    valid_accuracy: fraction in [0, 1].
  """

  step: float
  reached: bool
  test_accuracy: float
  train_accuracy: float
  valid_loss: float = math.nan
  valid_accuracy: float = math.nan


class Result(NamedTuple):
  """The record of one trial.

  Attributes:
    replicate: index of the replicate.
    round: pruning round; 0 is the dense network, whose arm is "ticket".
    arm: "search", "rewind_point" or one of `configs.ARMS`; each level of noise
      is an arm of its own, such as "noise 0.5".
    draw: index of the draw within the arm, 0 if there is only one.
    density: kept / counted weights, in (0, 1].
    test_steps: steps of the test accuracy curve, `[T]`.
    test_curve: test accuracy at these steps, fractions, `[T]`.
    early_stop: metrics at the minimum of the validation loss.
    end: metrics at the last step.
    diverged: whether the training loss became infinite or NaN.
    warnings: sentences for the reader.
    valid_steps: steps of the validation loss curve, `[V]`.
    valid_curve: mean validation loss at these steps, nats, `[V]`.
    counted: number of weights that a density is a fraction of.
    steady_step: early-stop step by the smoothed validation loss.
  """

  replicate: int
  round: int
  arm: str
  draw: int
  density: float
  test_steps: np.ndarray
  test_curve: np.ndarray
  early_stop: Measurement
  end: Measurement
  diverged: bool
  warnings: tuple[str, ...]
  valid_steps: np.ndarray = np.empty(0)
  valid_curve: np.ndarray = np.empty(0)
  counted: int = 0
  steady_step: float = math.nan


class Grid(NamedTuple):
  """The results of a run on the axes of every table.

  Attributes:
    replicates: `[R]`, ascending.
    rounds: `[K]`, ascending.
    density: kept / counted weights of each round, `[K]`.
    results: {arm: {(replicate, round): its draws}}.
  """

  replicates: tuple[int, ...]
  rounds: tuple[int, ...]
  density: np.ndarray
  results: dict[str, dict[tuple[int, int], list[Result]]]


@dataclasses.dataclass(frozen=True)
class Run:
  """A run as found on disk.

  Attributes:
    experiment: its name.
    config: its flat configuration.
    results: one for each committed trial, sorted by replicate, round, arm and
      draw.
    tickets: statistics of its tickets; empty before they are described.
    pooled: histograms of these, for drawings.
    software: versions of lth_jax that trained it, such as "lth_jax 0.1.0,
      commit 0a1b2c3"; empty for runs that recorded none.
  """

  experiment: str
  config: dict[str, Any]
  results: tuple[Result, ...]
  tickets: tuple[structure.TicketStatistics, ...] = ()
  pooled: tuple[pooling.Pooled, ...] = ()
  software: tuple[str, ...] = ()

  @functools.cached_property
  def typed_config(self) -> configs.Config:
    """The configuration as the runner has it."""
    return configs.from_flat(self.config)

  @functools.cached_property
  def grid(self) -> Grid:
    """The results by arm, replicate and round."""
    density: dict[int, float] = {}
    results: dict[str, dict[tuple[int, int], list[Result]]] = {}
    # A control of one's own may have other masks than its ticket.
    for each in sorted(self.results, key=lambda x: x.arm != "ticket"):
      density.setdefault(each.round, each.density)
      cells = results.setdefault(each.arm, {})
      cells.setdefault((each.replicate, each.round), []).append(each)
    rounds = tuple(sorted(density))
    return Grid(
      tuple(sorted({each.replicate for each in self.results})),
      rounds,
      np.array([density[index] for index in rounds]),
      results,
    )


def read(workdir: epath.PathLike) -> Run:
  """Reads config.json and every committed record below `workdir`.

  A trial without commit.json is still being written and is left out. Results
  must follow from one another (`origins`).

  Raises:
    errors.InputError: no run, no committed trial, or a damaged file.
  """
  root = epath.Path(workdir)
  stored = _read_config(root)
  config = configs.from_flat(stored["config"])
  flat = configs.to_flat(config)
  found, digests = [], []
  for path in _commits(root):
    name = path.parent.relative_to(root).as_posix()
    owner = plan.owner(stored["run_id"], stored["data"], name)
    facts, result = _read_record(path, owner, name, config)
    arm, draw = name_arm(flat, result.arm, result.draw)
    found.append(result._replace(arm=arm, draw=draw))
    digests.append((path.parent, facts))
  trained = {(x.replicate, x.round) for x in found if x.arm == "ticket"}
  described = structure.load(root, trained)
  for replicate, each in described.items():
    path = root / f"replicate_{replicate}" / "structure.json"
    digests.append((path, each.digests))
  origins.check(digests)
  return Run(
    stored["experiment"],
    flat,
    tuple(sorted(found, key=lambda each: each[:4])),
    tuple(x for each in described.values() for x in each.tickets),
    pooling.pool([each.rounds for each in described.values()]),
    environments.software(root / "env.json"),
  )


def steady_step(steps: np.ndarray, losses: np.ndarray) -> float:
  """Returns the first step within 1% of the least smoothed loss.

  The minimum of a flat, noisy curve may lie anywhere; this one is robust.
  Losses, `[V]`, are averaged over five evaluations; NaN is left out.
  """
  known = np.isfinite(losses)
  if not known.any():
    return math.nan
  odd = len(losses) - (len(losses) + 1) % 2
  window = np.ones(min(_WINDOW, odd))
  total, count = (
    np.convolve(x, window, "same") for x in (np.where(known, losses, 0), known)
  )
  smooth = np.where(count > 0, total / np.maximum(count, 1), math.inf)
  return float(steps[np.argmax(smooth <= _NEAR * smooth.min())])


def committed(workdir: epath.Path) -> list[epath.Path]:
  """Returns the commit.json of every finished trial, sorted."""
  return sorted(
    path
    for path in workdir.glob("replicate_*/round_*/*/commit.json")
    if _TRIAL_NAME.fullmatch(path.relative_to(workdir).as_posix())
  )


def name_arm(config: dict[str, Any], arm: str, draw: int) -> tuple[str, int]:
  """Returns the arm and draw by which reports name a trial.

  Reports average the draws of an arm. Levels of noise are no draws: each
  becomes an arm, such as ("noise 2", 0) for draw 1 of noise levels 0.5 and 2.

  Raises:
    errors.InputError: the configuration has no such level of noise.
  """
  if arm != "noise":
    return arm, draw
  levels = config["noise"]
  if not 0 <= draw < len(levels):
    raise errors.InputError(
      f"--noise={configs.show(tuple(levels))}: there is a stored level "
      f"{draw + 1}; ask for the levels that the run was stored with."
    )
  return f"noise {levels[draw]:g}", 0


def _read_config(root: epath.Path) -> dict[str, Any]:
  path = root / "config.json"
  if not path.exists():
    raise errors.InputError(
      f"{root}: no config.json here; --workdir must name the folder of a run."
    )
  remedy = f"remove it and start the run again with --flagfile={root}/run.flags"
  return parsing.load(path, _parse_config, remedy)


def _parse_config(content: dict[str, Any]) -> dict[str, Any]:
  stored = files.verify_checksum(content)
  kinds = {"config": dict, "experiment": str, "run_id": str, "data": str}
  for name, kind in kinds.items():
    if not isinstance(stored[name], kind):
      raise ValueError(f"{name} is no {kind.__name__}")
  return stored


def _commits(root: epath.Path) -> list[epath.Path]:
  """The commits of all finished trials; at least one."""
  found = committed(root)
  if not found:
    raise errors.InputError(
      f"{root}: no trial of this run is complete yet; start the run again, let "
      "it pass its first round, then ask for the report."
    )
  return found


def _read_record(
  commit: epath.Path, owner: str, name: str, config: configs.Config
) -> tuple[origins.Digests, Result]:
  """Reads a record whose commit names its owner and its SHA-256."""
  remedy = "start the run again, which trains this trial again"
  found, digest = parsing.load(
    commit, lambda x: (x["owner"], x["files"]["record.json"]), remedy
  )
  if found != owner:
    raise errors.InputError(
      f"{commit.parent} belongs to {found!r}: it was copied here from another "
      "place; remove it."
    )
  path = commit.with_name("record.json")

  def parse(content):
    result = _result(content, name)
    return origins.of_record(config, content), result

  facts, result = parsing.load(path, parse, remedy)
  if digest != hashlib.sha256(path.read_bytes()).hexdigest():
    raise errors.InputError(
      f"{path}: damaged (not as it was written); {remedy}."
    )
  return facts, result


def _result(content: dict[str, Any], name: str) -> Result:
  words = plan.Trial(*(content[field] for field in plan.Trial._fields))
  if words.name != name:
    raise ValueError(
      f"{', '.join(words._fields)} differ from the folder's name"
    )
  tests, evaluations = content["tests"], content["evaluations"]
  valid_steps = _floats(evaluations["step"])
  valid_curve = _floats(evaluations["valid_loss"])
  result = Result(
    replicate=content["replicate"],
    round=content["round"],
    arm=content["arm"],
    draw=content["draw"] or 0,
    density=content["density"],
    test_steps=_floats(tests["step"]),
    test_curve=_floats(tests["accuracy"]),
    early_stop=_measurement(content["early_stop"]),
    end=_measurement(content["end"]),
    diverged=content["diverged"],
    warnings=tuple(content["warnings"]),
    valid_steps=valid_steps,
    valid_curve=valid_curve,
    counted=content["counted"],
    steady_step=steady_step(valid_steps, valid_curve),
  )
  parsing.check_numbers(result)
  return result


def _measurement(content: dict[str, Any] | None) -> Measurement:
  if content is None:
    return Measurement(math.nan, False, math.nan, math.nan)
  metrics = {name: content[name] for name in Measurement._fields[2:]}
  return Measurement(
    step=float(content["step"]),
    reached=content.get("reached", True),
    **{name: float("nan" if x is None else x) for name, x in metrics.items()},
  )


def _floats(values: list[float | None]) -> np.ndarray:
  return np.array(values, float)  # None becomes NaN
