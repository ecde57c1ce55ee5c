"""Verdicts, the table of claims, and what runs of the catalog can answer."""

import dataclasses
import functools
import math
import pathlib

import numpy as np
import pytest
from helpers import results, synthetic_runs
from jax.tree import leaves as jax_leaves

from experiments._paper import catalog, claim_dates, networks, null_claims
from lth_jax import errors
from lth_jax.config import configs
from lth_jax.config import plan as plan_lib
from lth_jax.report import (
  claims,
  records,
  structure,
)
from lth_jax.report.claims import samples


def _verdict(values, band, opposite, may="", unit="points"):
  claim = claims.CLAIMS[0]._replace(band=band, opposites=(opposite,), unit=unit)
  sample = samples.Sample(np.array(values), may == "rise", may == "fall")
  return claims.judge(claim, sample).verdict


@pytest.mark.parametrize(
  ("values", "may", "verdict"),
  [
    ([0.3, 0.31, 0.29], "", "holds"),
    ([0.3, 0.31, 0.29], "rise", "undecided"),
    ([1.3, 1.31, 1.29], "", "does not hold"),
    ([1.3, 1.31, 1.29], "rise", "does not hold"),
    ([1.3, 1.31, 1.29], "fall", "undecided"),
    ([-0.3, -0.31, -0.29], "", "does not hold"),
    ([-0.3, -0.31, -0.29], "rise", "undecided"),
    ([0.3, 0.9, -0.3], "", "undecided"),
    ([0.7, 0.9, 0.5], "", "undecided"),
    ([0.3, 0.31], "", "undecided"),
    ([0.3, 0.31, math.nan], "", "undecided"),
    ([math.nan] * 3, "", "not measured"),
  ],
)
def test_claim_verdicts(values, may, verdict):
  assert _verdict(values, (0.15, 0.6), 0.0, may) == verdict


@pytest.mark.parametrize(
  ("band", "opposite", "spread", "verdict"),
  [
    ((0.25, 1.0), 0.0, 0.1, "holds"),
    ((0.25, 1.0), 0.0, 0.4, "consistent"),  # leaves the band
    ((0.3, math.inf), 0.0, 0.1, "holds"),
    ((0.3, math.inf), 0.0, 0.35, "consistent"),  # twice the way to 0 is 0.6
    ((0.0, math.inf), 0.0, 0.3, "holds"),  # a direction asks for no width
    ((-math.inf, 0.7), 1.2, 0.1, "holds"),
    ((-math.inf, 0.7), 1.2, 0.55, "consistent"),
  ],
)
def test_an_interval_wider_than_the_band_is_only_consistent(
  band, opposite, spread, verdict
):
  # The 95% interval of these five is 0.55 +- 0.98 spread.
  values = 0.55 + spread * np.array([-1, -0.5, 0, 0.5, 1])
  assert _verdict(values, band, opposite) == verdict


def test_open_band_holds_where_the_truth_may_only_be_larger():
  values = [1.5, 1.6, 1.4]
  assert _verdict(values, (1.0, math.inf), 1.0, "rise", "times") == "holds"


def test_factors_are_averaged_as_logarithms():
  claim = claims.CLAIMS[0]._replace(unit="times")
  values = np.array([1.5, 1.6, 1.4])
  found = claims.judge(claim, samples.Sample(values)).ours
  np.testing.assert_allclose(found.mean, np.exp(np.mean(np.log(values))))


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.text)
def test_planted_numbers_turn_each_verdict(claim):
  """Inside the band, at the opposite, and beyond it."""
  low, high = claim.band
  is_log = claim.unit in ("times", "weights", "% of weights")
  if is_log:
    low, high = (math.log(x) if x > 0 else -math.inf for x in claim.band)
  out = [math.log(x) if is_log else x for x in claim.opposites]
  if math.isfinite(low + high):
    inside, spread = (low + high) / 2, (high - low) / 20
    beyond = [out[0] + (spread if out[0] >= high else -spread)]
  elif math.isfinite(low):
    inside, spread, beyond = low + 0.5, 0.02, [min(out) - 0.1]
  else:
    inside, spread, beyond = high - 0.5, 0.02, [max(out) + 0.1]

  def verdict(center, scale):
    values = center + scale * np.array([-1, -0.5, 0, 0.5, 1])
    sample = samples.Sample(np.exp(values) if is_log else values)
    return claims.judge(claim, sample).verdict

  assert verdict(inside, spread) == "holds"
  assert verdict(out[0], spread) != "holds"
  assert {verdict(each, spread / 10) for each in beyond} == {"does not hold"}
  assert verdict(inside, 1000 * spread) == "undecided"


def test_zero_counts_where_ratios_are_not_averaged_as_logarithms():
  claim = next(c for c in claims.CLAIMS if "have two peaks" in c.text)
  found = claims.judge(claim, samples.Sample(np.array([0.0, 0.0, 0.1])))
  assert found.ours.n == 3 and found.verdict == "holds"


def test_a_reset_that_is_better_holds_and_its_opposite_does_not():
  claim = next(each for each in claims.CLAIMS if each.figure == "9")
  claim = claim._replace(place="ticket 50%", against="ticket 50%")
  better = results.run(ticket=[[(100, 98), (50, 99)]] * 3)
  worse = results.run(ticket=[[(200, 97), (200, 96)]] * 3)
  for runs, verdict in (
    ((better, worse), "holds"),
    ((worse, better), "does not hold"),
  ):
    sample = claims.measure(claim, *runs)
    assert claims.judge(claim, sample).verdict == verdict


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.text)
def test_a_claim_tells_what_would_refute_it_and_what_it_needs(claim):
  low, high = claim.band
  assert low < high and claim.opposites
  assert all(not low < opposite < high for opposite in claim.opposites)
  # Absolute numbers need the paper's size.
  is_accuracy = claim.quantity in ("valid", "test", "end_test", "end_train")
  is_absolute = is_accuracy and claim.estimator in ("level", "lowest")
  assert (claim.unit != "weights" and not is_absolute) or "scale" in claim.needs
  # Networks that are compared at the end must have trained.
  is_at_end = claim.quantity.startswith("end_") and "scale" not in claim.needs
  is_deep = claim.runs[0].startswith(("resnet20", "vgg19"))
  assert "trained" in claim.needs or not (is_at_end or is_deep)


def test_absolute_claims_need_the_papers_size():
  claim = next(each for each in claims.CLAIMS if each.needs == ("scale",))
  small = results.run(
    {"model": "resnet20", "width": 0.5}, ticket=[[(9, 90.5)]] * 3
  )
  sample = claims.measure(claim, small)
  assert np.isnan(sample.values).all() and "scaled down" in sample.note


@pytest.mark.parametrize(
  ("test", "rise", "trained"),
  [(98, 1.0, True), (60, 1.0, False), (60, 1.005, False), (60, 1.2, True)],
)
def test_a_network_has_trained_if_its_loss_rose_or_it_is_accurate(
  test, rise, trained
):
  claim = next(
    claim
    for claim in claims.CLAIMS
    if claim.runs == ("mnist_lenet",) and claim.needs == ("trained",)
  )
  claim = claim._replace(estimator="level", place="dense", against="")
  run = results.run(ticket=[[(100, test), (50, test)]] * 3)
  run = results.change(
    run, lambda x: x._replace(end=x.end._replace(valid_loss=0.1 * rise))
  )
  result = claims.judge(claim, claims.measure(claim, run))
  assert (result.verdict != "not measured") == trained
  assert ("not trained" in result.note) != trained


@pytest.mark.parametrize(
  ("optimizer", "own", "others"),
  [("adam", {"15", "19", "21", "23"}, {"16", "22"}),
   ("sgd", {"16", "22"}, {"15", "21"})],
)  # fmt: skip
def test_claims_apply_by_optimizer(optimizer, own, others):
  config = synthetic_runs.config(optimizer=optimizer)
  found = {x.figure for x in claims.CLAIMS if claims.applies(x, config)}
  assert own <= found and not others & found


_PAPER = {"rounds": 20, "replicates": 3, "arms": ["ticket", "reinit", "random"]}


@pytest.fixture(scope="module")
def full_run():
  return synthetic_runs.read(**_PAPER)


def test_published_phenomenon_is_found(full_run):
  verdicts = {
    result.claim.text: result.verdict for result in claims.evaluate(full_run)
  }
  assert verdicts["Tickets learn fastest at"] == "holds"
  assert "does not hold" not in verdicts.values()
  assert sum(each == "holds" for each in verdicts.values()) >= 12
  assert "4c" not in {r.claim.figure for r in claims.evaluate(full_run)}


def _arms(claim):
  """The arms that a claim compares, "dense" among them."""
  return {place.split()[0] for place in (claim.place, claim.against) if place}


def test_a_world_without_tickets_is_told_apart(full_run):
  """Tickets and reinits change places: what held then, holds no longer."""
  swapped = {"ticket": "reinit", "reinit": "ticket"}
  other_run = results.change(
    full_run,
    lambda x: x._replace(arm=swapped.get(x.arm, x.arm)) if x.round else x,
  )
  before, after = (
    {
      result.claim.text: result.verdict
      for result in claims.evaluate(run)
      if claims.is_comparative(result.claim)
      and "ticket" in (places := _arms(result.claim))
      and len(places) == 2
    }
    for run in (full_run, other_run)
  )
  held = {text for text, verdict in before.items() if verdict == "holds"}
  assert len(held) > 5
  assert not {text for text in held if after[text] == "holds"}
  assert "does not hold" in {after[text] for text in held}


def test_one_shot_claims_are_measured():
  run = synthetic_runs.read(**_PAPER, pruning="oneshot")
  by_figure = {r.claim.figure: r for r in claims.evaluate(run)}
  assert by_figure["4c"].verdict == "holds"
  assert "4a" not in by_figure  # those are about iterative pruning


_ROWS = [{"claim": x, "since": ""} for x in "abc"]


def test_a_claim_is_as_old_as_its_last_change():
  old, changed, new = _ROWS
  before = changed | {"claim": "B"}
  versions = [
    ("3", [old, changed, new]),
    ("2", [old | {"since": "1"}, changed]),
    ("1", [old, before]),
    ("0", [old, changed]),  # what came back is as new as its return
  ]
  assert claim_dates.since(_ROWS, versions) == ["0", "2", "3"]
  assert claim_dates.since([new | {"claim": "d"}], versions) == [""]


def test_the_dates_of_claims_are_those_of_git(monkeypatch):
  monkeypatch.chdir(pathlib.Path(__file__).parents[2])
  try:
    versions = claim_dates.history()
  except errors.InputError as error:
    pytest.skip(f"not a full clone: {error}")
  rows = claim_dates.read()
  assert [row["since"] for row in rows] == claim_dates.since(rows, versions)
  assert all(row["since"] for row in rows)


@pytest.mark.parametrize(
  ("since", "begun", "is_registered"),
  [
    ("2026-11-27T07:00:00Z", ["2026-11-27T07:00:01Z"], True),
    ("2026-11-27T07:00:00Z", ["2026-11-27T07:00:00Z"], False),
    ("2026-11-27T07:00:00Z", ["2026-11-28T00:00:00Z", None], False),
    ("2026-11-27T07:00:00Z", ["2027-01-01T00:00:00Z"] * 2, True),
    ("", ["2027-01-01T00:00:00Z"], False),
  ],
)
def test_a_claim_is_registered_only_before_every_run(
  since, begun, is_registered
):
  claim = claims.CLAIMS[0]._replace(since=since)
  assert claims.registered(claim, begun) == is_registered


@pytest.mark.parametrize("num", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_few_claims_hold_where_nothing_makes_a_difference(monkeypatch, num):
  monkeypatch.chdir(pathlib.Path(__file__).parents[2])
  held = [
    verdict in ("holds", "consistent")
    for found in null_claims.studies(num, replicates=5)
    for verdict in found.values()
  ]
  assert len(held) > 150 * num
  assert np.mean(held) <= 0.05
  assert num == 1 or abs(np.mean(held) - claims.BY_CHANCE) < 0.01


@functools.cache
def _full_masks(model, hidden, dataset):
  """The full masks of a network of width 1, which take a second to trace."""
  flat = {"model": model, "hidden": hidden, "dataset": dataset}
  return networks.full_masks(configs.from_flat(flat))


def _complete(name, config):
  """Returns a run with every trial of the catalog's, at its density."""
  asked = config.model
  full = _full_masks(asked.model, asked.hidden, config.data.dataset)
  flat, counted = configs.to_flat(config), sum(map(np.size, jax_leaves(full)))
  last = config.training.steps
  steps = np.arange(0, last + 1, flat["test_every"])
  found, described = [], []
  for index, density in enumerate(networks.ladder(config, full)):
    accuracy = 98 - 20 * (density < 0.015)
    for replicate in plan_lib.replicates(config):
      stop = last // 2 + 100 * index + replicate
      curve = np.where(steps > stop, 0.98, np.linspace(0.1, 0.98, len(steps)))
      for trial in plan_lib.of_round(config, replicate, index):
        arm, draw = records.name_arm(flat, trial.arm, trial.draw or 0)
        each = results.result(
          replicate, index, float(density), stop, accuracy, arm, draw,
          test_steps=steps, test_curve=curve, counted=counted, steady_step=stop,
        )  # fmt: skip
        fits = density > {"ticket": 0.02, "reinit": 0.05}.get(arm, 0.1)
        found.append(
          each._replace(
            early_stop=each.early_stop._replace(reached=True),
            end=each.end._replace(
              step=last, train_accuracy=1.0 if fits else 0.9, valid_loss=0.2
            ),
          )
        )
      numbers = 0.8, 55.0, 1.2, 10.0, 0.3, 0.5, 0.9, 0.5
      described += [
        structure.TicketStatistics(
          replicate, index, f"Dense_{i}/kernel", density, *numbers
        )
        for i in range(3)
      ]
  return records.Run(name, flat, tuple(found), tuple(described))


def _with_few_replicates(config):
  """Two are enough for every estimator."""
  few = min(2, config.study.replicates)
  study = dataclasses.replace(config.study, replicates=few)
  return dataclasses.replace(config, study=study)


def _measured(scale):
  """{(figure, text): whether runs of the catalog can answer it}."""
  planned = {
    run.name: _with_few_replicates(catalog.config(run))
    for row in catalog.ROWS
    for run in row.scales[scale]
  }
  run = functools.cache(lambda name: _complete(name, planned[name]))
  found = {}
  for claim in claims.CLAIMS:
    rows = {row.name for row in catalog.find(claim.figure)}
    assert any(
      n == r or n.startswith(f"{r}_") for n in claim.runs for r in rows
    )
    sample = claims.measure(claim, *map(run, claim.runs))
    found[claim.figure, claim.text] = bool(np.isfinite(sample.values).any())
  return found


def test_every_claim_can_be_measured_by_the_papers_runs():
  missing = [key for key, known in _measured("paper").items() if not known]
  assert missing == []


def test_small_runs_cannot_measure_a_known_set_of_claims():
  """Densities beyond their rounds, and accuracies as such."""
  absolute = {
    (claim.figure, claim.text)
    for claim in claims.CLAIMS
    if "scale" in claim.needs
  }
  missing = {key for key, known in _measured("cpu").items() if not known}
  beyond = missing - absolute
  assert {figure for figure, _ in beyond} <= {"5", "7", "8", "32", "36"}, beyond
  assert len(beyond) < 20, beyond
