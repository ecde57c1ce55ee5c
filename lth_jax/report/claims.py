"""What a run says about the published claims, and how it differs in protocol.

A claim *holds* if the mean over replicates
lies in its band and the 95% interval (two-sided paired t) excludes the
opposite; it *does not hold* if the interval excludes the band; else it is
*undecided*, and always so under 3 replicates. It is *not measured* if the run
has no data. A verdict that the end of the training or of the run could still
overturn (see `measures`) is undecided.

A density is known to a step of the ladder only: its interval is half a step
wider on each side, as a logarithm. Of a value that is the best of K densities
the interval is that at level 1 - 0.05 / K (Bonferroni). The density that is
best in each replicate counts only if they agree on it better than by luck.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lth_jax.report import (
  measures,
  protocols,
  published,
  records,
  statistics,
)

_AS_LOGARITHMS = ("times", "weights", "% of weights")
_SCALED_DOWN = "scaled down"
_MORE_IS_FINE = ("rounds", "reinits", "replicates")


class Result(NamedTuple):
  """A claim, our number and the verdict.

  Attributes:
    claim: the claim.
    ours: our number in its unit, over replicates.
    verdict: "holds", "does not hold", "undecided" or "not measured".
    bound: "at least" or "at most" if the truth may lie beyond, else "".
    note: a remark for the reader.
  """

  claim: published.Claim
  ours: statistics.Interval
  verdict: str
  bound: str
  note: str


def differences(
  config: dict[str, Any], original: dict[str, Any] | None = None
) -> str:
  """Says how a run differs from the paper's protocol; "" if it does not.

  Args:
    config: the flat configuration of the run.
    original: that of the paper's run, if it is not the main one of its network;
      only what a protocol states is compared.

  Returns:
    For example "scaled down: steps 15,000 instead of 50,000".

  >>> paper = protocols.LENET | {"pruning": "iterative"}
  >>> differences(paper | {"steps": 15000})
  'scaled down: steps 15,000 instead of 50,000'
  """
  ours, paper = _with_plain_rates(config), protocols.of(config)
  if original is not None:
    given = _with_plain_rates(original)
    paper = {field: given[field] for field in paper}
  elif config["pruning"] == "oneshot":
    paper = paper | {"arms": ["ticket", "reinit"]}
  differing = [field for field in paper if _differs(field, ours, paper)]
  if not differing:
    return ""
  smaller = (
    ours["dataset"] == "mnist_10k"
    or ours["width"] < 1
    or not {"num_train", "num_test"}.isdisjoint(differing)
    or ours["steps"] < paper["steps"]
  )
  label = _SCALED_DOWN if smaller else "not the paper's main protocol"
  return f"{label}: " + "; ".join(
    f"{field} {_plain(field, ours[field])} instead of "
    f"{_plain(field, paper[field])}"
    for field in differing
  )


def judge(claim: published.Claim, sample: measures.Sample) -> Result:
  """Applies the verdict rules of the module's docstring.

  Args:
    claim: the claim.
    sample: our numbers in the claim's unit, one a replicate, `[R]`.

  >>> claim = published.CLAIMS[1]  # by how many percent tickets stop earlier
  >>> claim.published, claim.band, claim.opposites
  ('38%', (20.0, 55.0), (0.0,))
  >>> result = judge(claim, measures.Sample(np.array([30.0, 36.0, 39.0])))
  >>> result.ours.mean, round(result.ours.low, 1), result.verdict
  (35.0, 23.6, 'holds')
  """
  scale, back = float, float
  values = sample.values
  if claim.unit in _AS_LOGARITHMS:
    scale, back, values = _log, _exp, np.log(values)
  level = 1 - 0.05 / sample.tries
  scaled = statistics.interval(values, level)
  scaled = scaled._replace(
    low=scaled.low - sample.half_step, high=scaled.high + sample.half_step
  )
  verdict = _verdict(
    scaled,
    (scale(claim.band[0]), scale(claim.band[1])),
    [scale(opposite) for opposite in claim.opposites],
    sample,
  )
  ours = statistics.Interval._make([*map(back, scaled[:5]), scaled.n])
  bound = {(True, False): "at least", (False, True): "at most"}.get(
    (sample.may_rise, sample.may_fall), ""
  )
  note = sample.note or ("" if ours.n else "the run has no such data")
  if sample.tries > 1:
    note += f"; interval at level {100 * level:.4g}%, corrected for that choice"
  if sample.half_step:
    wider = 100 * math.expm1(sample.half_step)
    note = f"{note}; " if note else ""
    note += f"interval wider by half a step of the ladder ({wider:.0f}%)"
  return Result(claim, ours, verdict, bound, note)


def evaluate(run: records.Run) -> tuple[Result, ...]:
  """Judges every published claim about runs like this one.

  Args:
    run: the run.

  >>> from lth_jax.report import example
  >>> found = evaluate(example.run(ticket=[(500, 98.0)]))
  >>> found[1].verdict, found[1].note
  ('not measured', 'the run has no such data')
  """
  return tuple(
    judge(claim, measure(claim, run))
    for claim in published.CLAIMS
    if published.applies(claim, run.config)
  )


def measure(claim: published.Claim, *runs: records.Run) -> measures.Sample:
  """Returns what runs have for a claim.

  Args:
    claim: the claim.
    *runs: those that it is about. Of several, only the replicates count that
      all of them have.

  >>> from lth_jax.report import example
  >>> run = example.run(ticket=[(500, 98.0), (400, 98.0)])
  >>> measure(published.CLAIMS[1], run).values  # there is no ticket at 21.1%
  array([nan])
  """
  if claim.absolute and any(
    differences(run.config).startswith(_SCALED_DOWN) for run in runs
  ):
    note = "an absolute number, and the run is scaled down"
    return measures.nothing(runs[0], note)
  shared = set.intersection(
    *({lane.replicate for lane in run.lanes} for run in runs)
  )
  if not shared:
    return measures.nothing(runs[0], "the runs share no replicate")
  return claim.measure(
    *(
      run._replace(
        lanes=tuple(lane for lane in run.lanes if lane.replicate in shared)
      )
      for run in runs
    )
  )


def _verdict(
  ours: statistics.Interval,
  band: tuple[float, float],
  opposites: Sequence[float],
  sample: measures.Sample,
) -> str:
  if ours.n == 0:
    return "not measured"
  if ours.n < statistics.MIN_REPLICATES:
    return "undecided"
  low, high = band
  if ours.high < low and not sample.may_rise:
    return "does not hold"
  if ours.low > high and not sample.may_fall:
    return "does not hold"
  may_leave = (sample.may_rise and math.isfinite(high)) or (
    sample.may_fall and math.isfinite(low)
  )
  reached = any(ours.low <= opposite <= ours.high for opposite in opposites)
  if low <= ours.mean <= high and not reached and not may_leave:
    return "holds"
  return "undecided"


def _with_plain_rates(config: dict[str, Any]) -> dict[str, Any]:
  rules = [rule.rpartition("=") for rule in config["rates"]]
  plain = [f"{pattern}={float(rate):g}" for pattern, _, rate in rules]
  return config | {"rates": plain}


def _differs(field: str, ours: dict[str, Any], paper: dict[str, Any]) -> bool:
  if field == "arms":
    return not set(paper["arms"]) <= set(ours["arms"])
  if field == "control_rounds":
    chosen = set(ours[field]) if len(ours["arms"]) > 1 else set()
    return bool(chosen) and not set(range(1, ours["rounds"] + 1)) <= chosen
  if field == "reinits" and "reinit" not in ours["arms"]:
    return False
  if field in _MORE_IS_FINE:
    return ours[field] < paper[field]
  return ours[field] != paper[field]


def _plain(field: str, value: Any) -> str:
  if isinstance(value, list):
    between = "-" if field == "hidden" else ", "
    empty = "all" if field == "control_rounds" else "none"
    return between.join(str(each) for each in value) or empty
  if field in ("num_train", "num_test") and value == 0:
    return "all"
  return f"{value:,}" if isinstance(value, int) else str(value)


def _log(value: float) -> float:
  return math.log(value) if value > 0 else -math.inf


def _exp(value: float) -> float:
  return math.inf if value > 700 else math.exp(value)
