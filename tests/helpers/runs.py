"""Small whole runs in this process, on random images."""

import pathlib
import threading

from etils import epath

from helpers import commands, tiny
from lth_jax.config import configs
from lth_jax.runner import experiment

FLAGS = {
  "dataset": "tiny",
  "num_valid": tiny.NUM.valid,
  "hidden": [tiny.HIDDEN],
  "batch_size": tiny.BATCH,
  "steps": 40,
  "eval_every": 10,
  "test_every": 20,
  "learning_rate": 0.01,
  "rates": ["kernel=0.2"],
  "rounds": 2,
  "replicates": 2,
  "reinits": 1,
  "arms": ["ticket", "reinit", "random"],
  "devices": 2,
  "progress": "none",
}


def run(folder, stop=None, **changed):
  config = configs.from_flat(FLAGS | changed)
  with commands.tiny_data():
    experiment.run(
      config, epath.Path(folder), "test", stop or threading.Event()
    )


def contents(folder):
  """{trial: record} as bytes, for all trials and rewind points of a run."""
  folder = pathlib.Path(folder)
  found = {
    str(path.parent.relative_to(folder)): path.read_bytes()
    for path in folder.glob("replicate_*/**/record.json")
  }
  assert not [name for name in found if ".step_" in name]
  return found


class StopAfter:
  """An event that sets itself when it has been looked at often enough."""

  def __init__(self, looks):
    self.event, self.looks = threading.Event(), looks

  def is_set(self):
    self.looks -= 1
    if self.looks < 0:
      self.event.set()
    return self.event.is_set()

  def set(self):
    self.event.set()
