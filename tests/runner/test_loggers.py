"""Measurements as TensorBoard and Weights & Biases have them."""

import json
import pathlib

import numpy as np
import pytest
import tensorboardX
import wandb
from helpers import commands, runs
from tensorboardX.proto import event_pb2

from lth_jax import errors
from lth_jax.report import measurements
from lth_jax.runner import loggers, metrics

SMALL = {"arms": ["ticket", "random"], "rounds": 1, "replicates": 1}


def expected(folder):
  """{(trial, metric, step): value} of metrics.jsonl."""
  found = {}
  for text in (folder / metrics.NAME).read_text().splitlines():
    line = json.loads(text)
    trial = "replicate_{replicate}/round_{round:03d}/{arm}".format(**line)
    for name in measurements.METRICS:
      if line[name] is not None:
        found[trial, name, line["step"]] = line[name]
  return found


def events(path):
  """The events of a TensorBoard file: length, checksum, event, checksum."""
  content, found = path.read_bytes(), []
  while content:
    length = int.from_bytes(content[:8], "little")
    found.append(event_pb2.Event.FromString(content[12 : 12 + length]))
    content = content[16 + length :]
  return found


def on_tensorboard(folder):
  """{(trial, metric, step): value} as TensorBoard shows it."""
  found, top = {}, pathlib.Path(folder) / "tensorboard"
  for path in sorted(top.rglob("events*"), key=lambda x: x.stat().st_mtime_ns):
    trial = str(path.parent.relative_to(top))
    for event in events(path):
      if event.session_log.status == event_pb2.SessionLog.START:
        earlier = [x for x in found if x[0] == trial and x[2] >= event.step]
        for key in earlier:
          del found[key]
      for value in event.summary.value:
        assert (trial, value.tag, event.step) not in found
        found[trial, value.tag, event.step] = value.simple_value
  return found


def test_tensorboard_has_every_measurement_once_after_a_stop(tmp_path):
  asked = {"log": ["tensorboard"], "checkpoint_minutes": 0, **SMALL}
  with pytest.raises(errors.StoppedError):
    runs.run(tmp_path, stop=runs.StopAfter(4), **asked)
  assert on_tensorboard(tmp_path)
  runs.run(tmp_path, **asked)
  found, wanted = on_tensorboard(tmp_path), expected(tmp_path)
  assert found.keys() == wanted.keys() and len(wanted) > 20
  for key, value in found.items():
    assert np.float32(wanted[key]) == np.float32(value)


def test_weights_and_biases_without_a_network(tmp_path, monkeypatch):
  monkeypatch.setenv("WANDB_MODE", "offline")
  runs.run(tmp_path, log=["wandb"], **SMALL)
  (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
  content = path.read_bytes()
  for (trial, name, _), value in expected(tmp_path).items():
    # A block of the file may end within a text: this file is one block.
    assert f"{trial}/{name}".encode() in content
    assert json.dumps(value).encode() in content
  assert len(content) < 2**15


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_logger_that_is_missing_is_an_error(name, tmp_path, monkeypatch):
  find = loggers.importlib.util.find_spec
  monkeypatch.setattr(
    loggers.importlib.util,
    "find_spec",
    lambda package: None if name in package.lower() else find(package),
  )
  result = commands.try_run(tmp_path / "run", f"--log={name}")
  commands.assert_one_line(result, f"--log={name}", "pip install")
  assert not (tmp_path / "run" / "config.json").exists()
  other = commands.try_run(tmp_path / "run", "--log=mlflow")
  commands.assert_one_line(other, "tensorboard", "wandb")


def test_weights_and_biases_out_of_reach_is_one_line(tmp_path, monkeypatch):
  def refuse(**_):
    raise wandb.errors.UsageError("No API key configured.")

  monkeypatch.setattr(wandb, "init", refuse)
  with pytest.raises(
    errors.InputError, match=r"No API key.*WANDB_MODE"
  ) as told:
    runs.run(tmp_path, log=["wandb"], **SMALL)
  assert "\n" not in str(told.value)


def test_a_logger_that_fails_does_not_stop_the_run(
  tmp_path, monkeypatch, capsys
):
  def fail(*_):
    raise ConnectionResetError("lost")

  monkeypatch.setattr(tensorboardX.SummaryWriter, "add_scalar", fail)
  runs.run(tmp_path, log=["tensorboard"], **SMALL)
  assert capsys.readouterr().err.count("--log=tensorboard has failed") == 1
  assert len(runs.contents(tmp_path)) == 4


def test_a_stop_is_no_failure_to_weights_and_biases(
  tmp_path, monkeypatch, capfd
):
  monkeypatch.setenv("WANDB_MODE", "offline")
  with pytest.raises(errors.StoppedError):
    runs.run(tmp_path, stop=runs.StopAfter(4), log=["wandb"], **SMALL)
  assert "Traceback" not in capfd.readouterr().err
