"""Reading of records and of summary files; damage is named."""

import dataclasses
import hashlib
import json
import math
import re
import shutil

import numpy as np
import pytest
from helpers import results, synthetic_runs

from lth_jax import errors
from lth_jax.report import records, structure, summary_file
from lth_jax.storage import files

_SMALL = {"rounds": 1, "replicates": 2, "arms": ["ticket", "reinit"]}


@pytest.fixture
def workdir(tmp_path):
  return synthetic_runs.write(tmp_path / "run", **_SMALL)


def _assert_refused(workdir, *words):
  with pytest.raises(errors.InputError) as caught:
    records.read(workdir)
  message = str(caught.value)
  assert "\n" not in message
  assert all(word in message for word in words), message


def _edit(path, change):
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


@pytest.mark.parametrize(
  ("name", "change", "words"),
  [
    ("record.json", lambda x: x.pop("end"), "no 'end'"),
    ("record.json", lambda x: x.update(density=0.5), "not as it was written"),
    ("record.json", lambda x: x.update(format=1), "format 1"),
    ("commit.json", lambda x: x.update(format=4), "format 4"),
    ("commit.json", lambda x: x["files"].clear(), "no 'record.json'"),
    ("commit.json", lambda x: x.update(owner="run 7"), "belongs to 'run 7'"),
  ],
)
def test_a_damaged_trial_is_named_in_one_line(workdir, name, change, words):
  path = workdir / "replicate_1/round_001/reinit_0" / name
  _edit(path, change)
  _assert_refused(workdir, str(path.parent), words)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda x: x.update(density=0), "density"),
    (lambda x: x.update(density=1.5), "density"),
    (lambda x: x.update(density="many"), "many"),
    (lambda x: x.update(counted=-1), "counted"),
    (lambda x: x["end"].update(test_accuracy=-5), "test_accuracy"),
    (lambda x: x["end"].update(train_accuracy=98.2), "train_accuracy"),
    (lambda x: x["early_stop"].update(step=1e30), "step"),
    (lambda x: x["tests"]["accuracy"].__setitem__(0, 7), "test_curve"),
    (lambda x: x["tests"]["step"].pop(), "differ in length"),
    (lambda x: x.update(tests=None), "damaged"),
    (lambda x: x.update(replicate=0), "folder"),
    (lambda x: x.update(round=1e30), "damaged"),
    (lambda x: x.update(round="1"), "damaged"),
    (lambda x: x.update(draw=None), "folder"),
    (lambda x: x.update(arm="=cmd|' /C calc'!A0"), "folder"),
    (lambda x: x.update(arm="<script>alert(1)"), "folder"),
  ],
)
def test_numbers_and_words_are_checked_under_a_fitting_checksum(
  workdir, change, words
):
  folder = workdir / "replicate_1/round_001/reinit_0"
  _edit(folder / "record.json", change)
  digest = hashlib.sha256((folder / "record.json").read_bytes()).hexdigest()
  files_of = {"files": {"record.json": digest}}
  _edit(folder / "commit.json", lambda x: x.update(files_of))
  _assert_refused(workdir, str(folder / "record.json"), words)


@pytest.mark.parametrize(
  ("name", "field"),
  [
    ("round_000/ticket", "theta_0"),
    ("round_000/ticket", "split"),
    ("round_001/reinit_0", "masks"),
    ("round_001/ticket", "trained weights"),
  ],
)
def test_results_must_follow_from_one_another(workdir, name, field):
  path = workdir / f"replicate_1/{name}/record.json"
  record = json.loads(path.read_text())
  record["origin"] = record["origin"] | {field: "1"}
  synthetic_runs.write_trial(workdir, record)
  _assert_refused(workdir, "replicate_1", f"other {field}", "start the run")


def test_a_copied_trial_is_refused(workdir):
  folder = workdir / "replicate_1/round_001"
  shutil.copytree(folder / "reinit_0", folder / "reinit_1")
  _assert_refused(workdir, str(folder / "reinit_1"), "round_001/reinit_0")


@pytest.mark.parametrize(
  ("name", "harm", "words"),
  [
    (
      "replicate_1/round_001/ticket/record.json",
      lambda path: path.write_text(path.read_text()[:100]),
      ["record.json", "damaged", "start the run again"],
    ),
    (
      "replicate_1/round_001/ticket/record.json",
      lambda path: path.unlink(),
      ["record.json", "damaged"],
    ),
    (
      "config.json",
      lambda path: _edit(path, lambda x: x["config"].update(steps=7)),
      ["config.json", "damaged", "run.flags"],
    ),
    ("config.json", lambda path: path.unlink(), ["no config.json"]),
    ("env.json", lambda path: path.write_text("{"), ["env.json", "damaged"]),
  ],
)
def test_a_file_that_is_damaged_or_missing_is_named(workdir, name, harm, words):
  harm(workdir / name)
  _assert_refused(workdir, str(workdir), *words)


def test_a_run_without_a_trial_is_refused(workdir):
  for path in workdir.rglob("commit.json"):
    path.unlink()
  _assert_refused(workdir, str(workdir), "no trial")


@pytest.mark.parametrize(
  ("environments", "software"),
  [
    ([{"jax": "0.10.2"}], ()),  # of a run of an older version
    ([{"lth_jax": "0.1.0"}], ("lth_jax 0.1.0",)),
    (
      [{"lth_jax": "0.1.0", "commit": "0a1b2c3"}] * 2 + [{"lth_jax": "0.2.0"}],
      ("lth_jax 0.1.0, commit 0a1b2c3", "lth_jax 0.2.0"),
    ),
  ],
)
def test_the_versions_of_lth_jax_are_read(workdir, environments, software):
  assert records.read(workdir).software == ()
  path = workdir / "env.json"
  content = files.add_checksum({"environments": environments})
  path.write_text(json.dumps(content))
  assert records.read(workdir).software == software


def test_an_early_stop_may_be_missing(workdir):
  path = workdir / "replicate_0/round_000/ticket/record.json"
  record = json.loads(path.read_text()) | {"early_stop": None}
  record["tests"]["accuracy"][0] = None
  synthetic_runs.write_trial(workdir, record)
  found = records.read(workdir).results[0]
  assert math.isnan(found.early_stop.step) and not found.early_stop.reached
  assert math.isnan(found.test_curve[0])


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


def test_the_smoothed_minimum_is_the_first_within_one_percent():
  losses = np.array([9.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.99, 1.0])
  assert records.steady_step(np.arange(9), losses) == 5


def _run():
  return results.run(
    ticket=[[(300, 98), (200, 98.25), (100, 97)]] * 3,
    reinit=[[None, (400, 97), (500, 96)]] * 3,
  )


def test_a_summary_file_keeps_what_claims_and_tables_need():
  steps = np.arange(0, 1001, 10)
  curve = np.linspace(0.1, 0.98, len(steps))
  ticket = structure.TicketStatistics(
    0, 1, "w", 0.5, *[math.nan] * 4, 0.2, 0.4, math.nan
  )
  run = results.change(
    _run(),
    lambda each: each._replace(
      test_steps=steps, test_curve=curve, steady_step=700.0
    ),
  )
  here = run.config | {"data_dir": "/home/me/mnist", "devices": 3}
  run = dataclasses.replace(run, config=here, tickets=(ticket,))
  text = summary_file.pack(run, {"seconds": 7})
  again, about = summary_file.unpack(text)
  assert about == {"seconds": 7}
  assert "/home/me" not in text
  assert again.config == here | {"data_dir": None, "devices": 0}
  assert len(again.results) == len(run.results)
  for ours, theirs in zip(run.results, again.results):
    assert ours[:5] == theirs[:5]
    assert (ours.early_stop, ours.end) == (theirs.early_stop, theirs.end)
    assert ours.steady_step == theirs.steady_step == 700
    assert {250, 330, 500, 670, 1000} <= set(theirs.test_steps.tolist())
    assert len(theirs.test_steps) < 32
  [found] = again.tickets
  assert found.uneven_out == 0.4 and math.isnan(found.border)
  assert summary_file.pack(again, {"seconds": 7}) == text
  asked = "falls", "test", "ticket", ""
  expected = results.sample(*asked, run).values.tolist()
  assert results.sample(*asked, again).values.tolist() == expected


@pytest.mark.parametrize(
  "harm",
  [
    lambda text: text[:-20],
    lambda text: text.replace('"format": ', '"format": 9'),
    lambda text: text.replace('"draw"', '"drow"'),
    lambda text: text.replace('"experiment"', '"other"'),
    lambda text: re.sub(r'("test_curve": \[)', r"\g<1>9.8, ", text),
    lambda text: "[1]",
  ],
)
def test_a_damaged_summary_file_is_one_line(harm):
  text = summary_file.pack(_run(), {"seconds": 7})
  with pytest.raises(errors.InputError, match="damaged") as caught:
    summary_file.unpack(harm(text))
  assert "\n" not in str(caught.value)
