"""Statistics over replicates, winning tickets, and missing trials."""

import dataclasses
import math

import numpy as np
import pytest
from helpers import results, synthetic_runs
from scipy import stats

from lth_jax.report import (
  headline,
  plan,
  records,
  statistics,
  tables,
  winning,
)


def test_interval_is_the_paired_t_interval():
  sample = np.array([0.3, math.nan, 0.1, 0.5, 0.2])
  found = statistics.interval(sample)
  expected = stats.ttest_1samp(
    sample[np.isfinite(sample)], 0
  ).confidence_interval(0.95)
  np.testing.assert_allclose([found.low, found.high], expected)
  assert (found.n, found.minimum, found.maximum) == (4, 0.1, 0.5)
  np.testing.assert_allclose(found.mean, 0.275)


def test_one_value_or_none_bounds_nothing():
  assert statistics.interval(np.array([1.0])).low == -math.inf
  assert statistics.interval(np.array([math.nan])).n == 0


def test_draws_are_averaged_inside_a_replicate_and_divergence_drops_it():
  trials = (
    results.result(0, 1, 0.5, 100, 90, "reinit", 0),
    results.result(0, 1, 0.5, 300, 94, "reinit", 1),
    results.result(1, 1, 0.5, 100, 90, "reinit", 0),
    results.result(1, 1, 0.5, 100, 90, "reinit", 1, diverged=True),
  )
  run = records.Run("test", synthetic_runs.config(), trials)
  steps = statistics.values(run, "reinit", statistics.EARLY_STEP)
  np.testing.assert_array_equal(steps, [[200], [math.nan]])
  accuracy = statistics.values(run, "reinit", statistics.EARLY_TEST)
  np.testing.assert_allclose(accuracy, [[92], [math.nan]])


_WINS, _LOSES, _OPEN = "wins", "does not win", "undecided"
_STEPS = [[5000, 3000, 5000, 5000]] * 3
_SOON = [[5000, 3000, 5000, 3000], [5200, 3100, 5200, 3100],
         [5100, 3200, 5100, 3200]]  # fmt: skip
_LUCK = [[0], [200], [100]]
_SAME = [[98] * 4] * 3


@pytest.mark.parametrize(
  ("step", "accuracy", "verdicts"),
  [
    # Better and sooner; as good and as soon; worse.
    (
      _SOON,
      [[98.0, 98.3, 97.95, 97.8], [98.1, 98.5, 98.05, 97.9],
       [98.2, 98.5, 98.15, 98.0]],
      [_WINS, _WINS, _LOSES],
    ),
    # Too late.
    (np.add(_LUCK, [5000, 6000, 5000, 5000]), _SAME, [_LOSES, _WINS, _WINS]),
    # Steps are known to an evaluation: it may be later by more than one.
    (np.add(_LUCK, [5000, 5100, 5000, 5000]), _SAME, [_OPEN, _WINS, _WINS]),
    # Noise, and few replicates.
    (
      _STEPS,
      [[98, 99, 97.5, 98], [98, 99, 98.5, 98], [98, 99, 98.0, 98]],
      [_WINS, _OPEN, _WINS],
    ),
    (_STEPS[:2], _SAME[:2], [_OPEN] * 3),
    # A step that is a lower bound proves neither win nor loss.
    ([[15000, 3000, 15000, 15000]] * 3, _SAME, [_WINS, _OPEN, _OPEN]),
    ([[5000, 15000, 15000, 5000]] * 3, _SAME, [_LOSES, _LOSES, _WINS]),
  ],
)  # fmt: skip
def test_ticket_wins_by_non_inferiority(step, accuracy, verdicts):
  found = winning.winning(results.tickets(step, accuracy))
  assert [each.verdict for each in found] == verdicts


@pytest.mark.parametrize(
  ("dense", "ticket", "shown"),
  [
    (5000, 4000, "0.80"),
    (5000, 15000, "≥ 3"),
    (15000, 5000, "≤ 0.33"),
    (15000, 15000, "? 1"),
  ],
)
def test_a_factor_of_steps_that_were_not_reached_is_a_bound(
  dense, ticket, shown
):
  run = results.tickets([[dense, ticket]] * 3, [[98, 98]] * 3)
  table = tables.verdicts(winning.winning(run)).text
  assert table.rows[0][4].startswith(shown)


@pytest.mark.parametrize(
  ("end_test", "verdicts"),
  [
    # As accurate as the paper's dense network, then far below.
    ([[89.0, 89.5, 89.0, 80.0]] * 3, [_WINS, _WINS, _LOSES]),
    ([[60.0, 70.0, 70.0, 70.0]] * 3, ["not measured"] * 3),
  ],
)
def test_accuracy_at_the_end_decides_alone_without_an_early_stop(
  end_test, verdicts
):
  late = results.tickets([[15000, 15000, 15000, 15000]] * 3, end_test)
  run = dataclasses.replace(late, config=late.config | {"model": "resnet20"})
  found = winning.winning(run)
  assert [each.verdict for each in found] == verdicts
  assert {each.step.n for each in found} == {0}
  line = headline.headline(run, found)
  assert "at step" not in line
  assert ("not trained" in line) == ("not measured" in verdicts)


@pytest.mark.parametrize("later", [-500, 0, 50, 1000])
def test_an_interval_of_steps_is_no_narrower_than_an_evaluation(later):
  run = results.tickets([[5000, 5000 + later, 5000, 5000]] * 3, [[98] * 4] * 3)
  ticket = winning.winning(run)[0]
  assert (ticket.step.low, ticket.step.high) == (later - 50, later + 50)
  cell = tables.verdicts([ticket]).text.rows[0][3]
  low, high = (tables.number(later + x, 0) for x in (-50, 50))
  assert f"({low} to {high})" in cell
  bounds = (5000 + later - 50) / 5000, (5000 + later + 50) / 5000
  np.testing.assert_allclose((ticket.ratio.low, ticket.ratio.high), bounds)


@pytest.mark.parametrize(
  ("changes", "arms", "ends"),
  [
    ({}, ("ticket", "random"), {0: 1}),
    ({}, ("random",), {}),
    ({"pruning": "oneshot"}, ("ticket", "random"), {}),
    ({"reset": "continued"}, ("ticket", "random"), {}),
  ],
)
def test_one_shot_and_control_trials_end_no_series(changes, arms, ends):
  trials = tuple(
    results.result(0, 1, 0.5, 100, 90, arm, diverged=True) for arm in arms
  )
  run = records.Run("test", synthetic_runs.config(**changes), trials)
  assert plan.ended(run) == ends


def test_levels_of_noise_are_arms_of_their_own():
  run = synthetic_runs.read(arms=["ticket", "noise"], noise=[0.5, 2.0])
  assert statistics.arms(run) == ("ticket", "noise 0.5", "noise 2")
  assert plan.missing(run) == ()
  assert plan.last_round(run, "noise 2") == 2
  few = results.keep(run, lambda each: each.arm != "noise 2")
  assert {trial.arm for trial in plan.missing(few)} == {"noise 2"}
