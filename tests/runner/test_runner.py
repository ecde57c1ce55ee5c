"""Whole runs: the same records however they are cut, ordered, grown, damaged.

Records hold digests of masks and weights, so equal records are equal bits.
"""

import json
import math
import pathlib
import re
import shutil

import jax
import pytest
from etils import epath
from helpers import runs, tiny

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.config.plan import Trial
from lth_jax.lottery import controls, keys
from lth_jax.parallel import segments
from lth_jax.report import records as report_records
from lth_jax.runner import build, trials
from lth_jax.storage import store
from lth_jax.training import loop, schedules

VMAP = {"trials_per_device": 3, "devices": 1}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  folder = tmp_path_factory.mktemp("undisturbed")
  runs.run(folder)
  return folder


def record(folder, name):
  return json.loads((pathlib.Path(folder) / name / "record.json").read_text())


def test_a_run_holds_all_its_trials_and_the_report_reads_them(undisturbed):
  found = runs.contents(undisturbed)
  per_replicate = ["rewind", "round_000/ticket"]
  for index in (1, 2):
    for arm in ("ticket", "reinit_0", "random"):
      per_replicate.append(f"round_{index:03d}/{arm}")
  assert sorted(found) == sorted(
    f"replicate_{r}/{name}" for r in range(2) for name in per_replicate
  )
  trials = report_records.read(undisturbed).results
  assert len(trials) == 2 * 7
  assert {round(trial.density, 2) for trial in trials} == {1.0, 0.8, 0.64}


def test_one_device_gives_the_bits_of_two(undisturbed, tmp_path):
  runs.run(tmp_path, devices=1)
  assert runs.contents(tmp_path) == runs.contents(undisturbed)


def test_a_run_that_grows_in_every_way_equals_a_large_one(
  undisturbed, tmp_path
):
  last = {"first_replicate": 1, "replicates": 1}
  sizes = [0]
  for step in (
    {**last, "rounds": 1, "control_rounds": [1], "arms": ["ticket"]},
    {**last, "rounds": 1, "control_rounds": [1]},
    {**last, "control_rounds": [1]},
    last,
    {"arms": ["random", "reinit", "ticket"]},
  ):
    runs.run(tmp_path, **step)
    sizes.append(len(runs.contents(tmp_path)))
  assert sizes == sorted(set(sizes))
  assert runs.contents(tmp_path) == runs.contents(undisturbed)


def test_more_reinits_leave_the_first_alone(undisturbed, tmp_path):
  shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
  runs.run(tmp_path, reinits=2)
  new, old = runs.contents(tmp_path), runs.contents(undisturbed)
  assert old.items() <= new.items()
  assert set(new) - set(old) == {
    f"replicate_{r}/round_{i:03d}/reinit_1" for r in (0, 1) for i in (1, 2)
  }


def test_more_random_masks_leave_the_first_alone(undisturbed, tmp_path):
  shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
  runs.run(tmp_path, randoms=2)
  new, old = runs.contents(tmp_path), runs.contents(undisturbed)
  assert old.items() <= new.items()
  more = {f"replicate_{r}/round_{i:03d}/random" for r in (0, 1) for i in (1, 2)}
  assert set(new) - set(old) == {f"{name}_1" for name in more}
  assert all(new[name] != new[f"{name}_1"] for name in more)


def test_a_complete_run_trains_nothing(undisturbed, capsys, monkeypatch):
  before = runs.contents(undisturbed)
  monkeypatch.setattr(trials, "train_group", lambda *_: 1 / 0)
  runs.run(undisturbed)
  assert "is complete" in capsys.readouterr().err
  assert runs.contents(undisturbed) == before


def test_a_shared_order_changes_trainings_but_not_their_start(
  undisturbed, tmp_path
):
  runs.run(tmp_path, order="shared", rounds=1, replicates=1)
  new, old = runs.contents(tmp_path), runs.contents(undisturbed)
  assert new["replicate_0/rewind"] == old["replicate_0/rewind"]
  ticket = "replicate_0/round_001/ticket"
  assert new[ticket] != old[ticket]


def test_one_shot_prunes_the_dense_network(undisturbed, tmp_path):
  runs.run(tmp_path, pruning="oneshot", arms=["ticket"], replicates=1)
  name = "replicate_0/round_{:03d}/ticket"
  for index in (0, 1):  # where iterative and one-shot are the same
    one_shot = record(tmp_path, name.format(index))
    assert one_shot == record(undisturbed, name.format(index))
  late = record(tmp_path, name.format(2))
  iterative = record(undisturbed, name.format(2))
  assert late["kept"] == iterative["kept"]
  assert late["digests"] != iterative["digests"]


def test_continued_training_searches_on_and_evaluates_by_resetting(
  undisturbed, tmp_path
):
  runs.run(tmp_path, reset="continued", arms=["ticket"], replicates=1)
  found = runs.contents(tmp_path)
  assert "replicate_0/round_001/search" in found
  assert "replicate_0/round_002/search" not in found  # nothing comes after it
  first = "replicate_0/round_001/ticket"
  assert found[first] == runs.contents(undisturbed)[first]
  second = "replicate_0/round_002/ticket"
  assert found[second] != runs.contents(undisturbed)[second]


def test_global_scope_and_its_random_masks(tmp_path):
  arms = ["ticket", "random", "random_global"]
  runs.run(tmp_path, scope="global", arms=arms, rounds=1, replicates=1)
  ticket, layer, all_together = (
    record(tmp_path, f"replicate_0/round_001/{arm}")
    for arm in ("ticket", "random", "random_global")
  )
  assert ticket["kept"] == layer["kept"] == all_together["kept"]
  assert ticket["density_by_name"] == layer["density_by_name"]
  assert ticket["density_by_name"] != all_together["density_by_name"]


def test_without_validation_images_there_is_no_early_stop(tmp_path):
  runs.run(tmp_path, num_valid=0, rounds=1, replicates=1, arms=["ticket"])
  found = record(tmp_path, "replicate_0/round_001/ticket")
  assert found["early_stop"] is None and not found["diverged"]
  assert set(found["evaluations"]["valid_loss"]) == {None}
  assert found["end"]["test_accuracy"] > 0


def percents(told):
  return [int(x) for x in re.findall(r"^ *(\d+)%", told, re.MULTILINE)]


def test_divergence_ends_a_series_and_harms_no_other(
  undisturbed, tmp_path, monkeypatch, capsys
):
  real = build.initial_start

  def explosive(parts, replicate):
    start = real(parts, replicate)
    if replicate == 1:
      huge = jax.tree.map(lambda x: x * 1e30, start.params)
      start = start._replace(params=huge)
    return start

  monkeypatch.setattr(build, "initial_start", explosive)
  runs.run(tmp_path, progress="log")
  told = capsys.readouterr().err
  assert percents(told)[-1] == max(percents(told)) == 100
  last = told.splitlines()[-1]
  assert "1 of them diverged" in last and "--learning_rate" in last
  assert "replicate_1/round_000/ticket" in last
  new, old = runs.contents(tmp_path), runs.contents(undisturbed)
  dense = record(tmp_path, "replicate_1/round_000/ticket")
  assert dense["diverged"] and dense["early_stop"] is None
  (lost,) = [x for x in report_records.read(tmp_path).results if x.diverged]
  assert lost.replicate == 1 and math.isnan(lost.early_stop.step)
  assert "replicate_1/round_001/ticket" not in new
  assert {x for x in old.items() if x[0].startswith("replicate_0/")} == {
    x for x in new.items() if x[0].startswith("replicate_0/")
  }
  capsys.readouterr()
  runs.run(tmp_path)
  assert "is complete" in capsys.readouterr().err


def test_a_failure_in_a_trial_ends_the_run_with_that_failure(
  tmp_path, monkeypatch
):
  real = trials.save_result

  def fail(context, trial, *rest):
    if trial.name == "replicate_1/round_001/random":
      raise OSError(28, "No space left on device", "here")
    return real(context, trial, *rest)

  monkeypatch.setattr(trials, "save_result", fail)
  with pytest.raises(OSError, match="No space left"):
    runs.run(tmp_path)


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory):
  folder = tmp_path_factory.mktemp("side_by_side")
  runs.run(folder, **VMAP)
  return folder


def test_vmapped_trials_are_the_trials_one_by_one(side_by_side, undisturbed):
  """Up to last bits, which here change no rank and no class."""
  found, expected = runs.contents(side_by_side), runs.contents(undisturbed)
  assert found.keys() == expected.keys()
  for name in found:
    one, other = json.loads(found[name]), json.loads(expected[name])
    assert one.keys() == other.keys()
    assert one["origin"]["masks"] == other["origin"]["masks"]
    assert one["digests"].get("masks") == other["digests"].get("masks")
    if "end" in one:
      assert one["end"]["test_loss"] == pytest.approx(
        other["end"]["test_loss"], rel=1e-3
      )


@pytest.mark.parametrize("minutes", [0, 5])
@pytest.mark.parametrize(
  ("flags", "whole"),
  [
    ({"devices": 1}, "undisturbed"),
    pytest.param(VMAP, "side_by_side", marks=pytest.mark.slow),
  ],
  ids=["one by one", "vmapped"],
)
def test_a_run_stopped_again_and_again_ends_the_same(
  request, tmp_path, monkeypatch, flags, whole, minutes
):
  monkeypatch.setattr(segments, "SEGMENT_SECONDS", 0.0)
  flags = {**flags, "rounds": 1, "replicates": 1, "arms": ["ticket"]}
  stops = 0
  for _ in range(60):
    try:
      runs.run(
        tmp_path, runs.StopAfter(25), **flags, checkpoint_minutes=minutes
      )
      break
    except errors.StoppedError:
      stops += 1
  assert stops > 2
  found = runs.contents(tmp_path)
  assert len(found) == 3
  assert found.items() <= runs.contents(request.getfixturevalue(whole)).items()
  assert not list(tmp_path.rglob("*.step_*"))


def test_a_trial_saved_at_its_start_and_a_new_one_share_a_group(
  side_by_side, tmp_path, monkeypatch
):
  monkeypatch.setattr(segments, "SEGMENT_SECONDS", 0.0)
  with pytest.raises(errors.StoppedError):
    runs.run(tmp_path, runs.StopAfter(1), **VMAP, replicates=1)
  assert list(tmp_path.rglob("ticket.step_*"))
  runs.run(tmp_path, **VMAP)
  assert runs.contents(tmp_path) == runs.contents(side_by_side)


def test_weights_of_controls_are_not_held_in_memory(tmp_path, monkeypatch):
  """Else memory would grow with the number of controls."""
  real, held = trials.train_group, []

  def noted(*arguments):
    results = real(*arguments)
    held.extend(result is not None for result in results)
    return results

  monkeypatch.setattr(trials, "train_group", noted)
  runs.run(tmp_path, replicates=1)
  assert len(held) == 7 and sum(held) == 3  # the tickets


def test_a_vmapped_replicate_is_itself_alone(side_by_side, tmp_path):
  runs.run(tmp_path, **VMAP, first_replicate=1, replicates=1)
  expected = runs.contents(side_by_side)
  assert runs.contents(tmp_path) == {
    name: record
    for name, record in expected.items()
    if name.startswith("replicate_1/")
  }


def test_the_recorded_trials_per_device_are_compared(tmp_path, capsys):
  one = {**VMAP, "replicates": 1, "rounds": 0}
  runs.run(tmp_path, **one)
  assert "3 at once on each" in capsys.readouterr().err
  runs.run(tmp_path, **one | {"trials_per_device": 2})
  assert "trials_per_device was 3, is 2" in capsys.readouterr().err


@pytest.fixture
def traces(monkeypatch):
  """A list with an item for each time that a training step is traced."""
  found = []
  make_step = loop.make_step

  def counted(*args):
    step = make_step(*args)

    def traced(*inputs):
      found.append(1)
      return step(*inputs)

    return traced

  monkeypatch.setattr(loop, "make_step", counted)
  return found


def test_all_trials_runs_and_a_resume_share_one_trace(tmp_path, traces):
  def count(folder, **changed):
    traces.clear()
    # Of this test alone: no trainer that another test has made is used.
    runs.run(folder, **changed, weight_decay=1e-6)
    return len(traces)

  one = {"rounds": 0, "replicates": 1}
  assert count(tmp_path / "one", **one) > 0
  # All rounds, arms and devices, and a run that differs in numbers only.
  assert count(tmp_path / "all", learning_rate=0.02) == 0
  other = {"learning_rate": 0.005, "seed": 7, "warmup": 10}
  assert count(tmp_path / "other", **one, **other) == 0
  dense = "replicate_0/round_000/ticket"
  assert len({runs.contents(x)[dense] for x in tmp_path.iterdir()}) == 3
  # Full groups, filled up ones, and a group that is resumed.
  assert count(tmp_path / "groups", **VMAP) == 0
  shutil.rmtree(tmp_path / "groups" / "replicate_1" / "round_001" / "random")
  assert count(tmp_path / "groups", **VMAP, rounds=3) == 0


EVERY_ARM = {
  "arms": list(configs.ARMS),
  "noise": [0.5, 2.0],
  "reinits": 2,
  "seed": 5,
  "order_seed": 8,
  "warmup": 3,
}


@pytest.fixture(scope="module")
def began():
  """{trial: how it began} of the run with every arm."""
  return {}


@pytest.fixture(scope="module")
def with_every_arm(tmp_path_factory, began):
  folder = tmp_path_factory.mktemp("every_arm")
  train = segments.train

  def noted(vmapped, workers, due, *rest, **options):
    began.update((scheduled.trial, scheduled) for scheduled in due)
    return train(vmapped, workers, due, *rest, **options)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(segments, "train", noted)
    runs.run(folder, **EVERY_ARM)
  return folder


def stored_params(folder, name):
  """Final params and masks of a trial."""
  like = every_arm().like
  shapes = {"params": like.params, "stats": like.stats, "masks": like.masks}
  return store.load_arrays(epath.Path(folder) / name, shapes)


def test_every_arm_is_a_training_of_its_own(with_every_arm):
  names = {
    path.parent.name
    for path in with_every_arm.glob("replicate_0/round_002/*/record.json")
  }
  drawn = {"reinit_0", "reinit_1", "noise_0", "noise_1"}
  assert names == set(configs.ARMS) - {"reinit", "noise"} | drawn
  kept, params = set(), []
  for name in sorted(names):
    stored = stored_params(with_every_arm, f"replicate_0/round_002/{name}")
    kept.add(sum(int(m.sum()) for m in jax.tree.leaves(stored["masks"])))
    params.append(stored["params"]["Dense_0"]["kernel"].tobytes())
  assert len(kept) == 1  # equal counts
  assert len(set(params)) == len(names)


SOME = [Trial(r, i, "ticket") for r in (0, 1) for i in (1, 2)]


def every_arm():
  return build.make(configs.from_flat(runs.FLAGS | EVERY_ARM), tiny.dataset())


@pytest.mark.parametrize("trial", SOME, ids=lambda trial: trial.name)
def test_a_control_starts_with_the_key_of_its_round_and_replicate(
  with_every_arm, began, trial
):
  parts, ticket = every_arm(), began[trial].start
  saved = build.initial_start(parts, trial.replicate)
  where = 5, trial.replicate, trial.round
  expected = {
    ("redraw", None): controls.redraw(keys.control("redraw", *where), ticket),
    ("magnitude_at_start", None): controls.magnitude_at_start(saved, ticket),
  }
  for draw in (0, 1):
    expected["reinit", draw] = controls.reinit(
      keys.control("reinit", *where, draw), parts.model.init, ticket
    )
  for draw, level in enumerate((0.5, 2.0)):
    expected["noise", draw] = controls.noise(
      keys.control("noise", *where, draw), saved, ticket, level
    )
  for arm, scope in (("random", "layer"), ("random_global", "global")):
    expected[arm, None] = controls.random_masks(
      keys.control("random", *where), saved, ticket, scope=scope
    )
  found = {
    (other.arm, other.draw): run.start
    for other, run in began.items()
    if other[:2] == trial[:2] and other.arm != "ticket"
  }
  assert found.keys() == expected.keys()
  for arm, start in expected.items():
    tiny.assert_equal_bits(found[arm], start)


def test_trials_have_the_order_and_the_rates_of_the_config(
  with_every_arm, began
):
  schedule = schedules.make(0.01, warmup=3)
  assert len(began) == 2 * (1 + 2 * 9)
  for trial, run in began.items():
    assert run.key == keys.order(8, trial.replicate, trial.round)
    tiny.assert_equal_bits(run.schedule, schedule)
    tiny.assert_equal_bits(run.split, every_arm().split(trial.replicate))


def test_structure_describes_the_stored_trials(with_every_arm):
  path = with_every_arm / "replicate_1" / "structure.json"
  found = json.loads(path.read_text())
  assert set(found["rounds"]) == {"0", "1", "2"}
  for index in range(3):
    trial = f"replicate_1/round_{index:03d}/ticket"
    masks = stored_params(with_every_arm, trial)["masks"]
    for layer in masks:
      kernel = masks[layer]["kernel"]
      told = found["rounds"][str(index)][f"{layer}/kernel"]
      assert told["num_kept"] == kernel.sum()
      assert told["num_incoming"] == kernel.sum(0).tolist()
      assert told["num_outgoing"] == kernel.sum(1).tolist()
      assert sum(told["moved"]["kept"]) == kernel.sum()
      assert sum(told["moved"]["pruned"]) == (~kernel).sum()


@pytest.mark.parametrize("harm", ["gone", "cut", "emptied", "of another"])
def test_structure_is_written_again_if_it_is_damaged(with_every_arm, harm):
  path = with_every_arm / "replicate_0" / "structure.json"
  before = path.read_bytes()
  if harm == "gone":
    path.unlink()
  elif harm == "cut":
    path.write_bytes(before[: len(before) // 2])
  elif harm == "emptied":
    path.write_text(json.dumps(json.loads(before) | {"rounds": {}}))
  else:
    shutil.copy(with_every_arm / "replicate_1" / "structure.json", path)
  runs.run(with_every_arm, **EVERY_ARM)
  assert path.read_bytes() == before


def test_levels_of_noise_may_be_added_but_not_changed(with_every_arm, tmp_path):
  folder = shutil.copytree(with_every_arm, tmp_path / "run")
  with pytest.raises(errors.InputError, match=r"--noise=0.5,3.0: .* may only"):
    runs.run(folder, **EVERY_ARM | {"noise": [0.5, 3.0]})
  before = runs.contents(folder)
  runs.run(folder, **EVERY_ARM | {"noise": [0.5, 2.0, 3.0]})
  after = runs.contents(folder)
  assert before.items() <= after.items()
  assert all(name.endswith("/noise_2") for name in after.keys() - before.keys())
