"""The numbers that estimators compute, on runs made up for them."""

import dataclasses
import math

import numpy as np
import pytest
from helpers import results, synthetic_runs
from scipy import stats

from lth_jax.report import (
  claims,
  records,
)
from lth_jax.report.claims import samples


def _sample(run, estimator, quantity, place="ticket", against=""):
  return results.sample(estimator, quantity, place, against, run)


def test_arms_are_compared_over_a_range():
  run = results.run(
    ticket=[[(100, 98), (100, 99), (100, 97)]],
    reinit=[[None, (200, 98), (100, 96)]],
  )
  for quantity, place, against, value in (
    ("end_test", "ticket 50-25%", "reinit", 1),
    ("end_test", "reinit 50-25%", "ticket", -1),
    ("step", "ticket 50-50%", "reinit", 50),  # percent earlier
  ):
    found = results.sample("average", quantity, place, against, run)
    np.testing.assert_allclose(found.values, value)


def test_the_gap_between_train_and_test_is_compared():
  run = results.run(
    ticket=[[(100, 98), (100, 99)]]
  )  # all have 100% on training images
  found = results.sample("average", "end_gap", "ticket 50-50%", "dense", run)
  np.testing.assert_allclose(found.values, -1)
  assert "above zero at 0 of 1 densities, 50.0% to 50.0%" in found.note


def test_an_early_stop_that_is_not_reached_counts_for_its_replicate():
  run = results.run(ticket=[[(100, 98)], [(1000, 98)], [(100, 98)]])
  late = run.results[1]
  late = late._replace(early_stop=late.early_stop._replace(reached=False))
  none = run.results[2]
  none = none._replace(early_stop=none.early_stop._replace(step=math.nan))
  run = dataclasses.replace(run, results=(run.results[0], late, none))
  found = results.sample("level", "unstopped", "dense", "", run).values
  np.testing.assert_array_equal(found, [0, 100, math.nan])


def test_an_unreached_stop_of_the_other_arm_leaves_the_gain_open():
  run = results.run(
    ticket=[[(100, 98), (100, 99)]], reinit=[[None, (1000, 98)]]
  )
  late = run.results[-1]
  late = late._replace(early_stop=late.early_stop._replace(reached=False))
  run = dataclasses.replace(run, results=(*run.results[:-1], late))
  found = results.sample("average", "step", "ticket 50-50%", "reinit", run)
  assert found.may_rise and not found.may_fall


def test_the_smallest_gain_is_the_worst_density_down_to_a_limit():
  run = results.run(ticket=[[(9, 98), (9, 98.5), (9, 97.5), (9, 90)]] * 2)
  found = results.sample("worst", "end_test", "ticket 100-25%", "dense", run)
  np.testing.assert_allclose(found.values, [-0.5, -0.5])
  assert not found.may_fall and found.tries == 2
  further = results.sample("worst", "end_test", "ticket 100-5%", "dense", run)
  assert further.may_fall


def test_a_difference_may_err_to_either_side():
  a = samples.Sample(np.array([2.0]), may_rise=True, tries=3)
  b = samples.Sample(np.array([1.0]), may_fall=True, half_step=0.1)
  assert samples.minus(a, b) == samples.Sample(
    np.array([1.0]), True, False, "", 0.1, 3
  )
  assert samples.minus(b, a)[1:3] == (False, True)
  assert samples.over(b, a).values == [0.5]


def test_validation_loss_rises_and_order_is_found():
  end = records.Measurement(1000.0, True, 0.98, 1.0, valid_loss=0.3)
  steps = np.array([0, 100, 200, 300])
  run = results.run(ticket=[[(300, 98), (200, 98), (100, 98)]] * 2)
  trials = []
  for trial in run.results:
    # Reaches 96% one evaluation before it stops.
    curve = np.where(steps >= trial.early_stop.step - 100, 0.97, 0.5)
    trials.append(trial._replace(end=end, test_steps=steps, test_curve=curve))
  run = dataclasses.replace(run, results=tuple(trials))
  rise = results.sample("level", "loss_rise", "dense", "", run)
  np.testing.assert_allclose(rise.values, 3)
  order = results.sample("order", "step", "ticket", "", run)
  np.testing.assert_allclose(order.values, 1)
  one = dataclasses.replace(
    run, results=tuple(x for x in trials if x.replicate == 0)
  )
  alone = results.sample("order", "step", "ticket", "", one)
  assert np.isnan(alone.values).all()  # it has no other to compare with
  early = results.sample("difference", "test@10%", "ticket 25%", "dense", run)
  np.testing.assert_allclose(early.values, 47)


_BETTER = results.run(ticket=[[(100, 98), (50, 99), (80, 98.5)]] * 3)


_WORSE = results.run(ticket=[[(200, 97), (200, 96), (200, 95)]] * 3)


@pytest.mark.parametrize(
  ("asked", "runs", "value"),
  [
    (("difference", "end_test", "ticket 50%", "ticket 50%"),
     (_BETTER, _WORSE), 3),
    (("difference", "end_test", "ticket 50%", "dense"), (_BETTER, _WORSE), 2),
    (("ratio", "step", "ticket 50%", "ticket 50%"), (_WORSE, _BETTER), 4),
    (("average", "end_test", "ticket 50-25%", "dense"), (_BETTER,), 0.75),
    (("back", "end_test", "ticket", "ticket"), (_WORSE, _BETTER), 4),
  ],
)  # fmt: skip
def test_claims_on_several_runs_point_the_right_way(asked, runs, value):
  np.testing.assert_allclose(results.sample(*asked, *runs).values, value)
  if len(runs) > 1:
    assert not np.isclose(
      results.sample(*asked, *runs[::-1]).values, value
    ).any()


def test_only_shared_replicates_are_compared():
  fewer = dataclasses.replace(
    _WORSE, results=tuple(x for x in _WORSE.results if x.replicate)
  )
  found = results.sample(
    "difference", "end_test", "ticket 50%", "ticket 50%", _BETTER, fewer
  )
  assert found.values.tolist() == [3, 3]


def test_runs_that_share_no_replicate_give_no_number():
  other = results.run(ticket=[[(9, 98), (9, 98)]])
  other = dataclasses.replace(
    other, results=tuple(trial._replace(replicate=7) for trial in other.results)
  )
  found = results.sample("difference", "test", "dense", "dense", _BETTER, other)
  assert "no replicate" in found.note


def test_weakest_is_the_average_gain_of_the_run_with_the_least():
  weak = results.run(ticket=[[(9, 98), (9, 98.1)], [(9, 98), (9, 98.3)]])
  strong = results.run(ticket=[[(9, 98), (9, 99)]] * 2)
  for runs in ((weak, strong), (strong, weak)):
    found = results.sample("weakest", "end_test", "ticket 50%", "", *runs)
    np.testing.assert_allclose(found.values, [0.1, 0.3])


def test_gains_are_over_each_runs_own_dense_network():
  found = results.sample(
    "gains", "end_test", "ticket 50%", "ticket 50%", _BETTER, _WORSE
  )
  np.testing.assert_allclose(found.values, [2, 2, 2])  # 1 and -1


def test_trainings_that_diverge_or_fail_are_counted():
  run = results.run(ticket=[[(9, 98), (9, 10)], [(9, 98), (9, 98)]])
  dense, *others = run.results
  run = dataclasses.replace(
    run, results=(dense._replace(diverged=True), *others)
  )
  found = results.sample("diverged", "diverged", "dense", "", run)
  np.testing.assert_allclose(found.values, [100, 0])
  found = results.sample("level", "fails", "ticket 50%", "", run)
  np.testing.assert_allclose(found.values, [100, 0])
  found = results.sample("mean", "fails", "ticket 50-50%", "", run)
  np.testing.assert_allclose(found.values, [100, 0])


def test_equal_steps_are_known_to_an_evaluation_only():
  run = results.run({"eval_every": 20}, ticket=[[(100, 98), (50, 99)]] * 3)
  claim = claims.CLAIMS[0]._replace(
    band=(1.0, math.inf), opposites=(1.0,), unit="times",
    estimator="ratio", quantity="step", place="dense", against="ticket 50%",
  )  # fmt: skip
  ours = claims.judge(claim, claims.measure(claim, run)).ours
  np.testing.assert_allclose(
    [ours.low, ours.high], 2 * np.exp([-0.3, 0.3])
  )  # 10 of 100, and 10 of 50
  for estimator in ("earlier", "average"):
    each = claim._replace(
      unit="%", estimator=estimator, place="ticket 50%", against="dense"
    )
    ours = claims.judge(each, claims.measure(each, run)).ours
    assert ours.high - ours.low >= 20


def test_crossings_are_searched_from_the_sparse_end():
  accuracy = [[98, 97.9, 98.2, 97], [98, 98.2, 97, 97], [98, 97, 97, 97]]
  accuracy.append(accuracy[-1])
  step = [[5000, 4000, 4500, 6000]] * 4
  run = results.tickets(step, accuracy)
  back = _sample(run, "back", "test")
  np.testing.assert_allclose(back.values, [25, 50, 100, 100])
  np.testing.assert_allclose(
    _sample(run, "falls", "test").values, [12.5, 25, 50, 50]
  )
  np.testing.assert_allclose(_sample(run, "back", "step").values, [25] * 4)
  np.testing.assert_allclose(_sample(run, "fastest", "step").values, [50] * 4)
  assert not _sample(run, "fastest", "step").may_fall


def test_the_sparsest_good_density_is_that_of_its_arm():
  run = results.ladder(
    [[98.0, 98.1, 98.1, 97.0]] * 3, arms=["ticket", "reinit"]
  )
  reinits = tuple(
    results.result(replicate, index, 0.8**index, 900, accuracy, "reinit")
    for replicate in range(3)
    for index, accuracy in ((1, 98.0), (2, 97.9), (3, 97.9))
  )
  run = dataclasses.replace(run, results=run.results + reinits)
  for arm, index in (("ticket", 2), ("reinit", 1)):
    found = _sample(run, "back", "test", arm).values
    np.testing.assert_allclose(found, [100 * 0.8**index] * 3)


def test_crossing_beyond_the_run_is_an_upper_bound():
  found = _sample(
    results.tickets([[5000] * 4] * 3, [[98, 99, 99, 99]] * 3), "falls", "test"
  )
  np.testing.assert_allclose(found.values, [12.5] * 3)
  assert found.may_fall
  assert "3 of 3" in found.note


def test_fastest_at_the_end_of_the_run_may_be_sparser():
  run = results.tickets([[5000, 4000, 3000, 2000]] * 3, [[98] * 4] * 3)
  assert _sample(run, "fastest", "step").may_fall


_DENSITY_CLAIMS = [
  ("fastest", "step"),
  ("back", "step"),
  ("back", "test"),
  ("falls", "test"),
  ("lowest", "end_train", "ticket 100-2%"),
]


def _dip(rounds):
  """Accuracies that fall below the dense network's at once, and for good."""
  return [98.0, 98.1] + [97.0] * (rounds - 1)


@pytest.mark.parametrize("measure", _DENSITY_CLAIMS)
def test_rounds_that_are_missing_could_overturn_a_density(measure):
  finished = results.ladder([_dip(20)] * 4)
  assert not _sample(finished, *measure).may_fall
  short = results.ladder([_dip(20), *[_dip(3)] * 3])
  assert _sample(short, *measure).may_fall
  assert "not trained to the end yet: 3 of 4" in _sample(short, *measure).note


@pytest.mark.parametrize("measure", _DENSITY_CLAIMS)
def test_a_series_that_diverged_is_left_out(measure):
  run = results.ladder([_dip(20)] * 3 + [_dip(3)])
  trials = tuple(
    trial._replace(diverged=(trial.replicate, trial.round) == (3, 3))
    for trial in run.results
  )
  found = _sample(dataclasses.replace(run, results=trials), *measure)
  assert np.isnan(found.values).tolist() == [False] * 3 + [True]
  assert "left out, as a trial diverged: 1 of 4" in found.note
  assert not found.may_fall


def test_an_unfinished_run_decides_no_claim_over_densities():
  accuracy = [[98.0, *[98.4] * 16, *[97.0] * 4]] + [[98.0, 98.3, 98.3]] * 2
  over = {
    "Tickets learn fastest at",
    "Tickets are back to the original's early-stop step at",
    "Tickets: back to the original's test accuracy at 3.6%, it falls below at",
    "Tickets at the end: test accuracy above the original's by up to",
  }
  judged = claims.evaluate(results.ladder(accuracy))
  found = {each.claim.text: each.verdict for each in judged}
  assert {found[text] for text in over} == {"undecided"}


def test_largest_gain_may_rise_while_rounds_are_missing():
  done = [98.0, 98.3, 98.1, 98.1]
  best = "best", "end_test", "ticket", "dense"
  assert not _sample(results.ladder([done] * 3), *best).may_rise
  found = _sample(results.ladder([done, done, done[:2]]), *best)
  assert found.may_rise
  # Only densities that every replicate has are compared.
  assert found.tries == 1
  np.testing.assert_allclose(found.values, [0.3] * 3)


def test_a_range_that_is_measured_in_part_bounds_nothing():
  run = results.ladder([[98.0] + [98.3] * 4] * 3, pruning="oneshot")
  for place, is_open in (("ticket 95-45%", False), ("ticket 95-5.17%", True)):
    found = _sample(run, "average", "test", place, "dense")
    assert found[1:3] == (is_open, is_open)


def test_a_late_density_is_pending_for_controls_too():
  run = results.ladder(
    [_dip(4)] * 3, arms=["ticket", "random"], control_rounds=[3]
  )
  randoms = tuple(
    results.result(r, 3, 0.8**3, 900, 97, "random") for r in range(3)
  )
  finished = dataclasses.replace(run, results=run.results + randoms)
  assert "yet" not in _sample(finished, "falls", "test", "random").note
  short = dataclasses.replace(run, results=run.results + randoms[:2])
  assert "yet: 1 of 3" in _sample(short, "falls", "test", "random").note


def _claim_of(text):
  return next(each for each in claims.CLAIMS if each.text == text)


@pytest.mark.parametrize(
  "text",
  [
    "Tickets at the end: test accuracy above the original's by up to",
    "Tickets learn fastest at",
  ],
)
@pytest.mark.parametrize("replicates", [3, 10])
def test_the_best_of_noise_holds_no_more_often_than_by_chance(text, replicates):
  claim, rng, held = _claim_of(text), np.random.default_rng(1), 0
  for _ in range(200):
    step = rng.permuted(
      np.tile(np.arange(21.0) + 1000, (replicates, 1)), axis=1
    )
    accuracy = 98 + 0.2 * rng.standard_normal((replicates, 21))
    run = results.tickets(
      step.tolist(), accuracy.tolist(), 0.8 ** np.arange(21)
    )
    trials = tuple(
      trial._replace(end=trial.early_stop) for trial in run.results
    )
    run = dataclasses.replace(run, results=trials)
    held += claims.judge(claim, claims.measure(claim, run)).verdict == "holds"
  assert held <= 0.025 * 200


def test_the_best_of_many_is_tested_at_the_corrected_level():
  rng = np.random.default_rng(0)
  accuracy = 98 + 0.1 * rng.standard_normal((3, 21))
  claim = _claim_of(
    "Tickets at the end: test accuracy above the original's by up to"
  )
  sample = claims.measure(claim, results.ladder(accuracy.tolist()))
  result = claims.judge(claim, sample)
  expected = stats.ttest_1samp(sample.values, 0).confidence_interval(0.9975)
  np.testing.assert_allclose([result.ours.low, result.ours.high], expected)
  assert "the best of 20 densities" in result.note
  assert "level 99.75%" in result.note


def test_equal_crossings_are_known_to_a_step_of_the_ladder_only():
  claim = _claim_of(
    "Tickets: back to the original's test accuracy at 3.6%, it falls below at"
  )
  result = claims.judge(
    claim, claims.measure(claim, results.ladder([_dip(20)] * 3))
  )
  np.testing.assert_allclose(
    [result.ours.low, result.ours.high], [64 * 0.8**0.5, 64 / 0.8**0.5]
  )
  assert "half a step of the ladder (12%)" in result.note
  fastest = _claim_of("Tickets learn fastest at")
  ours = claims.judge(
    fastest, claims.measure(fastest, results.ladder([_dip(20)] * 3))
  ).ours
  np.testing.assert_allclose(
    [ours.low, ours.high], 100 * 0.8 ** np.array([0.5, -0.5])
  )


def test_a_ratio_of_crossings_has_both_their_half_steps():
  density, trials = 0.8 ** np.arange(8), []
  for r in range(3):
    for k in range(8):
      for arm, last in (("ticket", 6), ("reinit", 2)):
        if arm == "ticket" or k > 0:
          trial = results.result(r, k, density[k], 900, 98, arm)
          train = 1.0 if k <= last else 0.9
          end = trial.end._replace(train_accuracy=train)
          trials.append(trial._replace(end=end))
  config = synthetic_runs.config(rounds=7, arms=["ticket", "reinit"])
  found = _sample(
    records.Run("test", config, tuple(trials)),
    "fits",
    "end_train",
    "reinit",
    "ticket",
  )
  np.testing.assert_allclose(found.values, 0.8**-4)
  np.testing.assert_allclose(found.half_step, math.log(1 / 0.8))


def test_unreached_early_stop_bounds_a_ratio():
  run = results.tickets([[5000, 15000, 3000, 3000]] * 3, [[98] * 4] * 3)
  places = "ticket 50%", "ticket 25%"
  assert _sample(run, "ratio", "step", *places)[1:3] == (True, False)
  assert _sample(run, "earlier", "step", *places)[1:3] == (False, True)
  open_dense = results.tickets([[15000, 3000, 3000, 3000]] * 3, [[98] * 4] * 3)
  back = _sample(open_dense, "back", "step")
  assert np.isnan(back.values).all()
