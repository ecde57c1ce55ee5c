"""Reads the records of a run from its folder, and refuses damaged ones."""

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from etils import epath

from lth_jax import errors
from lth_jax.config import checks, configs, plan
from lth_jax.storage import files

FORMAT = 3
# Of steps, rounds and all else that is counted.
_LARGEST = 2**53
# What reading a file raises that is not as it was written.
MALFORMED = (
  *(KeyError, TypeError, ValueError, AttributeError, OverflowError),
  RecursionError,
)
# Others, such as "replicate_0 copy", are a person's and no part of the run.
_TRIAL_NAME = re.compile(r"replicate_\d+/round_\d+/[a-z]\w*/commit\.json")
_T = TypeVar("_T")
# What the report cannot do without; the rest of the configuration is shown.
_CONFIG_FIELDS = (
  "arms",
  "batch_size",
  "control_rounds",
  "dataset",
  "eval_every",
  "first_replicate",
  "hidden",
  "learning_rate",
  "matmul_precision",
  "num_valid",
  "optimizer",
  "order",
  "pruning",
  "rates",
  "reinits",
  "replicates",
  "reset",
  "rounds",
  "scaling",
  "scope",
  "steps",
)


class Point(NamedTuple):
  """What was measured at one step of a training; NaN where it was not.

  Attributes:
    step: training step.
    reached: False if the validation loss was still falling at the last
      evaluation, so that `step` is only a lower bound.
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
  """One training: a replicate, a round, an arm, a draw.

  Attributes:
    replicate: number of the replicate.
    round: pruning round; 0 is the dense network, whose arm is "ticket".
    arm: "search" or one of `configs.ARMS`, each level of noise one of its own,
      such as "noise 0.5".
    draw: number of the draw within the arm, 0 where there is one.
    density: kept / counted weights, in (0, 1].
    test_steps: steps of the accuracy curve, `[T]`.
    test_curve: test accuracy there, fractions, `[T]`.
    early_stop: at the minimum of the validation loss.
    end: at the last step.
    diverged: the training loss was not finite.
    warnings: sentences for the reader.
    valid_steps: steps of the validation curve, `[V]`.
    valid_curve: mean loss on the validation images there, nats, `[V]`.
    counted: weights that a density is a fraction of.
    steady_step: early stop by the smoothed validation loss (`steady_step`).
  """

  replicate: int
  round: int
  arm: str
  draw: int
  density: float
  test_steps: np.ndarray
  test_curve: np.ndarray
  early_stop: Point
  end: Point
  diverged: bool
  warnings: tuple[str, ...]
  valid_steps: np.ndarray = np.empty(0)
  valid_curve: np.ndarray = np.empty(0)
  counted: int = 0
  steady_step: float = math.nan


class Look(NamedTuple):
  """What one leaf of a ticket looks like, in numbers (`looks`).

  Attributes:
    replicate: number of the replicate.
    round: pruning round.
    leaf: name of the leaf.
    kept: fraction of its weights that the ticket keeps.
    valley: how dense its initial weights lie near zero, relative to how dense
      they lie around one standard deviation; below 1 they have two peaks.
    positive: percent of its initial weights above zero.
    moved: |trained - initial| of the dense network's weights, mean over those
      in the ticket divided by the mean over the others.
    grown: percent of the dense network's weights that grew in magnitude, of
      those in the ticket minus of the others.
    uneven_in: standard deviation of the connections kept into a unit, over that
      of as many kept at random.
    uneven_out: likewise out of a unit.
    border: fraction of connections kept from pixels at the image's border, over
      that from the others; NaN where inputs are no pixels.
    trough: how many pixels keep a fraction halfway between these two, relative
      to how many keep about as much as either; below 1 there are two peaks.
  """

  replicate: int
  round: int
  leaf: str
  kept: float
  valley: float
  positive: float
  moved: float
  grown: float
  uneven_in: float
  uneven_out: float
  border: float
  trough: float = math.nan


class Run(NamedTuple):
  """A run as found on disk.

  Attributes:
    experiment: its name.
    config: its flat configuration.
    trials: what is committed, sorted by replicate, round, arm and draw.
    looks: what its tickets look like; none before they are described.
  """

  experiment: str
  config: dict[str, Any]
  trials: tuple[Result, ...]
  looks: tuple[Look, ...] = ()


def read(workdir: epath.PathLike) -> Run:
  """Reads config.json and every committed record below `workdir`.

  A trial without commit.json is still being written and is left out. Trials
  must have been derived from the same images, theta_0, split, masks of their
  round and trained weights that these were pruned from; so must descriptions.

  Args:
    workdir: folder of a run.

  Returns:
    The run, trials sorted by replicate, round, arm and draw.

  Raises:
    errors.InputError: no run, no committed trial, or a damaged file.

  >>> import json, tempfile
  >>> config = configs.Config()
  >>> stored = {"format": FORMAT, "experiment": "mnist_lenet"}
  >>> stored |= {"run_id": configs.run_id(config)}
  >>> stored |= {"data": "0a1b", "config": configs.to_flat(config)}
  >>> text = json.dumps(files.seal(stored))
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   _ = (epath.Path(folder) / "config.json").write_text(text)
  ...   read(folder)
  Traceback (most recent call last):
    ...
  lth_jax.errors.InputError: ...: no trial of this run is complete yet; ...
  """
  root = epath.Path(workdir)
  if not (root / "config.json").exists():
    raise errors.InputError(
      f"{root}: no config.json here; --workdir must name the folder of a run."
    )
  experiment, run_id, data, config = _load(
    root / "config.json",
    _config,
    f"remove it and start the run again with --flagfile={root / 'run.flags'}",
  )
  commits = committed(root)
  if not commits:
    raise errors.InputError(
      f"{root}: no trial of this run is complete yet; start the run again, let "
      "it pass its first round, then ask for the report."
    )
  asked = configs.from_flat(config)
  found: dict[tuple, Result] = {}
  facts: dict[tuple, str] = {}
  for path in commits:
    remedy = "start the run again, which trains this trial anew"
    owner, digest = _load(path, _commit, remedy)
    name = path.parent.relative_to(root).as_posix()
    if owner != plan.owner(run_id, data, name):
      raise errors.InputError(
        f"{path.parent} belongs to {owner!r}: it was copied here from "
        "elsewhere; remove it."
      )
    trial, origin = _load(
      path.parent / "record.json",
      lambda content, name=name: (
        _trial(content, name),
        list(_facts(asked, content)),
      ),
      remedy,
    )
    found[trial[:4]] = trial
    if digest != _sha256(path.parent / "record.json"):
      raise errors.InputError(
        f"{path.parent / 'record.json'}: damaged (not as it was written); "
        f"{remedy}."
      )
    _check_facts(path.parent, facts, origin)
  for path in sorted(root.glob("replicate_*/structure.json")):
    remedy = "start the run again, which makes it anew"
    _check_facts(path, facts, _load(path, _described_facts, remedy))
  named = []
  for key in sorted(found):
    arm, draw = name_arm(config, found[key].arm, found[key].draw)
    named.append(found[key]._replace(arm=arm, draw=draw))
  return Run(experiment, config, tuple(named))


def steady_step(steps: np.ndarray, losses: np.ndarray) -> float:
  """Returns the first step that is within 1% of the least smoothed loss.

  The minimum of a flat, noisy curve lies anywhere; this is its robust
  companion. Losses are smoothed over five evaluations, NaN left out.

  Args:
    steps: `[V]`.
    losses: validation losses there, nats, `[V]`.

  >>> losses = np.array([9.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.99, 1.0])
  >>> steady_step(np.arange(9), losses)
  5.0
  """
  known = np.isfinite(losses)
  if not known.any():
    return math.nan
  window = np.ones(min(5, len(losses) - (len(losses) + 1) % 2))
  total, count = (
    np.convolve(x, window, "same") for x in (np.where(known, losses, 0), known)
  )
  smooth = np.where(count > 0, total / np.maximum(count, 1), math.inf)
  return float(steps[np.argmax(smooth <= 1.01 * smooth.min())])


def committed(workdir: epath.Path) -> list[epath.Path]:
  """Returns the commit.json of every finished trial, sorted.

  Args:
    workdir: folder of a run.

  >>> committed(epath.Path("nowhere"))
  []
  """
  return sorted(
    path
    for path in workdir.glob("replicate_*/round_*/*/commit.json")
    if _TRIAL_NAME.fullmatch(path.relative_to(workdir).as_posix())
  )


def name_arm(config: dict[str, Any], arm: str, draw: int) -> tuple[str, int]:
  """Returns an arm and draw as reports have them.

  Draws of an arm are averaged there, but levels of noise are not draws: each
  becomes an arm.

  Args:
    config: the flat configuration of the run.
    arm: as in a record.
    draw: likewise; 0 where there is one.

  >>> name_arm({"noise": [0.5, 2.0]}, "noise", 1)
  ('noise 2', 0)
  >>> name_arm({"noise": [0.5, 2.0]}, "reinit", 1)
  ('reinit', 1)
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


def check(trial: Result) -> Result:
  """Returns a trial whose numbers are such as a training can give.

  Args:
    trial: as read from a file.

  Raises:
    ValueError: names the number.

  >>> end = Point(500, True, -5.0, 1.0)
  >>> check(Result(0, 0, "ticket", 0, 1.0, [], [], end, end, False, ()))
  Traceback (most recent call last):
    ...
  ValueError: test_accuracy -5.0 is outside [0, 1]
  """
  accuracy, step = (0, 1), (0, _LARGEST)
  limits = {
    **dict.fromkeys(("replicate", "round", "draw", "counted"), step),
    **dict.fromkeys(("step", "test_steps", "valid_steps"), step),
    **dict.fromkeys(("test_accuracy", "train_accuracy"), accuracy),
    **dict.fromkeys(("valid_accuracy", "test_curve", "density"), accuracy),
  }
  for group in (trial, trial.early_stop, trial.end):
    for name in limits.keys() & {*group._fields}:
      low, high = limits[name]
      for value in np.ravel(getattr(group, name)):
        if value < low or value > high:
          raise ValueError(f"{name} {value} is outside [{low}, {high:g}]")
  if not trial.density > 0:
    raise ValueError("density 0 is of no network")
  return trial


def cause(error: Exception) -> str:
  """Says in one line why a file could not be read.

  Args:
    error: that was raised.

  >>> cause(KeyError("format")), cause(ValueError("two  blanks"))
  ("no 'format'", 'two blanks')
  """
  text = f"no {error}" if isinstance(error, KeyError) else str(error)
  return " ".join(text.split())


def _load(path: epath.Path, parse: Callable[[Any], _T], remedy: str) -> _T:
  try:
    content = files.parse(files.read(path).decode())
    if content["format"] != FORMAT:
      raise errors.InputError(
        f"format {content['format']!r}, but this version reads format "
        f"{FORMAT}; use the version of lth_jax that wrote the run."
      )
    return parse(content)
  except errors.InputError as error:
    raise errors.InputError(f"{path}: {error}") from error
  except (*MALFORMED, OSError) as error:
    raise errors.InputError(
      f"{path}: damaged ({cause(error)}); {remedy}."
    ) from error


def _facts(config: configs.Config, content) -> Iterator[tuple[tuple, str]]:
  """What a record says that others of the run say too, each with its value."""
  origin, digests = content["origin"], content["digests"]
  replicate, index = int(content["replicate"]), int(content["round"])
  trial = plan.Trial(replicate, index, str(content["arm"]))
  yield (replicate, "theta_0"), origin["theta_0"]
  yield (replicate, "split"), origin["split"]
  yield (replicate, "masks", index), origin["masks"]
  if parent := plan.parent(config, trial):
    yield (replicate, "trained weights", parent), origin["trained weights"]
  if plan.supplies_masks(config, trial):
    yield (replicate, "trained weights", trial), digests["params"]
  if trial.arm == "ticket":
    yield (replicate, "masks", index), digests["masks"]


def _described_facts(content) -> list[tuple[tuple, str]]:
  """Likewise of a description of a replicate's tickets."""
  replicate = int(content["replicate"])
  dense = plan.Trial(replicate, 0, "ticket")
  return [
    ((replicate, "theta_0"), content["theta_0"]),
    ((replicate, "trained weights", dense), content["trained"]),
    *(
      ((replicate, "masks", int(index)), digest)
      for index, digest in content["masks"].items()
    ),
  ]


def _check_facts(path, facts: dict[tuple, str], found) -> None:
  for fact, value in found:
    if facts.setdefault(fact, value) != value:
      raise errors.InputError(
        f"{path} was made from other {fact[1]} than the rest of the run; start "
        "the run again, which makes it anew, or remove it."
      )


def _commit(content) -> tuple[str, str]:
  return content["owner"], content["files"]["record.json"]


def _sha256(path: epath.Path) -> str:
  return hashlib.sha256(files.read(path)).hexdigest()


def _config(content) -> tuple[str, str, str, dict[str, Any]]:
  stored = content["config"]
  for field in _CONFIG_FIELDS:
    stored[field]  # A KeyError names what is missing.
  config = configs.from_flat(stored)
  checks.check(config)
  files.unseal(content)
  run_id = configs.run_id(config)
  if content["run_id"] != run_id:
    raise ValueError("its run_id is not that of its fields")
  flat = configs.to_flat(config)
  return str(content["experiment"]), run_id, str(content["data"]), flat


def _trial(content, name: str) -> Result:
  own = [content[field] for field in plan.Trial._fields]
  if plan.Trial(*own).name != name:
    raise ValueError(
      f"its {', '.join(plan.Trial._fields)} are not its folder's"
    )
  steps, curve = _curve(content, "tests", "accuracy")
  valid_steps, valid_curve = _curve(content, "evaluations", "valid_loss")
  trial = Result(
    replicate=int(content["replicate"]),
    round=int(content["round"]),
    arm=str(content["arm"]),
    draw=int(content["draw"] or 0),
    density=float(content["density"]),
    test_steps=steps,
    test_curve=curve,
    early_stop=_point(content["early_stop"]),
    end=_point(content["end"]),
    diverged=bool(content["diverged"]),
    warnings=tuple(str(text) for text in content["warnings"]),
    valid_steps=valid_steps,
    valid_curve=valid_curve,
    counted=int(content["counted"]),
    steady_step=steady_step(valid_steps, valid_curve),
  )
  return check(trial)


def _curve(content, group: str, name: str) -> tuple[np.ndarray, np.ndarray]:
  steps = _floats(content[group]["step"])
  curve = _floats(content[group][name])
  if steps.shape != curve.shape:
    raise ValueError(f"{group}: step and {name} differ in length")
  return steps, curve


def _point(content) -> Point:
  if content is None:
    return Point(math.nan, False, math.nan, math.nan)
  return Point(
    step=float(content["step"]),
    reached=bool(content.get("reached", True)),
    test_accuracy=_float(content["test_accuracy"]),
    train_accuracy=_float(content["train_accuracy"]),
    valid_loss=_float(content["valid_loss"]),
    valid_accuracy=_float(content["valid_accuracy"]),
  )


def _float(value) -> float:
  return math.nan if value is None else float(value)


def _floats(values) -> np.ndarray:
  return np.array([_float(value) for value in values], float)
