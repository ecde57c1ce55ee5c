"""Statistics of tickets, which the claims of appendix F are about.

They follow from the counts in `replicate_<r>/structure.json`.
"""

import functools
import math
import re
from collections.abc import Container, Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from lth_jax import errors
from lth_jax.analysis import histograms
from lth_jax.report import origins, parsing
from lth_jax.storage import files

# {round: {leaf: counts of `analysis.summary.describe`}}
Rounds = dict[int, dict[str, dict[str, Any]]]

# Ranges around zero and around one standard deviation of Glorot's
# initialization, in such deviations.
_NEAR_ZERO, _AROUND_ONE = (0.0, 0.2), (0.8, 1.2)
# MNIST's digits fill 20 x 20 of 28 x 28 pixels.
_SIDE, _BORDER = 28, 4


class TicketStatistics(NamedTuple):
  """Numbers that describe one leaf of a ticket.

  Attributes:
    replicate: index of the replicate.
    round: pruning round.
    leaf: name of the leaf.
    kept: fraction of its weights that the ticket keeps.
    valley: density of its initial weights near zero over their density around
      one standard deviation; below 1 their distribution has two peaks.
    positive: percent of its initial weights above zero.
    moved: mean |trained - initial| of the dense network's weights inside the
      ticket over the mean outside.
    grown: percent of the dense network's weights that grew in magnitude, inside
      the ticket minus outside.
    uneven_in: standard deviation of the number of connections kept into a unit,
      over its value for a random mask of the same density.
    uneven_out: the same of the connections kept out of a unit.
    border: fraction of connections kept from pixels at the image's border over
      the fraction from the others; NaN where inputs are no pixels.
    trough: number of pixels that keep a fraction halfway between these two over
      the number that keep about as much as either; below 1 there are two peaks.
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


class Description(NamedTuple):
  """What the structure.json of a replicate tells about its tickets.

  Attributes:
    digests: of the arrays that it was made from.
    rounds: counts and edges as arrays.
    tickets: the statistics of every leaf.
  """

  digests: origins.Digests
  rounds: Rounds
  tickets: tuple[TicketStatistics, ...]


def load(
  workdir: epath.PathLike, tickets: Container[tuple[int, int]]
) -> dict[int, Description]:
  """Reads the descriptions of a run's tickets, by replicate.

  A ticket that is trained again has a description, of before, and no result.

  Args:
    workdir: folder of a run.
    tickets: replicate and round of those that have a result; a description of
      another is left out.

  Raises:
    errors.InputError: a description is damaged.
  """
  found = {}
  for path in epath.Path(workdir).glob("replicate_*/structure.json"):
    # Folders with other names, such as "replicate_0 copy", are a person's.
    if match := re.fullmatch(r"replicate_(\d+)", path.parent.name):
      replicate = int(match[1])
      parse = functools.partial(_parse, replicate, tickets)
      remedy = "start the run again, which makes it again"
      found[replicate] = parsing.load(path, parse, remedy)
  return dict(sorted(found.items()))


def measure(replicate: int, rounds: Rounds) -> tuple[TicketStatistics, ...]:
  """Returns the statistics of every leaf of a replicate's tickets."""
  return tuple(
    _measure(replicate, index, name, leaf)
    for index, leaves in sorted(rounds.items())
    for name, leaf in leaves.items()
  )


def _parse(
  replicate: int,
  tickets: Container[tuple[int, int]],
  content: dict[str, Any],
) -> Description:
  files.verify_checksum(content)
  if content["replicate"] != replicate:
    raise errors.InputError(
      f"it is of replicate {content['replicate']!r}; remove this "
      "copy and start the run again."
    )
  rounds = {
    int(index): {name: _as_arrays(leaf) for name, leaf in leaves.items()}
    for index, leaves in content["rounds"].items()
    if (replicate, int(index)) in tickets
  }
  digests = origins.of_description(content)
  return Description(digests, rounds, measure(replicate, rounds))


def _as_arrays(leaf: Mapping[str, Any]) -> dict[str, Any]:
  found = {name: leaf[name] for name in ("shape", "num_kept")}
  for name in ("num_incoming", "num_outgoing"):
    found[name] = np.array(leaf[name])
  for name in ("initial", "moved", "grown"):
    found[name] = {part: np.array(x) for part, x in leaf[name].items()}
  return found


def _measure(
  replicate: int, index: int, name: str, leaf: Mapping[str, Any]
) -> TicketStatistics:
  initial = leaf["initial"]
  kept, edges = np.array(initial["kept"], float), np.array(initial["edges"])
  above = np.where(edges[:-1] >= 0, kept, 0).sum()
  return TicketStatistics(
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
  """Their deviation over the binomial one; NaN if all or none are kept."""
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
  """Connections out of pixels at the border and inside; empty if no pixels."""
  if len(num_outgoing) != _SIDE**2:
    return np.empty(0), np.empty(0)
  image = np.reshape(num_outgoing, (_SIDE, _SIDE)).astype(float)
  inside = np.zeros((_SIDE, _SIDE), bool)
  inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
  return image[~inside], image[inside]


def _quotient(a, b) -> float:
  return float(a / b) if b > 0 else math.nan
