"""The numbers that estimators compute, on runs made up for them."""

import dataclasses
import math

import numpy as np
import pytest
from helpers import results, synthetic_runs
from scipy import stats

from lth_jax.report import claims, records
from lth_jax.report.claims import samples


def _sample(run, estimator, quantity, place="ticket", against=""):
  return results.sample(estimator, quantity, place, against, run)


def _judge(claim, *runs):
  return claims.judge(claim, claims.measure(claim, *runs))


def _stopping(run, **changes):
  """A run whose last result stops early with other metrics."""
  *others, last = run.results
  stop = last.early_stop._replace(**changes)
  trials = (*others, last._replace(early_stop=stop))
  return dataclasses.replace(run, results=trials)


_ARMS = results.run(
  ticket=[[(100, 98), (100, 99), (100, 97)]],
  reinit=[[None, (200, 98), (100, 96)]],
)
_BETTER = results.run(ticket=[[(100, 98), (50, 99), (80, 98.5)]] * 3)
_WORSE = results.run(ticket=[[(200, 97), (200, 96), (200, 95)]] * 3)


@pytest.mark.parametrize(
  ("asked", "runs", "value"),
  [
    (("average", "end_test", "ticket 50-25%", "reinit"), (_ARMS,), 1),
    (("average", "end_test", "reinit 50-25%", "ticket"), (_ARMS,), -1),
    # Percent earlier.
    (("average", "step", "ticket 50-50%", "reinit"), (_ARMS,), 50),
    (("average", "end_test", "ticket 50-25%", "dense"), (_BETTER,), 0.75),
    # All have 100% on training images.
    (("average", "end_gap", "ticket 50-50%", "dense"), (_ARMS,), -1),
    (("difference", "end_test", "ticket 50%", "ticket 50%"),
     (_BETTER, _WORSE), 3),
    (("difference", "end_test", "ticket 50%", "dense"), (_BETTER, _WORSE), 2),
    (("ratio", "step", "ticket 50%", "ticket 50%"), (_WORSE, _BETTER), 4),
    # Over each run's own dense network: 1 and -1.
    (("gains", "end_test", "ticket 50%", "ticket 50%"), (_BETTER, _WORSE), 2),
    (("back", "end_test", "ticket", "ticket"), (_WORSE, _BETTER), 4),
  ],
)  # fmt: skip
def test_claims_compare_arms_and_runs(asked, runs, value):
  np.testing.assert_allclose(results.sample(*asked, *runs).values, value)
  if len(runs) > 1:
    swapped = results.sample(*asked, *runs[::-1]).values
    assert not np.isclose(swapped, value).any()


def test_an_average_tells_where_it_is_above_zero():
  note = _sample(_ARMS, "average", "end_gap", "ticket 50-50%", "dense").note
  assert "above zero at 0 of 1 densities, 50.0% to 50.0%" in note


def test_an_early_stop_that_is_not_reached_counts_for_its_replicate():
  run = results.run(ticket=[[(100, 98)], [(1000, 98)]])
  run = _stopping(run, reached=False)
  none = results.run(ticket=[[(100, 98)]]).results[0]._replace(replicate=2)
  none = none._replace(early_stop=none.early_stop._replace(step=math.nan))
  found = _sample(results.add(run, none), "level", "unstopped", "dense").values
  np.testing.assert_array_equal(found, [0, 100, math.nan])


def test_an_unreached_stop_of_the_other_arm_leaves_the_gain_open():
  run = results.run(
    ticket=[[(100, 98), (100, 99)]], reinit=[[None, (1000, 98)]]
  )
  run = _stopping(run, reached=False)
  found = _sample(run, "average", "step", "ticket 50-50%", "reinit")
  assert found.may_rise and not found.may_fall


def test_the_smallest_gain_is_the_worst_density_down_to_a_limit():
  run = results.run(ticket=[[(9, 98), (9, 98.5), (9, 97.5), (9, 90)]] * 2)
  found = _sample(run, "worst", "end_test", "ticket 100-25%", "dense")
  np.testing.assert_allclose(found.values, [-0.5, -0.5])
  assert not found.may_fall and found.tries == 2
  further = _sample(run, "worst", "end_test", "ticket 100-5%", "dense")
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

  def train(trial):
    # Reaches 96% one evaluation before it stops.
    curve = np.where(steps >= trial.early_stop.step - 100, 0.97, 0.5)
    return trial._replace(end=end, test_steps=steps, test_curve=curve)

  run = results.change(run, train)
  rise = _sample(run, "level", "loss_rise", "dense").values
  np.testing.assert_allclose(rise, 3)
  np.testing.assert_allclose(_sample(run, "order", "step").values, 1)
  one = results.keep(run, lambda each: each.replicate == 0)
  alone = _sample(one, "order", "step").values
  assert np.isnan(alone).all()  # it has no other to compare with
  early = _sample(run, "difference", "test@10%", "ticket 25%", "dense").values
  np.testing.assert_allclose(early, 47)


def test_only_shared_replicates_are_compared():
  fewer = results.keep(_WORSE, lambda each: each.replicate > 0)
  asked = "difference", "end_test", "ticket 50%", "ticket 50%"
  assert results.sample(*asked, _BETTER, fewer).values.tolist() == [3, 3]


def test_runs_that_share_no_replicate_give_no_number():
  other = results.change(_WORSE, lambda x: x._replace(replicate=7))
  found = results.sample("difference", "test", "dense", "dense", _BETTER, other)
  assert "no replicate" in found.note


def test_weakest_is_the_average_gain_of_the_run_with_the_least():
  weak = results.run(ticket=[[(9, 98), (9, 98.1)], [(9, 98), (9, 98.3)]])
  strong = results.run(ticket=[[(9, 98), (9, 99)]] * 2)
  for runs in ((weak, strong), (strong, weak)):
    found = results.sample("weakest", "end_test", "ticket 50%", "", *runs)
    np.testing.assert_allclose(found.values, [0.1, 0.3])


def test_trainings_that_diverge_or_fail_are_counted():
  run = results.run(ticket=[[(9, 98), (9, 10)], [(9, 98), (9, 98)]])
  run = results.change(
    run, lambda x: x._replace(diverged=(x.replicate, x.round) == (0, 0))
  )
  for asked in (
    ("diverged", "diverged", "dense"),
    ("level", "fails", "ticket 50%"),
    ("mean", "fails", "ticket 50-50%"),
  ):
    np.testing.assert_allclose(_sample(run, *asked).values, [100, 0])


def test_equal_steps_are_known_to_an_evaluation_only():
  run = results.run({"eval_every": 20}, ticket=[[(100, 98), (50, 99)]] * 3)
  claim = claims.CLAIMS[0]._replace(
    band=(1.0, math.inf), opposites=(1.0,), unit="times",
    estimator="ratio", quantity="step", place="dense", against="ticket 50%",
  )  # fmt: skip
  ours = _judge(claim, run).ours
  np.testing.assert_allclose(
    [ours.low, ours.high], 2 * np.exp([-0.3, 0.3])
  )  # 10 of 100, and 10 of 50
  for estimator in ("earlier", "average"):
    each = claim._replace(
      unit="%", estimator=estimator, place="ticket 50%", against="dense"
    )
    ours = _judge(each, run).ours
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
  run = results.add(run, *reinits)
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
  run = results.change(
    run, lambda x: x._replace(diverged=(x.replicate, x.round) == (3, 3))
  )
  found = _sample(run, *measure)
  assert np.isnan(found.values).tolist() == [False] * 3 + [True]
  assert "left out, as a trial diverged: 1 of 4" in found.note
  assert not found.may_fall


def test_an_unfinished_run_decides_no_claim_over_densities():
  accuracy = [[98.0, *[98.4] * 16, *[97.0] * 4]] + [[98.0, 98.3, 98.3]] * 2
  over = (
    *("Tickets are back to the original's early-stop step at", _FASTEST.text),
    *(_FALLS.text, _BEST.text),
  )
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
  asked = "falls", "test", "random"
  assert "yet" not in _sample(results.add(run, *randoms), *asked).note
  short = results.add(run, *randoms[:2])
  assert "yet: 1 of 3" in _sample(short, *asked).note


def _claim_of(text):
  return next(each for each in claims.CLAIMS if each.text == text)


_FASTEST = _claim_of("Tickets learn fastest at")
_BEST = _claim_of(
  "Tickets at the end: test accuracy above the original's by up to"
)
_FALLS = _claim_of(
  "Tickets: back to the original's test accuracy at 3.6%, it falls below at"
)


@pytest.mark.parametrize("replicates", [3, 10])
def test_the_best_of_noise_holds_no_more_often_than_by_chance(replicates):
  rng, held = np.random.default_rng(1), 0
  for _ in range(60):
    accuracy = 98 + 0.2 * rng.standard_normal((replicates, 21))
    held += _judge(_BEST, results.ladder(accuracy)).verdict == "holds"
  assert held <= 0.025 * 60


@pytest.mark.parametrize(
  ("fastest", "is_luck"), [((2, 9, 17), True), ((9, 9, 10), False)]
)
def test_the_fastest_density_counts_if_replicates_agree_on_it(fastest, is_luck):
  steps = np.full((3, 21), 5000)
  steps[range(3), fastest] = 4000
  run = results.tickets(steps, np.full((3, 21), 98), 0.8 ** np.arange(21))
  found = _sample(run, "fastest", "step")
  assert found[1:3] == (is_luck, is_luck)
  assert ("no better than by luck" in found.note) == is_luck


def test_the_best_of_many_is_tested_at_the_corrected_level():
  rng = np.random.default_rng(0)
  run = results.ladder(98 + 0.1 * rng.standard_normal((3, 21)))
  result = _judge(_BEST, run)
  sample = claims.measure(_BEST, run).values
  expected = stats.ttest_1samp(sample, 0).confidence_interval(0.9975)
  np.testing.assert_allclose([result.ours.low, result.ours.high], expected)
  assert "the best of 20 densities" in result.note
  assert "level 99.75%" in result.note


@pytest.mark.parametrize(("claim", "at"), [(_FALLS, 64), (_FASTEST, 100)])
def test_equal_densities_are_known_to_a_step_of_the_ladder_only(claim, at):
  result = _judge(claim, results.ladder([_dip(20)] * 3))
  np.testing.assert_allclose(
    [result.ours.low, result.ours.high], at * 0.8 ** np.array([0.5, -0.5])
  )
  assert "half a step of the ladder (12%)" in result.note


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
