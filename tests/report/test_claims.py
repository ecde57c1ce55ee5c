"""What counts as the number of a published claim, on runs made up for it."""

import functools
import math
import pathlib

import numpy as np
import pytest
from jax.tree import leaves as jax_leaves

from experiments._paper import catalog, claim_dates, networks, null_claims
from lth_jax import errors
from lth_jax.analysis import summary
from lth_jax.config import configs
from lth_jax.config import plan as plan_lib
from lth_jax.report import claims, records, structure, summary_file
from lth_jax.report.claims import samples


def _sample(estimator, quantity, place, against, *runs):
  """What runs have for a claim that asks for this."""
  claim = claims.CLAIMS[0]._replace(
    estimator=estimator, quantity=quantity, place=place, against=against
  )
  return claims.measure(claim, *runs)


def _point(step, test, valid_loss=0.1, reached=True, train=100.0):
  return records.Point(
    float(step), reached, test / 100, train / 100, valid_loss
  )


def _trial(replicate, index, arm, step, test, **changes):
  point = _point(step, test)._replace(valid_accuracy=test / 100)
  trial = records.Result(
    replicate, index, arm, 0, 0.5**index, [], [], point, point, False, ()
  )
  return trial._replace(**changes)


def _run(config=None, **arms):
  """Arms as `[replicate][round]` of (early-stop step, test accuracy)."""
  trials = tuple(
    _trial(replicate, index, arm, *point)
    for arm, replicates in arms.items()
    for replicate, rounds in enumerate(replicates)
    for index, point in enumerate(rounds)
    if point is not None
  )
  flat = configs.to_flat(configs.Config()) | {
    "rounds": max(trial.round for trial in trials),
    "replicates": 1 + max(trial.replicate for trial in trials),
    "arms": list(arms),
    "reinits": 1,
    "steps": 1000,
  }
  return records.Run("made up", flat | (config or {}), trials)


def test_arms_are_compared_over_a_range():
  run = _run(
    ticket=[[(100, 98), (100, 99), (100, 97)]],
    reinit=[[None, (200, 98), (100, 96)]],
  )
  for quantity, place, against, value in (
    ("end_test", "ticket 50-25%", "reinit", 1),
    ("end_test", "reinit 50-25%", "ticket", -1),
    ("step", "ticket 50-50%", "reinit", 50),  # percent earlier
  ):
    found = _sample("average", quantity, place, against, run)
    np.testing.assert_allclose(found.values, value)


def test_the_gap_between_train_and_test_is_compared():
  run = _run(
    ticket=[[(100, 98), (100, 99)]]
  )  # all have 100% on training images
  found = _sample("average", "end_gap", "ticket 50-50%", "dense", run)
  np.testing.assert_allclose(found.values, -1)
  assert "above zero at 0 of 1 densities, 50.0% to 50.0%" in found.note


def test_an_early_stop_that_is_not_reached_counts_for_its_replicate():
  run = _run(ticket=[[(100, 98)], [(1000, 98)], [(100, 98)]])
  late = run.trials[1]
  late = late._replace(early_stop=late.early_stop._replace(reached=False))
  none = run.trials[2]
  none = none._replace(early_stop=none.early_stop._replace(step=math.nan))
  run = run._replace(trials=(run.trials[0], late, none))
  found = _sample("level", "unstopped", "dense", "", run).values
  np.testing.assert_array_equal(found, [0, 100, math.nan])


def test_a_late_rival_leaves_a_lead_in_time_open():
  run = _run(ticket=[[(100, 98), (100, 99)]], reinit=[[None, (1000, 98)]])
  late = run.trials[-1]
  late = late._replace(early_stop=late.early_stop._replace(reached=False))
  run = run._replace(trials=(*run.trials[:-1], late))
  found = _sample("average", "step", "ticket 50-50%", "reinit", run)
  assert found.may_rise and not found.may_fall


def test_the_smallest_gain_is_the_worst_density_down_to_a_limit():
  run = _run(ticket=[[(9, 98), (9, 98.5), (9, 97.5), (9, 90)]] * 2)
  found = _sample("worst", "end_test", "ticket 100-25%", "dense", run)
  np.testing.assert_allclose(found.values, [-0.5, -0.5])
  assert not found.may_fall and found.tries == 2
  further = _sample("worst", "end_test", "ticket 100-5%", "dense", run)
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
  end = _point(1000, 98, valid_loss=0.3)
  steps = np.array([0, 100, 200, 300])
  run = _run(ticket=[[(300, 98), (200, 98), (100, 98)]] * 2)
  trials = []
  for trial in run.trials:
    # Reaches 96% one evaluation before it stops.
    curve = np.where(steps >= trial.early_stop.step - 100, 0.97, 0.5)
    trials.append(trial._replace(end=end, test_steps=steps, test_curve=curve))
  run = run._replace(trials=tuple(trials))
  rise = _sample("level", "loss_rise", "dense", "", run)
  np.testing.assert_allclose(rise.values, 3)
  order = _sample("order", "step", "ticket", "", run)
  np.testing.assert_allclose(order.values, 1)
  one = run._replace(trials=tuple(x for x in trials if x.replicate == 0))
  alone = _sample("order", "step", "ticket", "", one)
  assert np.isnan(alone.values).all()  # it has no other to compare with
  early = _sample("difference", "test@10%", "ticket 25%", "dense", run)
  np.testing.assert_allclose(early.values, 47)


def _initial_and_masks():
  """784 pixels into 10 units: small weights and border pixels are pruned."""
  rng = np.random.default_rng(0)
  initial = rng.normal(size=(784, 10)) * math.sqrt(2 / 794)
  mask = np.abs(initial) > np.quantile(np.abs(initial), 0.4)
  inside = np.zeros((28, 28), bool)
  inside[4:-4, 4:-4] = True
  mask &= inside.reshape(784, 1) | (rng.random((784, 10)) < 0.5)
  return {"w": initial}, {"w": mask}


def test_looks_see_what_was_done_to_a_layer():
  initial, masks = _initial_and_masks()
  trained = {"w": np.where(masks["w"], 3 * initial["w"], 0.9 * initial["w"])}
  full = {"w": np.ones_like(masks["w"])}
  rounds = {
    str(index): summary.describe(initial, trained, each)
    for index, each in enumerate((full, masks))
  }
  dense, sparse = structure.of_replicate(2, rounds)
  assert (sparse.replicate, sparse.round, sparse.leaf) == (2, 1, "w")
  assert dense.valley > 1.3 and sparse.valley < 0.1
  assert abs(dense.positive - 50) < 2 and abs(sparse.positive - 50) < 3
  assert abs(sparse.grown - 100) < 1e-9 and sparse.moved > 10
  assert abs(dense.border - 1) < 1e-9 and 0.4 < sparse.border < 0.6
  np.testing.assert_allclose(sparse.kept, masks["w"].mean())
  assert math.isnan(dense.uneven_in)  # nothing is left to chance
  # By chance 1; whole rows were treated alike, columns were not.
  assert 0.3 < sparse.uneven_in < 2 and 1.05 < sparse.uneven_out < 3


def test_two_kinds_of_pixels_have_two_peaks():
  rng = np.random.default_rng(0)
  inside = np.zeros((28, 28), bool)
  inside[4:-4, 4:-4] = True
  found = []
  for border, spread in ((0.2, 0.05), (0.4, 0.3)):
    part = np.where(inside, 0.5, border) + spread * rng.normal(size=(28, 28))
    masks = {"w": rng.random((784, 300)) < part.reshape(784, 1)}
    weights = {"w": rng.normal(size=(784, 300))}
    described = summary.describe(weights, weights, masks)
    found.append(structure.of_replicate(0, {"1": described})[0].trough)
  assert found[0] < 0.5 < 0.8 < found[1]


def test_unevenness_of_random_masks_is_that_of_chance():
  rng = np.random.default_rng(0)
  weights = {"w": rng.normal(size=(300, 100))}
  described = summary.describe(
    weights, weights, {"w": rng.random((300, 100)) < 0.2}
  )
  [look] = structure.of_replicate(0, {"1": described})
  assert abs(look.uneven_in - 1) < 0.2 and abs(look.uneven_out - 1) < 0.2


def test_a_leaf_is_chosen_whatever_a_replicate_lacks():
  run = _run(ticket=[[(9, 98), (9, 98)]] * 2)
  found = tuple(
    records.Look(0, 1, leaf, 0.5, value, *[math.nan] * 6)
    for leaf, value in (("a", 1.5), ("b", 0.9))
  )
  run = run._replace(looks=found)
  sample = _sample("level", "valley least", "ticket 50%", "", run)
  assert sample.note == "b"
  np.testing.assert_array_equal(sample.values, [0.9, math.nan])


def test_a_look_is_found_by_density_leaf_and_replicate():
  run = _run(ticket=[[(9, 98), (9, 98)]] * 2)
  found = tuple(
    records.Look(r, 1, leaf, 0.5, r + value, *[math.nan] * 6)
    for r in (1, 0)
    for leaf, value in (("a/kernel", 0.1), ("b/kernel", 0.2))
  )
  run = run._replace(looks=found)
  for leaf, density, values in (
    ("b", 50, [0.2, 1.2]),
    ("least", 50, [0.1, 1.1]),
    ("most", 50, [0.2, 1.2]),
    ("c", 50, [math.nan] * 2),
    ("b", 10, [math.nan] * 2),
  ):
    sample = _sample("level", f"valley {leaf}", f"ticket {density}%", "", run)
    np.testing.assert_array_equal(sample.values, values)


_BETTER = _run(ticket=[[(100, 98), (50, 99), (80, 98.5)]] * 3)
_WORSE = _run(ticket=[[(200, 97), (200, 96), (200, 95)]] * 3)


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
  np.testing.assert_allclose(_sample(*asked, *runs).values, value)
  if len(runs) > 1:
    assert not np.isclose(_sample(*asked, *runs[::-1]).values, value).any()


def test_only_shared_replicates_are_compared():
  fewer = _WORSE._replace(trials=tuple(x for x in _WORSE.trials if x.replicate))
  found = _sample(
    "difference", "end_test", "ticket 50%", "ticket 50%", _BETTER, fewer
  )
  assert found.values.tolist() == [3, 3]


def test_a_reset_that_is_better_holds_and_its_opposite_does_not():
  claim = next(each for each in claims.CLAIMS if each.figure == "9")
  claim = claim._replace(place="ticket 50%", against="ticket 50%")
  for runs, verdict in (
    ((_BETTER, _WORSE), "holds"),
    ((_WORSE, _BETTER), "does not hold"),
  ):
    sample = claims.measure(claim, *runs)
    assert claims.judge(claim, sample).verdict == verdict


def test_zero_is_a_number_where_ratios_are_averaged_as_they_are():
  claim = next(c for c in claims.CLAIMS if "have two peaks" in c.text)
  found = claims.judge(claim, samples.Sample(np.array([0.0, 0.0, 0.1])))
  assert found.ours.n == 3 and found.verdict == "holds"


def test_runs_that_share_no_replicate_say_nothing():
  other = _run(ticket=[[(9, 98), (9, 98)]])
  other = other._replace(
    trials=tuple(trial._replace(replicate=7) for trial in other.trials)
  )
  found = _sample("difference", "test", "dense", "dense", _BETTER, other)
  assert "no replicate" in found.note


def test_absolute_claims_need_the_papers_size():
  claim = next(each for each in claims.CLAIMS if each.needs == ("scale",))
  small = _run({"model": "resnet20", "width": 0.5}, ticket=[[(9, 90.5)]] * 3)
  sample = claims.measure(claim, small)
  assert np.isnan(sample.values).all() and "scaled down" in sample.note


def test_numbers_as_such_need_the_papers_size():
  for claim in claims.CLAIMS:
    accuracy = claim.quantity in ("valid", "test", "end_test", "end_train")
    if claim.unit == "weights" or (
      accuracy and claim.estimator in ("level", "lowest")
    ):
      assert "scale" in claim.needs, claim.text


def test_networks_that_are_compared_at_the_end_must_have_trained():
  for claim in claims.CLAIMS:
    if claim.quantity.startswith("end_") and "scale" not in claim.needs:
      assert "trained" in claim.needs, claim.text
    if claim.runs[0].startswith(("resnet20", "vgg19")):
      assert "trained" in claim.needs, claim.text


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
  run = _run(ticket=[[(100, test), (50, test)]] * 3)
  run = run._replace(
    trials=tuple(
      trial._replace(end=trial.end._replace(valid_loss=0.1 * rise))
      for trial in run.trials
    )
  )
  result = claims.judge(claim, claims.measure(claim, run))
  assert (result.verdict != "not measured") == trained
  assert ("not trained" in result.note) != trained


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
  claim = claims.CLAIMS[0]._replace(
    band=band, opposites=(opposite,), unit="points"
  )
  # The 95% interval of these five is 0.55 +- 0.98 spread.
  values = 0.55 + spread * np.array([-1, -0.5, 0, 0.5, 1])
  assert claims.judge(claim, samples.Sample(values)).verdict == verdict


def test_equal_steps_are_no_surer_than_an_evaluation():
  run = _run({"eval_every": 20}, ticket=[[(100, 98), (50, 99)]] * 3)
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


def test_the_smoothed_loss_has_a_robust_minimum():
  rng, found = np.random.default_rng(0), []
  steps = np.arange(0, 20_000, 100)
  curve = 0.08 + np.exp(-steps / 800) + 1e-7 * np.maximum(steps - 5000, 0)
  for _ in range(20):
    noisy = curve + 0.001 * rng.standard_normal(len(steps))
    found.append((steps[np.argmin(noisy)], records.steady_step(steps, noisy)))
  raw, steady = np.std(found, axis=0)
  assert steady < raw / 2
  noisy[50] = math.nan
  assert math.isfinite(records.steady_step(steps, noisy))
  for short in range(1, 7):
    assert records.steady_step(steps[:short], curve[:short]) >= 0
  assert math.isnan(records.steady_step(steps[:2], np.full(2, math.nan)))


def test_a_pattern_is_that_of_the_weakest_run():
  weak = _run(ticket=[[(9, 98), (9, 98.1)], [(9, 98), (9, 98.3)]])
  strong = _run(ticket=[[(9, 98), (9, 99)]] * 2)
  for runs in ((weak, strong), (strong, weak)):
    found = _sample("weakest", "end_test", "ticket 50%", "", *runs)
    np.testing.assert_allclose(found.values, [0.1, 0.3])


def test_gains_are_over_each_runs_own_dense_network():
  found = _sample(
    "gains", "end_test", "ticket 50%", "ticket 50%", _BETTER, _WORSE
  )
  np.testing.assert_allclose(found.values, [2, 2, 2])  # 1 and -1


def test_trainings_that_diverge_or_fail_are_counted():
  run = _run(ticket=[[(9, 98), (9, 10)], [(9, 98), (9, 98)]])
  dense, *others = run.trials
  run = run._replace(trials=(dense._replace(diverged=True), *others))
  found = _sample("diverged", "diverged", "dense", "", run)
  np.testing.assert_allclose(found.values, [100, 0])
  found = _sample("level", "fails", "ticket 50%", "", run)
  np.testing.assert_allclose(found.values, [100, 0])
  found = _sample("mean", "fails", "ticket 50-50%", "", run)
  np.testing.assert_allclose(found.values, [100, 0])


def test_fractions_that_units_keep_are_spread_as_described():
  rng = np.random.default_rng(0)
  masks = {"Dense_1/kernel": rng.random((300, 100)) < rng.random((300, 1))}
  weights = {"Dense_1/kernel": rng.normal(size=(300, 100))}
  described = summary.describe(weights, weights, masks)
  run = _run(ticket=[[(9, 98), (9, 98)]])
  found = structure.of_replicate(0, {"1": described})
  others = [found[0]._replace(leaf=f"Dense_{i}/kernel") for i in (0, 2)]
  run = run._replace(looks=(*found, *others))
  for way, axis in (("in", 0), ("out", 1)):
    kept = masks["Dense_1/kernel"].mean(axis=axis)
    sample = _sample("level", f"spread_{way} Dense_1", "ticket 50%", "", run)
    np.testing.assert_allclose(sample.values, kept.std() / kept.mean())


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


@pytest.mark.slow
def test_few_claims_hold_where_nothing_makes_a_difference(monkeypatch):
  monkeypatch.chdir(pathlib.Path(__file__).parents[2])
  held = [
    verdict in ("holds", "consistent")
    for found in null_claims.studies(10, replicates=5)
    for verdict in found.values()
  ]
  assert len(held) > 1500
  assert 0 < np.mean(held) <= 0.05
  assert abs(np.mean(held) - claims.BY_CHANCE) < 0.01


def test_claims_choose_their_runs():
  by_optimizer = {
    optimizer: {
      claim.figure
      for claim in claims.CLAIMS
      if claims.applies(
        claim, configs.to_flat(configs.Config()) | {"optimizer": optimizer}
      )
    }
    for optimizer in ("adam", "sgd")
  }
  assert {"15", "19", "21", "23"} <= by_optimizer["adam"]
  assert not {"16", "22"} & by_optimizer["adam"]
  assert {"16", "22"} <= by_optimizer["sgd"]
  assert not {"15", "21"} & by_optimizer["sgd"]


@functools.cache
def _complete(scale):
  """{name: a function that returns the whole run, made up}."""
  configs_of = {
    run.name: catalog.config(run)
    for row in catalog.ROWS
    for run in catalog.runs(row, scale)
  }
  return {
    name: functools.cache(functools.partial(_made_up, name, config))
    for name, config in configs_of.items()
  }


def _made_up(name, config):
  """Every trial that a run of the catalog has, at its density."""
  full = networks.full_masks(config)
  flat, counted = configs.to_flat(config), sum(map(np.size, jax_leaves(full)))
  steps = np.arange(0, config.training.steps + 1, flat["test_every"])
  curve = np.linspace(0.1, 0.98, len(steps))
  found, described = [], []
  for index, density in enumerate(networks.ladder(config, full)):
    good = _point(config.training.steps // 2, 98 - 20 * (density < 0.015))
    good = good._replace(valid_accuracy=0.97)
    end = good._replace(step=config.training.steps, valid_loss=0.2)
    for replicate in plan_lib.replicates(config):
      for trial in plan_lib.of_round(config, replicate, index):
        arm, draw = records.name_arm(flat, trial.arm, trial.draw or 0)
        stop = good._replace(step=good.step + 100 * index + replicate)
        fits = density > {"ticket": 0.02, "reinit": 0.05}.get(arm, 0.1)
        found.append(
          records.Result(
            replicate,
            index,
            arm,
            draw,
            float(density),
            steps,
            np.where(steps > stop.step, 0.98, curve),
            stop,
            end._replace(train_accuracy=1.0 if fits else 0.9),
            False,
            (),
            counted=counted,
            steady_step=stop.step,
          )
        )
      described += [
        records.Look(replicate, index, f"Dense_{i}/kernel", density, *_NUMBERS)
        for i in range(3)
      ]
  return records.Run(name, flat, tuple(found), tuple(described))


_NUMBERS = 0.8, 55.0, 1.2, 10.0, 0.3, 0.5, 0.9, 0.5


def _measured(scale):
  """{(figure, text): whether runs of the catalog can speak about it}."""
  runs, found = _complete(scale), {}
  for claim in claims.CLAIMS:
    rows = {row.name for row in catalog.find(claim.figure)}
    assert any(
      n == r or n.startswith(f"{r}_") for n in claim.runs for r in rows
    )
    sample = claims.measure(claim, *(runs[name]() for name in claim.runs))
    found[claim.figure, claim.text] = bool(np.isfinite(sample.values).any())
  return found


def test_every_claim_can_be_measured_by_the_papers_runs():
  missing = [key for key, known in _measured("paper").items() if not known]
  assert missing == []


def test_what_the_small_runs_cannot_measure_is_known():
  """Densities beyond their rounds, and accuracies as such."""
  absolute = {
    (claim.figure, claim.text)
    for claim in claims.CLAIMS
    if "scale" in claim.needs
  }
  missing = {key for key, known in _measured("cpu").items() if not known}
  beyond = {(figure, text) for figure, text in missing - absolute}
  assert {figure for figure, _ in beyond} <= {"5", "7", "8", "32", "36"}, beyond
  assert len(beyond) < 20, beyond


def test_every_band_excludes_its_opposites():
  for claim in claims.CLAIMS:
    low, high = claim.band
    assert low < high, claim.text
    assert claim.opposites, claim.text
    assert all(not low < opposite < high for opposite in claim.opposites)


def test_a_digest_keeps_what_claims_and_tables_need():
  run = _run(
    ticket=[[(300, 98), (200, 98.25), (100, 97)]] * 3,
    reinit=[[None, (400, 97), (500, 96)]] * 3,
  )
  steps = np.arange(0, 1001, 10)
  curve = np.linspace(0.1, 0.98, len(steps))
  look = records.Look(0, 1, "w", 0.5, *[math.nan] * 4, 0.2, 0.4, math.nan)
  here = run.config | {"data_dir": "/home/me/mnist", "devices": 3}
  run = run._replace(
    config=here,
    trials=tuple(
      trial._replace(test_steps=steps, test_curve=curve, steady_step=700.0)
      for trial in run.trials
    ),
    looks=(look,),
  )
  text = summary_file.pack(run, {"seconds": 7})
  again, about = summary_file.unpack(text)
  assert about == {"seconds": 7}
  assert "/home/me" not in text
  assert again.config == here | {"data_dir": None, "devices": 0}
  assert len(again.trials) == len(run.trials)
  for ours, theirs in zip(run.trials, again.trials):
    assert ours[:5] == theirs[:5]
    assert (ours.early_stop, ours.end) == (theirs.early_stop, theirs.end)
    assert ours.steady_step == theirs.steady_step == 700
    assert {250, 330, 500, 670, 1000} <= set(theirs.test_steps.tolist())
    assert len(theirs.test_steps) < 32
  assert again.looks[0].uneven_out == 0.4 and math.isnan(again.looks[0].border)
  assert summary_file.pack(again, {"seconds": 7}) == text
  asked = "falls", "test", "ticket", ""
  found = _sample(*asked, run).values.tolist()
  assert _sample(*asked, again).values.tolist() == found


@pytest.mark.parametrize(
  "harm",
  [
    lambda text: text[:-20],
    lambda text: text.replace('"format": 1', '"format": 2'),
    lambda text: text.replace('"draw"', '"drow"'),
    lambda text: text.replace('"seconds"', '"config"').replace(
      '"experiment"', '"other"'
    ),
    lambda text: "[1]",
  ],
)
def test_a_damaged_digest_is_one_line(harm):
  text = summary_file.pack(_BETTER, {"seconds": 7})
  with pytest.raises(errors.InputError, match="damaged") as caught:
    summary_file.unpack(harm(text))
  assert "\n" not in str(caught.value)
