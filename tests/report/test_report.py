"""Reports are computed from records alone; what they say is checked here."""

import concurrent.futures
import csv
import json
import math
import pathlib
import re
import shutil

import numpy as np
import pytest
from helpers import synthetic_runs
from matplotlib import figure
from scipy import stats

from lth_jax import errors, report
from lth_jax.analysis import summary
from lth_jax.config import configs, flags
from lth_jax.config import plan as plan_lib
from lth_jax.report import (
  claims,
  comparison,
  html,
  plan,
  protocols,
  records,
  statistics,
  tables,
)
from lth_jax.report.claims import samples
from lth_jax.report.figures import canvas, distributions, panels
from lth_jax.storage import files

_SMALL = {
  "rounds": 4,
  "steps": 1500,
  "test_every": 300,
  "dataset": "mnist_10k",
  "arms": ["ticket", "reinit"],
  "reinits": 2,
}
_FILES = {
  "index.html",
  "summary.md",
  ".lock",
  *(f"{name}.{end}" for name in ("table", "claims", "verdicts")
    for end in ("csv", "md")),
  *(f"figure_{name}.{end}" for name in ("3", "4a", "4b", "11")
    for end in ("svg", "png")),
}  # fmt: skip


@pytest.fixture(scope="module")
def full_run(tmp_path_factory):
  return records.read(synthetic_runs.write(tmp_path_factory.mktemp("full")))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  """A small run with its report written."""
  workdir = synthetic_runs.write(tmp_path_factory.mktemp("small"), **_SMALL)
  report.write(workdir)
  return workdir


def _sample(run, estimator, quantity, place="ticket", against=""):
  """What a run has for a claim that asks for this."""
  claim = claims.CLAIMS[0]._replace(
    estimator=estimator, quantity=quantity, place=place, against=against
  )
  return claims.measure(claim, run)


def _run(step, accuracy, density=(1.0, 0.5, 0.25, 0.125), **more):
  """Makes a run of tickets: `step` and `accuracy` (%) are `[R, K]`."""
  trials = tuple(
    _trial(r, k, density[k], step[r][k], accuracy[r][k])
    for r in range(len(step))
    for k in range(len(step[r]))
  )
  planned = {
    "arms": ["ticket"],
    "rounds": max(map(len, step)) - 1,
    "replicates": len(step),
  }
  return records.Run("test", synthetic_runs.config(**(planned | more)), trials)


def _ladder(accuracy, train=1.0, **more):
  """Makes a run of tickets on the 0.8 ladder; its end is as its early stop."""
  step = [[1000.0 + k for k in range(len(row))] for row in accuracy]
  density = [0.8**k for k in range(max(map(len, accuracy)))]
  run = _run(step, accuracy, density, **more)
  trials = tuple(
    trial._replace(
      end=trial.early_stop._replace(reached=True, train_accuracy=train)
    )
    for trial in run.trials
  )
  return run._replace(trials=trials)


def _trial(
  replicate, index, density, step, accuracy, arm="ticket", draw=0, **more
):
  stop = records.Point(step, step < 15000, accuracy / 100, 0.99)
  end = records.Point(15000, True, accuracy / 100, 1.0)
  empty = np.empty(0)
  return records.Result(
    replicate, index, arm, draw, density, empty, empty, stop, end,
    more.get("diverged", False), (),
  )  # fmt: skip


def _verdicts(run):
  return [each.verdict for each in statistics.winning(run)]


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
    _trial(0, 1, 0.5, 100, 90, "reinit", 0),
    _trial(0, 1, 0.5, 300, 94, "reinit", 1),
    _trial(1, 1, 0.5, 100, 90, "reinit", 0),
    _trial(1, 1, 0.5, 100, 90, "reinit", 1, diverged=True),
  )
  run = records.Run("test", synthetic_runs.config(), trials)
  steps = statistics.values(run, "reinit", statistics.EARLY_STEP)
  np.testing.assert_array_equal(steps, [[200], [math.nan]])
  accuracy = statistics.values(run, "reinit", statistics.EARLY_TEST)
  np.testing.assert_allclose(accuracy, [[92], [math.nan]])


def test_ticket_wins_by_non_inferiority():
  # Better and sooner; as good and as soon; worse; too late.
  step = [[5000, 3000, 5000, 3000], [5200, 3100, 5200, 3100],
          [5100, 3200, 5100, 3200]]  # fmt: skip
  accuracy = [[98.0, 98.3, 97.95, 97.8], [98.1, 98.5, 98.05, 97.9],
              [98.2, 98.5, 98.15, 98.0]]  # fmt: skip
  assert _verdicts(_run(step, accuracy)) == ["wins", "wins", "does not win"]
  late = [[row[0], row[0] + 1000, row[0], row[0]] for row in step]
  same = [[row[0]] * 4 for row in accuracy]
  assert _verdicts(_run(late, same)) == ["does not win", "wins", "wins"]
  # Steps are known to an evaluation: it may be later by more than one.
  late = [[row[0], row[0] + 100, row[0], row[0]] for row in step]
  assert _verdicts(_run(late, same)) == ["undecided", "wins", "wins"]


@pytest.mark.parametrize("later", [-500, 0, 50, 1000])
def test_an_interval_of_steps_is_no_narrower_than_an_evaluation(later):
  run = _run([[5000, 5000 + later, 5000, 5000]] * 3, [[98] * 4] * 3)
  ticket = statistics.winning(run)[0]
  assert (ticket.step.low, ticket.step.high) == (later - 50, later + 50)
  cell = tables.verdicts([ticket]).text.rows[0][3]
  low, high = (tables.number(later + x, 0) for x in (-50, 50))
  assert f"({low} to {high})" in cell


@pytest.mark.parametrize(
  ("unit", "shown"),
  [
    ("% of weights", ("0", "100")),
    ("weights", ("0", "112")),
    ("correlation", ("-1", "1")),
    ("%", ("-3.5", "112")),
    ("points", ("-3.5", "112")),
  ],
)
def test_an_interval_ends_where_its_number_does(unit, shown):
  claim = claims.CLAIMS[0]._replace(unit=unit)
  ours = statistics.Interval(0.5, -3.5, 112.0, 0.4, 0.6, 3)
  table = tables.claim_table([claims.Result(claim, ours, "holds", "", "")])
  assert table.data.rows[0][8:10] == shown
  digits = {"%": 1, "% of weights": 1, "weights": 0}.get(unit, 2)
  low, high = (tables.number(float(x), digits) for x in shown)
  assert f"{low} to {high}" in table.text.rows[0]
  unknown = ours._replace(low=-math.inf, high=math.inf, n=1)
  assert statistics.within(unknown, 0, 1) == unknown


@pytest.mark.parametrize(
  ("figure", "shown"),
  [("12", ("0", "100")), ("36", ("0", "100")), ("20", ("-3.5", "112"))],
)
def test_an_interval_of_a_share_ends_at_100_percent(figure, shown):
  """Of figure 20 the number is a difference of shares."""
  claim = next(x for x in claims.CLAIMS if (x.figure, x.unit) == (figure, "%"))
  ours = statistics.Interval(99.9, -3.5, 112.0, 99.8, 100.0, 3)
  table = tables.claim_table([claims.Result(claim, ours, "holds", "", "")])
  assert table.data.rows[0][8:10] == shown


@pytest.mark.parametrize(
  ("verdicts", "says", "undecided"),
  [
    (
      "wwwl",
      "Winning tickets from 80.0% down to 51.2% of the weights (3 of 4",
      "",
    ),
    (
      "wulw",
      "A winning ticket at 80.0% of the weights (1 of 4 densit",
      "64.0%",
    ),
    ("uuuw", "A winning ticket at 41.0% of", "80.0%, 64.0%, 51.2%"),
    (
      "wlww",
      "Winning tickets from 51.2% down to 41.0% of the weights (2 of",
      "",
    ),
    (
      "lllu",
      "No winning ticket is established: of 4 densities, 3 do not",
      None,
    ),
  ],
)
def test_the_headline_claims_no_more_than_the_table(verdicts, says, undecided):
  run = _ladder([[98.0] * 5] * 3)
  words = {"w": "wins", "u": "undecided", "l": "does not win"}
  found = [
    each._replace(verdict=words[letter])
    for each, letter in zip(statistics.winning(run), verdicts, strict=True)
  ]
  line = html.headline(html.Content(run, "", found, (), ()))
  assert line.startswith(says)
  assert line.partition("Undecided at ")[2].rstrip(".") == (undecided or "")


@pytest.mark.parametrize(
  ("gains", "down_to"),
  [
    ([0, 1, 1, -1], "51.2%"),
    ([0, -1, 1, 1], "100.0%"),
    ([0, 1, math.nan, 1], "41.0%"),
    ([math.nan] * 4, tables.DASH),
  ],
)
def test_a_comparison_goes_down_to_the_first_density_that_is_worse(
  gains, down_to
):
  density = np.array([100, 80, 51.2, 41.0])
  assert comparison._down_to(np.array(gains, float), density) == down_to


@pytest.mark.parametrize("same", ["accuracy", "loss", "both"])
@pytest.mark.parametrize("step", [0, 900])
def test_a_curve_whose_values_are_all_equal_is_drawn(tmp_path, same, step):
  """Warnings are errors here."""
  workdir = synthetic_runs.write(tmp_path, **{**_SMALL, "rounds": 1})
  for path in workdir.glob("replicate_*/round_*/*/record.json"):
    record = json.loads(path.read_text())
    if same != "loss":
      record["tests"]["accuracy"] = [0.1] * len(record["tests"]["step"])
      for point in (record["early_stop"], record["end"]):
        point |= {"test_accuracy": 0.1, "train_accuracy": 0.1}
    if same != "accuracy":
      number = len(record["evaluations"]["step"])
      record["evaluations"]["valid_loss"] = [2.3] * (number - 1) + [None]
    record["early_stop"]["step"] = step
    synthetic_runs.write_trial(workdir, record)
  assert {"figure_3", "figure_11"} <= report.draw(workdir).keys()


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-1+1", "@SUM(A1)", "\t=1"])
def test_no_cell_is_a_formula(text):
  table = tables.Table(("a", "b", "c"), ((text, "-0.5", "+1e-05"),))
  (_, row) = csv.reader(tables.csv(table, text).splitlines())
  assert row == [f"'{text}", "-0.5", "+1e-05", f"'{text}"]


@pytest.mark.parametrize(
  "text",
  ["a|b", "a\\|b", "<script>x</script>", "[x](http://y)", "two\nlines", "\\"],
)
def test_a_cell_of_markdown_is_one_cell_of_text(text):
  cell = tables.cell(text)
  # As GitHub reads a row: a backslash takes the next character with it.
  assert not re.search(r"\||\n|<", re.sub(r"\\.", "", cell))
  assert "](" not in cell and not re.search(r"(?<!\\)(\\\\)*\\$", cell)


def test_few_replicates_and_noise_are_undecided():
  step = [[5000, 3000, 5000, 5000]] * 3
  accuracy = [[98, 99, 97.5, 98], [98, 99, 98.5, 98], [98, 99, 98.0, 98]]
  assert _verdicts(_run(step, accuracy)) == ["wins", "undecided", "wins"]
  assert set(_verdicts(_run(step[:2], accuracy[:2]))) == {"undecided"}


def test_step_that_is_a_lower_bound_proves_neither_win_nor_loss():
  accuracy = [[98] * 4] * 3
  dense_open = [[15000, 3000, 15000, 15000]] * 3
  assert _verdicts(_run(dense_open, accuracy)) == [
    "wins",
    "undecided",
    "undecided",
  ]
  ticket_open = [[5000, 15000, 15000, 5000]] * 3
  assert _verdicts(_run(ticket_open, accuracy))[0] == "does not win"


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
  claim = claims.CLAIMS[0]._replace(
    band=(0.15, 0.6), opposites=(0.0,), unit="points"
  )
  sample = samples.Sample(np.array(values), may == "rise", may == "fall")
  assert claims.judge(claim, sample).verdict == verdict


def test_open_band_holds_where_the_truth_may_only_be_larger():
  claim = claims.CLAIMS[0]._replace(
    band=(1.0, math.inf), opposites=(1.0,), unit="times"
  )
  values = np.array([1.5, 1.6, 1.4])
  assert claims.judge(claim, samples.Sample(values, True)).verdict == "holds"
  found = claims.judge(claim, samples.Sample(values)).ours
  np.testing.assert_allclose(found.mean, np.exp(np.mean(np.log(values))))


def test_crossings_are_sought_from_the_sparse_end():
  accuracy = [[98, 97.9, 98.2, 97], [98, 98.2, 97, 97], [98, 97, 97, 97]]
  accuracy.append(accuracy[-1])
  step = [[5000, 4000, 4500, 6000]] * 4
  run = _run(step, accuracy)
  back = _sample(run, "back", "test")
  np.testing.assert_allclose(back.values, [25, 50, 100, 100])
  np.testing.assert_allclose(
    _sample(run, "falls", "test").values, [12.5, 25, 50, 50]
  )
  np.testing.assert_allclose(_sample(run, "back", "step").values, [25] * 4)
  np.testing.assert_allclose(_sample(run, "fastest", "step").values, [50] * 4)
  assert not _sample(run, "fastest", "step").may_fall


def test_the_sparsest_good_density_is_that_of_its_arm():
  run = _ladder([[98.0, 98.1, 98.1, 97.0]] * 3, arms=["ticket", "reinit"])
  reinits = tuple(
    _trial(replicate, index, 0.8**index, 900, accuracy, "reinit")
    for replicate in range(3)
    for index, accuracy in ((1, 98.0), (2, 97.9), (3, 97.9))
  )
  run = run._replace(trials=run.trials + reinits)
  for arm, index in (("ticket", 2), ("reinit", 1)):
    found = _sample(run, "back", "test", arm).values
    np.testing.assert_allclose(found, [100 * 0.8**index] * 3)


def test_crossing_beyond_the_run_is_an_upper_bound():
  found = _sample(
    _run([[5000] * 4] * 3, [[98, 99, 99, 99]] * 3), "falls", "test"
  )
  np.testing.assert_allclose(found.values, [12.5] * 3)
  assert found.may_fall
  assert "3 of 3" in found.note


def test_fastest_at_the_end_of_the_run_may_be_sparser():
  run = _run([[5000, 4000, 3000, 2000]] * 3, [[98] * 4] * 3)
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
  finished = _ladder([_dip(20)] * 4)
  assert not _sample(finished, *measure).may_fall
  short = _ladder([_dip(20), *[_dip(3)] * 3])
  assert _sample(short, *measure).may_fall
  assert "not trained to the end yet: 3 of 4" in _sample(short, *measure).note


@pytest.mark.parametrize("measure", _DENSITY_CLAIMS)
def test_a_series_that_diverged_is_left_out(measure):
  run = _ladder([_dip(20)] * 3 + [_dip(3)])
  trials = tuple(
    trial._replace(diverged=(trial.replicate, trial.round) == (3, 3))
    for trial in run.trials
  )
  found = _sample(run._replace(trials=trials), *measure)
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
  results = claims.evaluate(_ladder(accuracy))
  found = {each.claim.text: each.verdict for each in results}
  assert {found[text] for text in over} == {"undecided"}


def test_largest_gain_may_rise_while_rounds_are_missing():
  done = [98.0, 98.3, 98.1, 98.1]
  best = "best", "end_test", "ticket", "dense"
  assert not _sample(_ladder([done] * 3), *best).may_rise
  found = _sample(_ladder([done, done, done[:2]]), *best)
  assert found.may_rise
  # Only densities that every replicate has are compared.
  assert found.tries == 1
  np.testing.assert_allclose(found.values, [0.3] * 3)


def test_a_range_that_is_measured_in_part_bounds_nothing():
  run = _ladder([[98.0] + [98.3] * 4] * 3, pruning="oneshot")
  for place, is_open in (("ticket 95-45%", False), ("ticket 95-5.17%", True)):
    found = _sample(run, "average", "test", place, "dense")
    assert found[1:3] == (is_open, is_open)


def test_a_late_density_is_pending_for_controls_too():
  run = _ladder([_dip(4)] * 3, arms=["ticket", "random"], control_rounds=[3])
  randoms = tuple(_trial(r, 3, 0.8**3, 900, 97, "random") for r in range(3))
  finished = run._replace(trials=run.trials + randoms)
  assert "yet" not in _sample(finished, "falls", "test", "random").note
  short = run._replace(trials=run.trials + randoms[:2])
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
    run = _run(step.tolist(), accuracy.tolist(), 0.8 ** np.arange(21))
    trials = tuple(trial._replace(end=trial.early_stop) for trial in run.trials)
    run = run._replace(trials=trials)
    held += claims.judge(claim, claims.measure(claim, run)).verdict == "holds"
  assert held <= 0.025 * 200


def test_the_best_of_many_is_tested_at_the_corrected_level():
  rng = np.random.default_rng(0)
  accuracy = 98 + 0.1 * rng.standard_normal((3, 21))
  claim = _claim_of(
    "Tickets at the end: test accuracy above the original's by up to"
  )
  sample = claims.measure(claim, _ladder(accuracy.tolist()))
  result = claims.judge(claim, sample)
  expected = stats.ttest_1samp(sample.values, 0).confidence_interval(0.9975)
  np.testing.assert_allclose([result.ours.low, result.ours.high], expected)
  assert "the best of 20 densities" in result.note
  assert "level 99.75%" in result.note


def test_equal_crossings_are_no_surer_than_the_ladder():
  claim = _claim_of(
    "Tickets: back to the original's test accuracy at 3.6%, it falls below at"
  )
  result = claims.judge(claim, claims.measure(claim, _ladder([_dip(20)] * 3)))
  np.testing.assert_allclose(
    [result.ours.low, result.ours.high], [64 * 0.8**0.5, 64 / 0.8**0.5]
  )
  assert "half a step of the ladder (12%)" in result.note
  fastest = _claim_of("Tickets learn fastest at")
  ours = claims.judge(
    fastest, claims.measure(fastest, _ladder([_dip(20)] * 3))
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
          trial = _trial(r, k, density[k], 900, 98, arm)
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
  run = _run([[5000, 15000, 3000, 3000]] * 3, [[98] * 4] * 3)
  places = "ticket 50%", "ticket 25%"
  assert _sample(run, "ratio", "step", *places)[1:3] == (True, False)
  assert _sample(run, "earlier", "step", *places)[1:3] == (False, True)
  open_dense = _run([[15000, 3000, 3000, 3000]] * 3, [[98] * 4] * 3)
  back = _sample(open_dense, "back", "step")
  assert np.isnan(back.values).all()


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
  trials = tuple(
    trial._replace(arm=swapped.get(trial.arm, trial.arm))
    if trial.round
    else trial
    for trial in full_run.trials
  )
  before, after = (
    {
      result.claim.text: result.verdict
      for result in claims.evaluate(full_run._replace(trials=found))
      if claims.is_comparative(result.claim)
      and "ticket" in (places := _arms(result.claim))
      and len(places) == 2
    }
    for found in (full_run.trials, trials)
  )
  held = {text for text, verdict in before.items() if verdict == "holds"}
  assert len(held) > 5
  assert not {text for text in held if after[text] == "holds"}
  assert "does not hold" in {after[text] for text in held}


def test_every_band_excludes_its_opposites():
  for claim in claims.CLAIMS:
    low, high = claim.band
    assert low < high
    assert all(not low < opposite < high for opposite in claim.opposites)


def test_one_shot_claims_are_measured(tmp_path):
  run = records.read(synthetic_runs.write(tmp_path, pruning="oneshot"))
  by_figure = {r.claim.figure: r for r in claims.evaluate(run)}
  assert by_figure["4c"].verdict == "holds"
  assert "4a" not in by_figure  # those are about iterative pruning


def test_protocol_differences_are_named():
  paper = configs.to_flat(configs.Config())
  assert protocols.differences(paper) == ""
  assert protocols.differences({**paper, "rates": [
    "output=0.10", "kernel=.2"]}) == ""  # fmt: skip
  assert protocols.differences({**paper, "replicates": 20}) == ""
  assert protocols.differences({**paper, "steps": 15000}) == (
    "scaled down: steps 15,000 instead of 50,000"
  )
  assert protocols.differences({**paper, "optimizer": "sgd"}) == (
    "not the paper's main protocol: optimizer sgd instead of adam"
  )


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (
      {"arms": ["ticket", "reinit"]},
      "not the paper's main protocol: arms ticket, reinit instead",
    ),
    (
      {"control_rounds": [1, 5]},
      "not the paper's main protocol: control_rounds 1, 5",
    ),
    ({"control_rounds": list(range(1, 21))}, ""),
    ({"arms": ["ticket", "reinit"], "pruning": "oneshot"}, ""),
    ({"arms": ["ticket", "reinit", "random", "random_global"]}, ""),
    ({"scaling": "l2"}, "not the paper's main protocol: scaling l2"),
    ({"order": "per_round"}, "not the paper's main protocol: order per_round"),
    ({"matmul_precision": "default"}, "protocol: matmul_precision default"),
    (
      {"rates": ["Dense_0/kernel=0.1", "kernel=0.2"]},
      "protocol: rates Dense_0",
    ),
    ({"rates": ["kernel=0.2", "output=0.1"]}, "protocol: rates kernel"),
    ({"dataset": "mnist_corrupted"}, "not the paper's main protocol: dataset"),
    ({"dataset": "mnist_10k"}, "scaled down: dataset mnist_10k"),
    ({"test_every": 1, "seed": 3}, ""),
  ],
)
def test_departures_from_the_paper_are_named(change, words):
  found = protocols.differences(configs.to_flat(configs.Config()) | change)
  assert words in found
  assert bool(words) == bool(found)


def test_a_variant_is_held_to_the_papers_run_of_it():
  paper = configs.to_flat(configs.Config())
  original = paper | {"optimizer": "sgd", "learning_rate": 0.8}
  assert protocols.differences(original, original) == ""
  ours = original | {"num_train": 9000, "replicates": 3}
  assert protocols.differences(ours, original) == (
    "scaled down: num_train 9,000 instead of all; replicates 3 instead of 5"
  )


@pytest.mark.parametrize(
  ("model", "early_stop"), [("lenet", True), ("vgg19", False)]
)
def test_a_summary_shows_what_the_paper_reports(model, early_stop):
  run = _run([[500, 400]] * 3, [[98, 97]] * 3)
  header = tables.summary(
    run._replace(config=run.config | {"model": model})
  ).header
  assert any("early stop" in title for title in header) == early_stop
  assert any("at the end" in title for title in header) != early_stop


def test_densities_that_look_alike_get_more_digits():
  run = _ladder([[98.0, 98.0, 98.0]])
  trials = tuple(
    trial._replace(density=1 - 0.0006 * trial.round) for trial in run.trials
  )
  rows = tables.summary(run._replace(trials=trials)).rows
  assert [row[0] for row in rows] == ["100%", "99.94%", "99.88%"]


def test_report_has_every_file_and_no_other(small):
  assert {path.name for path in (small / "report").iterdir()} == _FILES


def test_two_reports_are_equal_byte_for_byte(small, tmp_path):
  shutil.copytree(small, tmp_path / "copy")
  shutil.rmtree(tmp_path / "copy" / "report")
  report.write(tmp_path / "copy")
  for path in (small / "report").iterdir():
    again = tmp_path / "copy" / "report" / path.name
    assert path.read_bytes() == again.read_bytes(), path.name


def test_page_needs_nothing_else(small):
  page = (small / "report" / "index.html").read_text()
  assert not re.search(r'(src|href)="(?!#)', page)
  assert not re.search(r"url\((?!#)|@import|<script|<link", page)
  ids = re.findall(r'\bid="([^"]+)"', page)
  assert all(
    target in ids for target in re.findall(r'(?:href="#|url\(#)([^")]+)', page)
  )
  assert page.count("<svg") == 11
  assert page.endswith("</html>\n")


def test_scaled_down_is_marked_everywhere(small):
  note = "steps 1,500 instead of 50,000"
  for name in ("index.html", "summary.md", "table.md", "claims.md"):
    assert note in (small / "report" / name).read_text()
  page = (small / "report" / "index.html").read_text()
  assert page.count(note) >= 3 + 4  # Figures; the note, and tables.
  for name in ("table", "claims", "verdicts"):
    with open(small / "report" / f"{name}.csv", newline="") as file:
      rows = list(csv.DictReader(file))
    assert rows
    assert all(note in row["protocol"] for row in rows)


def test_table_gives_the_numbers_of_the_records(small):
  with open(small / "report" / "table.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  row = next(r for r in rows if (r["round"], r["arm"]) == ("2", "reinit"))
  stops = np.array(
    [
      [
        json.loads(
          (
            small / f"replicate_{r}/round_002/reinit_{d}/record.json"
          ).read_text()
        )["early_stop"]["step"]
        for d in range(2)
      ]
      for r in range(3)
    ]
  ).mean(axis=1)
  for name, value in zip(
    ("mean", "min", "max"), (stops.mean(), stops.min(), stops.max())
  ):
    assert float(row[f"early_stop_step_{name}"]) == pytest.approx(value, 1e-5)
  assert (row["replicates"], row["trials"]) == ("3", "6")
  assert rows[0]["arm"] == "dense"


def _page(workdir):
  """The page without its figures, which take seconds."""
  run = records.read(workdir)
  judged = statistics.winning(run), claims.evaluate(run)
  return report.html.page(report.html.Content(run, "", *judged, drawn=()))


def test_text_of_a_run_is_escaped(tmp_path):
  workdir = synthetic_runs.write(tmp_path, **{**_SMALL, "rounds": 1})
  path = workdir / "replicate_0/round_001/ticket/record.json"
  record = json.loads(path.read_text())
  record |= {"warnings": ["<script>x</script>"], "diverged": True}
  record |= {"early_stop": None}
  record["end"] |= {"test_accuracy": None, "test_loss": None}
  synthetic_runs.write_trial(workdir, record)
  page = _page(workdir)
  assert "<script" not in page
  assert "&lt;script&gt;x" in page
  assert "1 trial diverged" in page


def test_unfinished_run_is_reported_as_far_as_it_went(tmp_path):
  workdir = synthetic_runs.write(tmp_path, **{**_SMALL, "rounds": 2})
  for trial in ("ticket", "reinit_0"):
    (workdir / f"replicate_2/round_002/{trial}/commit.json").unlink()
  page = _page(workdir)
  assert (
    "Unfinished: 19 of 21 trainings are on disk; missing: 1 reinit, 1 ticket."
  ) in page


def _keys(config):
  trials = tuple(
    plan_lib.of_round(config, replicate, index)
    for replicate in plan_lib.replicates(config)
    for index in range(config.study.rounds + 1)
  )
  return sorted(
    (x.replicate, x.round, x.arm, x.draw or 0) for row in trials for x in row
  )


@pytest.mark.parametrize(
  "changes",
  [
    {"arms": ["ticket"]},
    {"arms": ["random_global", "ticket", "reinit"], "reinits": 3},
    {"control_rounds": [2, 4], "first_replicate": 2, "replicates": 2},
    {"reset": "continued", "rounds": 3},
    {"pruning": "oneshot", "rounds": 2},
  ],
)
def test_expected_trials_are_those_that_a_run_trains(changes):
  config = configs.from_flat({"rounds": 5, **changes})
  run = records.Run("test", configs.to_flat(config), ())
  assert sorted(plan.expected(run)) == _keys(config)
  for arm in config.study.arms:
    rounds = [index for _, index, name, _ in _keys(config) if name == arm]
    assert plan.last_round(run.config, arm) == max(rounds)


def test_missing_controls_are_unfinished(tmp_path):
  workdir = synthetic_runs.write(tmp_path, **{**_SMALL, "rounds": 2})
  assert "Unfinished" not in _page(workdir)
  (workdir / "replicate_0/round_001/reinit_1/commit.json").unlink()
  assert "Unfinished: 20 of 21 trainings are on disk; missing: 1 reinit." in (
    _page(workdir)
  )
  _damage(
    workdir / "config.json",
    lambda content: content["config"].update(control_rounds=[2]),
  )
  assert "Unfinished" not in _page(workdir)


def test_only_the_dense_network(tmp_path):
  workdir = synthetic_runs.write(tmp_path, **{**_SMALL, "rounds": 0})
  page = report.write(workdir).read_text()
  assert "Only the dense network has been trained so far." in page


def _diverge(workdir, where, replicates=range(3)):
  """Ends the series of replicates with a ticket of round `where`."""
  for replicate in replicates:
    folder = workdir / f"replicate_{replicate}"
    for trial in folder.glob("round_*"):
      if int(trial.name[-3:]) > where:
        shutil.rmtree(trial)
    path = folder / f"round_{where:03d}/ticket/record.json"
    record = json.loads(path.read_text())
    record |= {"diverged": True, "early_stop": None}
    record["end"] |= {"test_accuracy": None, "train_accuracy": None}
    synthetic_runs.write_trial(workdir, record)


def test_a_run_that_diverged_is_finished(tmp_path):
  workdir = synthetic_runs.write(tmp_path, **{**_SMALL, "rounds": 2})
  _diverge(workdir, 0)
  page = _page(workdir)
  assert "Unfinished" not in page
  assert "<h1>3 series ended by divergence in round 0.</h1>" in page


def test_series_may_end_in_different_rounds(tmp_path):
  workdir = synthetic_runs.write(tmp_path, **{**_SMALL, "rounds": 3})
  _diverge(workdir, 0, [0])
  _diverge(workdir, 2, [1])
  page = _page(workdir)
  assert "Unfinished" not in page
  assert "ended by divergence: 1 in round 0, 1 in round 2." in page
  # One replicate has no dense network to compare with.
  assert "Undecided: 2 replicates cannot tell" in page
  (workdir / "replicate_1/round_002/reinit_1/commit.json").unlink()
  assert "Unfinished: 17 of 18 trainings" in _page(workdir)


def test_dense_networks_that_diverged_do_not_hide_what_is_missing(tmp_path):
  workdir = synthetic_runs.write(tmp_path, **{**_SMALL, "rounds": 1})
  _diverge(workdir, 0, [0])
  for replicate in (1, 2):
    shutil.rmtree(workdir / f"replicate_{replicate}/round_001")
  page = _page(workdir)
  assert "1 series ended by divergence in round 0. Only the dense" in page
  assert "Unfinished: 3 of 9 trainings" in page


def test_one_shot_and_control_trials_end_no_series():
  trials = (_trial(0, 1, 0.5, 100, 90, diverged=True),
           _trial(0, 1, 0.5, 100, 90, "random", diverged=True))  # fmt: skip
  one_shot = synthetic_runs.config(pruning="oneshot")
  assert plan.ended(records.Run("test", one_shot, trials)) == {}
  iterative = synthetic_runs.config()
  assert plan.ended(records.Run("test", iterative, trials)) == {0: 1}
  assert plan.ended(records.Run("test", iterative, trials[1:])) == {}
  continued = synthetic_runs.config(reset="continued")
  assert plan.ended(records.Run("test", continued, trials)) == {}


def test_arms_beside_each_other_leave_the_dense_network_in_place():
  percent = 100 * 0.8 ** np.arange(21)
  for log in (True, False):
    assert panels.beside(percent, 0, log).tolist() == percent.tolist()
    right, left = (panels.beside(percent, n, log) for n in (1, -1))
    assert right[0] == left[0] == 100
    assert (right[1:] < percent[1:]).all()
    assert (left[1:] > percent[1:]).all()
  moved = panels.beside(percent, 1, True)[1:] / percent[1:]
  axis = 1.05 * math.log(100 / percent[-1])
  np.testing.assert_allclose(np.log(moved), -0.005 * axis)


def test_the_shift_is_told_where_there_is_one(tmp_path):
  for arms in (["ticket"], ["ticket", "reinit"]):
    changes = {**_SMALL, "rounds": 1, "arms": arms}
    page = report.write(
      synthetic_runs.write(tmp_path / str(len(arms)), **changes)
    ).read_text()
    captions = re.findall("<figcaption.*?</figcaption>", page, re.DOTALL)
    shifted = ["moved sideways" in caption for caption in captions]
    assert shifted == [len(arms) > 1, False, False, len(arms) > 1]


def test_no_validation_split_means_no_early_stop(tmp_path):
  changes = {**_SMALL, "rounds": 1, "num_valid": 0, "arms": ["ticket"]}
  workdir = synthetic_runs.write(tmp_path, **changes)
  # Of an earlier report, before the folder was put to another use.
  (workdir / "report").mkdir()
  (workdir / "report" / "figure_4a.png").write_bytes(b"old")
  page = report.write(workdir).read_text()
  assert "no validation split" in page
  assert "Winning tickets cannot be judged" in page
  assert not (workdir / "report" / "figure_4a.png").exists()


def test_one_shot_run_has_figure_4c(tmp_path):
  changes = {**_SMALL, "rounds": 1, "pruning": "oneshot"}
  workdir = synthetic_runs.write(tmp_path, **changes)
  assert "Figure 4c" in report.write(workdir).read_text()
  assert (workdir / "report" / "figure_4c.svg").exists()


def test_broken_off_report_has_no_page(small, tmp_path, monkeypatch):
  workdir = tmp_path / "copy"
  shutil.copytree(small, workdir)
  page = report.records.epath.Path(workdir / "report" / "index.html")
  replace, done = type(page).replace, []

  def killed(path, target):
    done.append(target)
    if len(done) == 5:
      raise KeyboardInterrupt
    return replace(path, target)

  drawn = canvas.draw(records.read(workdir), "")
  monkeypatch.setattr(canvas, "draw", lambda *_: drawn)
  with monkeypatch.context() as patch:
    patch.setattr(type(page), "replace", killed)
    with pytest.raises(KeyboardInterrupt):
      report.write(workdir)
  assert not page.exists()
  assert report.write(workdir).read_text().endswith("</html>\n")
  assert {path.name for path in page.parent.iterdir()} == _FILES


def _damage(path, change):
  content = json.loads(path.read_text())
  sealed = content.pop("sha256", None)
  change(content)
  path.write_text(json.dumps(files.seal(content) if sealed else content))


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda record: record.pop("end"), "no 'end'"),
    (lambda record: record["end"].pop("step"), "no 'step'"),
    (lambda record: record.update(format=1), "format 1"),
    (lambda record: record.update(density=0), "density"),
    (lambda record: record.update(density=math.nan), "density"),
    (lambda record: record.update(density=1.5), "density"),
    (lambda record: record.update(counted=-1), "counted"),
    (lambda record: record["end"].update(test_accuracy=-5), "test_accuracy"),
    (lambda record: record["end"].update(train_accuracy=98.2), "train_acc"),
    (lambda record: record["early_stop"].update(valid_accuracy=2), "valid_acc"),
    (lambda record: record["early_stop"].update(step=1e30), "step"),
    (lambda record: record["early_stop"].update(step=-1), "step"),
    (lambda record: record["tests"]["step"].__setitem__(0, -1), "test_steps"),
    (
      lambda record: record["tests"]["accuracy"].__setitem__(1, 7),
      "test_curve",
    ),
    (lambda record: record.update(density="many"), "many"),
    (lambda record: record["tests"]["step"].pop(), "differ in length"),
    (lambda record: record.update(tests=None), "damaged"),
    (lambda record: record.update(replicate=0), "folder"),
    (lambda record: record.update(round=3), "folder"),
    (lambda record: record.update(round=1e30), "damaged"),
    (lambda record: record.update(round="2"), "damaged"),
    (lambda record: record.update(draw=0), "folder"),
    (lambda record: record.update(draw=None), "folder"),
    (lambda record: record.update(arm="=cmd|' /C calc'!A0"), "folder"),
    (lambda record: record.update(arm="../../x"), "folder"),
    (lambda record: record.update(arm="<script>alert(1)"), "folder"),
  ],
)
def test_damaged_record_is_one_line_that_names_it(
  small, tmp_path, change, words
):
  workdir = tmp_path / "copy"
  shutil.copytree(small, workdir)
  path = workdir / "replicate_1/round_002/reinit_1/record.json"
  _damage(path, change)
  _assert_refused(workdir, str(path), words)


def test_an_altered_record_is_refused_though_it_parses(small, tmp_path):
  workdir = tmp_path / "run"
  shutil.copytree(small, workdir)
  path = workdir / "replicate_1/round_002/ticket/record.json"
  path.write_text(path.read_text().replace("0.9", "0.8"))
  _assert_refused(
    workdir, str(path), "not as it was written", "start the run again"
  )


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("arms", 5),
    ("arms", [5]),
    ("rounds", "20"),
    ("control_rounds", "all"),
    ("hidden", None),
    ("rates", ["kernel"]),
    ("steps", [1]),
  ],
)
def test_config_of_wrong_types_is_refused(small, tmp_path, field, value):
  workdir = tmp_path / "run"
  shutil.copytree(small, workdir)
  path = workdir / "config.json"
  _damage(path, lambda content: content["config"].update({field: value}))
  _assert_refused(workdir, str(path), field)


def test_damaged_files_are_refused(small, tmp_path):
  workdir = tmp_path / "copy"
  shutil.copytree(small, workdir)
  record = workdir / "replicate_1/round_002/ticket/record.json"
  record.write_text(record.read_text()[:100])
  _assert_refused(workdir, str(record), "damaged")
  record.write_text("[]")
  _assert_refused(workdir, str(record), "damaged")
  record.unlink()
  _assert_refused(workdir, str(record), "damaged")
  config = workdir / "config.json"
  _damage(config, lambda content: content["config"].pop("steps"))
  _assert_refused(workdir, str(config), "no 'steps'")
  config.unlink()
  _assert_refused(workdir, str(workdir), "no config.json")


def test_run_without_a_trial_is_refused(tmp_path):
  workdir = synthetic_runs.write(tmp_path, **_SMALL)
  for path in workdir.rglob("commit.json"):
    path.unlink()
  _assert_refused(workdir, str(workdir), "no trial")


def _assert_refused(workdir, *words):
  with pytest.raises(errors.InputError) as caught:
    report.write(workdir)
  message = str(caught.value)
  assert "\n" not in message
  assert all(word in message for word in words), message


def test_levels_of_noise_are_arms_of_their_own(tmp_path):
  arms = ["ticket", "noise"]
  folder = synthetic_runs.write(tmp_path, arms=arms, noise=[0.5, 2.0])
  run = records.read(folder)
  assert statistics.arms(run) == ("ticket", "noise 0.5", "noise 2")
  assert plan.missing(run) == ()
  assert plan.last_round(run.config, "noise 2") == 20
  few = run._replace(trials=tuple(x for x in run.trials if x.arm != "noise 2"))
  assert {key.arm for key in plan.missing(few)} == {"noise 2"}


@pytest.mark.parametrize(
  ("changes", "protocol"),
  [
    ({"model": "conv2"}, {"steps": 20000, "learning_rate": 2e-4}),
    (
      {"model": "conv4", "dropout": 0.5},
      {"steps": 75000, "learning_rate": 2e-4, "dropout": 0.5},
    ),
    ({"model": "resnet20"}, {"scope": "global", "drops": [20000, 25000]}),
    ({"model": "vgg19", "warmup": 9}, {"warmup": 10000, "learning_rate": 0.1}),
  ],
)
def test_each_network_has_its_protocol_and_its_claims(changes, protocol):
  config = synthetic_runs.config(**changes)
  assert protocol.items() <= protocols.of(config).items()
  run = records.Run("test", config, _ladder([[98.0, 98.3]] * 3).trials)
  names = {result.claim.runs[0] for result in claims.evaluate(run)}
  assert all(name.startswith(changes["model"]) for name in names)
  assert protocols.differences(config | protocols.of(config)) == ""


def test_missing_drops_are_called_none():
  config = synthetic_runs.config(model="resnet20", drops=[])
  assert "drops none instead of 20000, 25000" in protocols.differences(config)


def test_the_paper_flagfiles_are_the_protocols():
  flagfiles = pathlib.Path(__file__).parents[2] / "experiments/flags"
  for row in ("mnist_lenet", "conv2", "conv6", "resnet20", "vgg19"):
    text = (flagfiles / row / "paper.flags").read_text()
    lines = [x for x in text.splitlines() if x.startswith("--")]
    config = configs.to_flat(flags.parse(lines))
    assert protocols.differences(config) == "", row


def _described(folder, replicate, kept):
  """A description of one layer with some connections, `[in, out]`."""
  masks = {"w": np.array(kept, bool)}
  full = {"w": np.ones_like(masks["w"])}
  initial = {"w": np.linspace(-1, 1, full["w"].size).reshape(full["w"].shape)}
  rounds = {
    str(index): summary.describe(initial, {"w": 2 * initial["w"]}, each)
    for index, each in enumerate((full, masks))
  }
  path = folder / f"replicate_{replicate}" / "structure.json"
  path.parent.mkdir(parents=True, exist_ok=True)
  content = {"format": 3, "replicate": replicate, "rounds": rounds}
  content |= {"theta_0": "0", "trained": "0", "masks": {}}
  path.write_text(json.dumps(files.seal(content)))
  return path


def test_structure_is_pooled_over_replicates(tmp_path):
  _described(tmp_path, 0, [[1, 0], [1, 0], [0, 0]])
  _described(tmp_path, 1, [[1, 1], [0, 0], [0, 0]])
  dense, sparse = distributions.read(tmp_path)
  assert dense.percent == 100 and abs(sparse.percent - 100 / 3) < 1e-9
  leaf = sparse.leaves["w"]
  assert leaf["num_incoming"].tolist() == [2, 0, 1, 1]
  assert leaf["num_outgoing"].tolist() == [1, 1, 0, 2, 0, 0]
  assert leaf["moved"]["kept"].sum() == 4
  assert leaf["moved"]["pruned"].sum() == 8
  drawn = distributions.draw((dense, sparse), "note")
  assert tuple(each.name for each in drawn) == distributions.NAMES
  assert all(len(each.panels) == 1 for each in drawn)


@pytest.fixture
def shown(monkeypatch):
  """{name of a figure: axes of its first panel}, once it is drawn."""
  kept = {}

  def draw_parts(name, title, parts, note):
    kept[name] = figure.Figure().subplots()
    parts[0](kept[name])
    return canvas.Drawn(name, title, b"", b"", ())

  monkeypatch.setattr(canvas, "draw_parts", draw_parts)
  return kept


@pytest.mark.parametrize("shape", [(1, 2), (12, 10), (7, 24), (30, 100)])
def test_bins_of_units_hold_equally_many_fractions(tmp_path, shown, shape):
  kept = np.arange(math.prod(shape)).reshape(shape) % 3 == 0
  _described(tmp_path, 0, kept)
  distributions.draw(distributions.read(tmp_path), "")
  for name, fan in zip(("incoming", "outgoing"), shape):
    [stairs] = shown[name].patches
    counts, edges, _ = stairs.get_data()
    fractions = np.arange(fan + 1) / fan
    *inside, last = np.histogram(fractions, edges)[0]
    assert len(counts) <= min(25, fan + 1)
    assert len(set(inside)) <= 1 and last <= max(inside, default=last)
    assert edges[0] < 0 and edges[-1] > 1
    assert (counts * np.diff(edges)).sum() == pytest.approx(1)


def test_structure_is_shown_where_claims_about_it_are_judged(tmp_path, shown):
  _described(tmp_path, 0, [[1, 0], [1, 0], [0, 0]])
  dense, _ = distributions.read(tmp_path)
  rounds = tuple(dense._replace(percent=100 * 0.8**k) for k in range(21))
  for count in (8, 13, 21):
    drawn = distributions.draw(rounds[:count], "")
    titles = {each.name: each.title for each in drawn}
    assert titles["moved"].endswith("ticket at 21.0%")
    assert titles["grown"].endswith("ticket at 21.0%")
  labels = shown["initial_weights"].get_legend_handles_labels()[1]
  assert labels == ["100%", "41.0%", "21.0%", "6.9%"]


@pytest.mark.parametrize(
  "harm",
  [
    lambda text: text[: len(text) // 2],
    lambda text: text.replace('"format": 3', '"format": 9'),
    lambda text: text.replace('"num_kept": 6', '"num_kept": 5'),
    lambda text: text.replace('"kept"', '"cept"'),
    lambda text: "[]",
  ],
)
def test_a_damaged_description_is_an_error_that_names_it(tmp_path, harm):
  path = _described(tmp_path, 0, [[1, 0], [1, 0], [0, 0]])
  path.write_text(harm(path.read_text()))
  with pytest.raises(errors.InputError, match=r"structure.json: damaged"):
    distributions.read(tmp_path)


def test_runs_are_compared_in_one_table_and_figure(tmp_path):
  runs = {}
  for name, replicates in (("0.1", 3), ("a|b", 2)):
    runs[name] = synthetic_runs.write(
      tmp_path / name.replace("|", ""), replicates=replicates, seed=replicates
    )
  path = comparison.write(runs, tmp_path / "both", "Sizes")
  lines = path.read_text().splitlines()
  assert lines[0].startswith("Sizes.")
  assert [line.split(" | ")[1] for line in lines[-2:]] == ["3", "2"]
  assert "a\\|b" in lines[-1]
  for kind, head in (("png", b"\x89PNG"), ("svg", b"<?xml")):
    found = (tmp_path / "both" / f"comparison.{kind}").read_bytes()
    assert found.startswith(head)


def test_reports_that_are_written_at_once_are_whole(tmp_path, monkeypatch):
  files = {"index.html": bytes(2**16), "table.csv": b"1" * 2**16}
  monkeypatch.setattr(report, "_render", lambda _: files)
  with concurrent.futures.ThreadPoolExecutor(8) as threads:
    pages = list(threads.map(report.write, [tmp_path] * 40))
  found = {path.name: path.read_bytes() for path in pages[0].parent.iterdir()}
  assert found == files | {".lock": b""}
