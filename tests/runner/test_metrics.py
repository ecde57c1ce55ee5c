"""metrics.jsonl against the records, whole and after kills."""

import json
import pathlib

import pandas
import pytest
from helpers import runs

from experiments import report as report_command
from lth_jax import errors, report
from lth_jax.runner import metrics

SMALL = {"arms": ["ticket", "random"], "rounds": 1, "test_every": 15}


def lines(folder):
  text = (pathlib.Path(folder) / metrics.NAME).read_text()
  return [json.loads(line) for line in text.splitlines()]


def key(line):
  return line["replicate"], line["round"], line["arm"], line["step"]


def expected(folder):
  """By hand from the records."""
  found = []
  for content in runs.contents(folder).values():
    record = json.loads(content)
    if "arm" not in record:
      continue
    curves, tests = record["evaluations"], record["tests"]
    for step in sorted({*curves["step"], *tests["step"]}):
      line = {x: record[x] for x in ("replicate", "round", "arm", "density")}
      line |= {"draw": record["draw"] or 0, "step": step}
      for names, prefix in ((curves, ""), (tests, "test_")):
        at = names["step"].index(step) if step in names["step"] else None
        line |= {
          prefix + name: None if at is None else values[at]
          for name, values in names.items()
          if name != "step"
        }
      found.append(line)
  return sorted(found, key=key)


def test_every_measurement_is_a_line(tmp_path):
  runs.run(tmp_path, **SMALL)
  found = lines(tmp_path)
  assert sorted(found, key=key) == expected(tmp_path)
  steps = [x["step"] for x in found if key(x)[:3] == (1, 1, "random")]
  assert steps == [0, 10, 15, 20, 30, 40]


def test_a_run_that_stops_has_no_line_twice_and_none_torn(tmp_path):
  for looks in (3, 8):
    with pytest.raises(errors.StoppedError):
      runs.run(
        tmp_path, stop=runs.StopAfter(looks), checkpoint_minutes=0, **SMALL
      )
    assert len({key(x) for x in lines(tmp_path)}) == len(lines(tmp_path))
  with open(tmp_path / metrics.NAME, "a") as file:
    file.write('{"replicate": 0, "rou')  # as a power failure leaves it
  runs.run(tmp_path, **SMALL)
  assert sorted(lines(tmp_path), key=key) == expected(tmp_path)


def test_a_run_that_grows_has_the_lines_of_before(tmp_path):
  runs.run(tmp_path, **SMALL | {"arms": ["ticket"]})
  runs.run(tmp_path, **SMALL)
  assert sorted(lines(tmp_path), key=key) == expected(tmp_path)


def test_the_table_of_all_measurements(tmp_path):
  run = tmp_path / "run"
  runs.run(run, **SMALL, noise=[0.5, 2.0])
  frame = report.read(run)
  path = tmp_path / "all.csv"
  report_command.main(["report", str(run), f"--csv={path}"])
  pandas.testing.assert_frame_equal(pandas.read_csv(path), frame)
  streamed = pandas.read_json(
    run / metrics.NAME, lines=True, precise_float=True
  )
  for name in ("train_loss", "valid_accuracy", "test_loss"):
    found = frame[frame.metric == name]
    assert sorted(found.value) == sorted(streamed[name].dropna())
  ends = frame[frame.metric == "end_test_accuracy"]
  assert (ends.step == 40).all() and len(ends) == 2 * 3
  trial = frame.query("replicate == 1 and round == 1 and arm == 'random'")
  assert set(trial.density.round(2)) == {0.8} and set(trial.draw) == {0}
