"""What tickets look like, in numbers: claims of appendix F are about these.

They follow from the counts in `replicate_<r>/structure.json`.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from lth_jax import errors
from lth_jax.analysis import histograms
from lth_jax.report import records
from lth_jax.storage import files

# {round: {leaf: what `analysis.summary.describe` counts}}
Rounds = dict[str, dict[str, dict[str, Any]]]

# In standard deviations of Glorot's initialization: what is near zero, and what
# is around one of them.
_NEAR_ZERO, _AROUND_ONE = (0.0, 0.2), (0.8, 1.2)
# MNIST's digits fill 20 x 20 of 28 x 28 pixels.
_SIDE, _BORDER = 28, 4


def load(workdir: epath.PathLike) -> dict[int, Rounds]:
  """Reads what each replicate of a run says of its tickets.

  Args:
    workdir: folder of a run.

  Returns:
    By the replicate's number; empty if there is no description.

  Raises:
    errors.InputError: a description is damaged.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   load(folder)
  {}
  """
  paths = [
    path
    for path in epath.Path(workdir).glob("replicate_*/structure.json")
    if re.fullmatch(r"replicate_\d+", path.parent.name)
  ]
  return {replicate: rounds for replicate, rounds in sorted(map(_load, paths))}


def read(workdir: epath.PathLike) -> tuple[records.Look, ...]:
  """Returns the numbers of all tickets of a run.

  Args:
    workdir: folder of a run.

  Raises:
    errors.InputError: a description is damaged.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   read(folder)
  ()
  """
  return of(load(workdir))


def of(replicates: Mapping[int, Rounds]) -> tuple[records.Look, ...]:
  """Returns the numbers of all tickets of several replicates.

  Args:
    replicates: as from `load`.

  >>> of({})
  ()
  """
  return tuple(
    look
    for replicate, rounds in replicates.items()
    for look in of_replicate(replicate, rounds)
  )


def of_replicate(replicate: int, rounds: Rounds) -> tuple[records.Look, ...]:
  """Returns the numbers of every leaf of a replicate's tickets.

  Args:
    replicate: its number.
    rounds: its tickets.

  >>> bins = {"edges": [-1.0, 0.0, 1.0], "kept": [1, 3], "pruned": [2, 2]}
  >>> leaf = {"shape": [2, 4], "num_incoming": [1, 1, 1, 1]}
  >>> leaf |= {"num_outgoing": [3, 1], "num_kept": 4}
  >>> leaf |= dict.fromkeys(("initial", "moved", "grown"), bins)
  >>> [look] = of_replicate(0, {"1": {"w": leaf}})
  >>> look.kept, look.positive, look.grown, look.uneven_in, look.uneven_out
  (0.5, 75.0, 25.0, 0.0, 1.0)
  """
  return tuple(
    _look(replicate, int(index), name, leaf)
    for index, leaves in sorted(rounds.items(), key=lambda item: int(item[0]))
    for name, leaf in leaves.items()
  )


def _load(path: epath.Path) -> tuple[int, Rounds]:
  try:
    content = files.parse(files.read(path).decode())
    files.verify_checksum(content)
    if content["format"] != records.FORMAT:
      raise ValueError(f"format {content['format']!r} is not {records.FORMAT}")
    rounds = {
      str(int(index)): {name: _checked(leaf) for name, leaf in leaves.items()}
      for index, leaves in content["rounds"].items()
    }
    if len({tuple(leaves) for leaves in rounds.values()}) > 1:
      raise ValueError("rounds have different leaves")
    replicate = int(content["replicate"])
    if path.parent.name != f"replicate_{replicate}":
      raise errors.InputError(
        f"{path}: it is of replicate {replicate}; remove this copy and start "
        "the run again."
      )
    return replicate, rounds
  except errors.InputError:
    raise
  except (*records.MALFORMED, OSError) as error:
    raise errors.InputError(
      f"{path}: damaged ({records.cause(error)}); start the run again, which "
      "makes it anew."
    ) from error


def _checked(leaf) -> dict[str, Any]:
  """A leaf's description, its lists as arrays, if it makes sense."""
  shape = [int(size) for size in leaf["shape"]]
  found: dict[str, Any] = {"shape": shape, "num_kept": int(leaf["num_kept"])}
  for name in ("num_incoming", "num_outgoing"):
    found[name] = _counts(leaf[name])
    if len(found[name]) == 0 or found[name].sum() != found["num_kept"]:
      raise ValueError("connections do not add up")
  for name in ("initial", "moved", "grown"):
    bins = {
      "edges": np.array([float(edge) for edge in leaf[name]["edges"]]),
      "kept": _counts(leaf[name]["kept"]),
      "pruned": _counts(leaf[name]["pruned"]),
    }
    num = len(bins["edges"]) - 1
    if not len(bins["kept"]) == len(bins["pruned"]) == num > 0:
      raise ValueError(f"'{name}' has counts without bins")
    if not (np.diff(bins["edges"]) > 0).all():
      raise ValueError(f"edges of '{name}' do not ascend")
    found[name] = bins
  if min(shape, default=0) < 1 or math.prod(shape) < found["num_kept"]:
    raise ValueError(f"shape {shape} does not fit")
  return found


def _counts(values) -> np.ndarray:
  found = np.array([int(value) for value in values], np.int64)
  if (found < 0).any():
    raise ValueError("a count is negative")
  return found


def _look(replicate, index, name, leaf) -> records.Look:
  initial = leaf["initial"]
  kept, edges = np.array(initial["kept"], float), np.array(initial["edges"])
  above = np.where(edges[:-1] >= 0, kept, 0).sum()
  return records.Look(
    replicate,
    index,
    name,
    kept=leaf["num_kept"] / math.prod(leaf["shape"]),
    valley=_valley(kept, edges, leaf["shape"]),
    positive=100 * _quotient(above, kept.sum()),
    moved=_quotient(*(_mean(leaf["moved"], p) for p in ("kept", "pruned"))),
    grown=_share(leaf["grown"], "kept") - _share(leaf["grown"], "pruned"),
    uneven_in=_unevenness(leaf["num_incoming"], leaf["shape"]),
    uneven_out=_unevenness(leaf["num_outgoing"], leaf["shape"]),
    border=_border(leaf["num_outgoing"]),
    trough=_trough(leaf["num_outgoing"]),
  )


def _valley(kept, edges, shape) -> float:
  middle = np.abs(edges[:-1] + edges[1:]) / (2 * histograms.glorot_std(shape))
  zero, one = (
    kept[(low < middle) & (middle < high)].sum() / (high - low)
    for low, high in (_NEAR_ZERO, _AROUND_ONE)
  )
  return _quotient(zero, one)


def _mean(counts, part: str) -> float:
  edges = np.array(counts["edges"])
  middle = (edges[:-1] + edges[1:]) / 2
  return _quotient((middle * counts[part]).sum(), sum(counts[part]))


def _share(counts, part: str) -> float:
  found, edges = np.array(counts[part], float), np.array(counts["edges"])
  return 100 * _quotient(np.where(edges[:-1] >= 0, found, 0).sum(), found.sum())


def _unevenness(num_connections, shape) -> float:
  """Their deviation over a binomial one; NaN where all or none are kept."""
  fan = math.prod(shape) / len(num_connections)
  kept = np.mean(num_connections) / fan
  chance = math.sqrt(max(0.0, fan * kept * (1 - kept)))
  return _quotient(np.std(num_connections), chance)


def _border(num_outgoing) -> float:
  at_border, inside = _pixels(num_outgoing)
  return _quotient(at_border.mean(), inside.mean()) if len(inside) else math.nan


def _trough(num_outgoing) -> float:
  at_border, inside = _pixels(num_outgoing)
  if len(inside) == 0:
    return math.nan
  low, high = at_border.mean(), inside.mean()
  near = [
    (np.abs(num_outgoing - peak) <= abs(high - low) / 6).sum()
    for peak in ((low + high) / 2, low, high)
  ]
  return _quotient(2 * near[0], near[1] + near[2])


def _pixels(num_outgoing) -> tuple[np.ndarray, np.ndarray]:
  """Connections out of pixels at the border and inside; none if no pixels."""
  if len(num_outgoing) != _SIDE**2:
    return np.empty(0), np.empty(0)
  image = np.reshape(num_outgoing, (_SIDE, _SIDE)).astype(float)
  inside = np.zeros((_SIDE, _SIDE), bool)
  inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
  return image[~inside], image[inside]


def _quotient(a, b) -> float:
  return float(a / b) if b > 0 else math.nan
