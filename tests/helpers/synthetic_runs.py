"""Writes the folder of a run that never ran, with plausible curves."""

import hashlib
import json
import pathlib
import tempfile

import numpy as np

from lth_jax.config import configs, plan
from lth_jax.report import records
from lth_jax.storage import files

# All trials are derived from the same.
ORIGIN = dict.fromkeys(("theta_0", "split", "masks", "trained weights"), "0")
# Early-stop step and test accuracy (%) at some densities (%).
_SHAPES = {
  "ticket": {
    "density": (100, 51.3, 21.1, 13.5, 3.6, 1.2),
    "step": (6750, 4800, 3100, 3300, 5000, 9100),
    "accuracy": (98.0, 98.15, 98.3, 98.38, 98.08, 97.2),
  },
  "reinit": {
    "density": (100, 51.3, 21.1, 3.6, 1.2),
    "step": (6750, 7000, 7600, 14000, 15600),
    "accuracy": (98.0, 98.02, 97.92, 97.1, 95.6),
  },
  "random": {
    "density": (100, 51.3, 21.1, 3.6, 1.2),
    "step": (6750, 7400, 8800, 15500, 17000),
    "accuracy": (98.0, 97.95, 97.7, 96.0, 93.0),
  },
}


def config(**changes):
  """Returns a flat configuration: the "cpu" run of the paper's protocol."""
  shrunk = {"steps": 15000, "test_every": 500, "reinits": 1, "replicates": 3}
  return configs.to_flat(configs.Config()) | shrunk | changes


def write(workdir, *, seed=0, **changes):
  """Writes config.json and the records of every trial; returns the folder."""
  workdir, settings = pathlib.Path(workdir), config(**changes)
  workdir.mkdir(parents=True, exist_ok=True)
  asked = configs.from_flat(settings)
  content = {
    "format": 3,
    "experiment": "mnist_lenet",
    "run_id": configs.run_id(asked),
    "data": "0",
    "config": settings,
  }
  text = json.dumps(files.add_checksum(content))
  (workdir / "config.json").write_text(text)
  for replicate in plan.replicates(asked):
    rng = np.random.default_rng((seed, replicate))
    luck = rng.normal()
    for index in range(settings["rounds"] + 1):
      for each in plan.of_round(asked, replicate, index):
        write_trial(workdir, trial(settings, each, luck, rng))
  return workdir


def read(**changes):
  """Returns a small run as reports read it."""
  small = {"rounds": 2, "replicates": 2, "arms": ["ticket", "reinit"]}
  with tempfile.TemporaryDirectory() as folder:
    return records.read(write(folder, **small | changes))


def trial(settings, name, luck, rng):
  """Returns the record of one trial, given by its name in the plan."""
  kept = [
    round(size * (1 - rate) ** name.round)
    for size, rate in ((235200, 0.2), (30000, 0.2), (1000, 0.1))
  ]
  density = sum(kept) / 266200
  shape = _SHAPES.get(name.arm, _SHAPES["reinit"])
  at = np.log(np.array(shape["density"][::-1]))
  scale = settings["steps"] / 15000
  best = scale * np.interp(np.log(100 * density), at, shape["step"][::-1])
  top = np.interp(np.log(100 * density), at, shape["accuracy"][::-1])
  best *= 1 + 0.03 * luck + 0.05 * rng.normal()
  top += 0.03 * luck + 0.03 * rng.normal()
  every = settings["eval_every"]
  steps = np.arange(0, settings["steps"] + 1, every)
  curve = _curve(steps, best, top, rng)
  test_steps = np.arange(0, settings["steps"] + 1, settings["test_every"])
  stop = int(min(every * round(best / every), settings["steps"]))
  train = {
    "early": min(100.0, 98.9 + 1.1 * (top - 97.2) / 1.2),
    "end": float(np.clip(100 - 40 * (0.02 - density), 95, 100)),
  }
  last = settings["steps"]
  early = _point(stop, stop, curve(stop), train["early"])
  return {
    "format": 3,
    **name._asdict(),
    "density": density,
    "kept": sum(kept),
    "counted": 266200,
    "density_by_name": {"Dense_0/kernel": kept[0] / 235200},
    "num_steps": settings["steps"],
    "eval_every": every,
    "evaluations": {
      "step": steps.tolist(),
      "valid_loss": [None] * len(steps)
      if settings["num_valid"] == 0
      else _valid_loss(steps, stop).tolist(),
    },
    "tests": {
      "step": test_steps.tolist(),
      "loss": [0.1] * len(test_steps),
      "accuracy": [curve(step) / 100 for step in test_steps],
    },
    "early_stop": None
    if settings["num_valid"] == 0
    else early | {"reached": stop < settings["steps"]},
    "end": _point(last, stop, curve(last), train["end"]),
    "diverged": False,
    "warnings": [],
    "origin": ORIGIN,
    "digests": {"masks": "0", "params": "0"},
  }


def write_trial(workdir, record):
  """Writes a committed trial and returns the path of its record."""
  run = json.loads((workdir / "config.json").read_text())
  name = plan.Trial(*(record[x] for x in plan.Trial._fields)).name
  path = workdir / name / "record.json"
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(record))
  commit = {
    "format": 3,
    "owner": plan.owner(run["run_id"], run["data"], name),
    "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
  }
  path.with_name("commit.json").write_text(json.dumps(commit))
  return path


def _curve(steps, best, top, rng):
  """Returns step -> test accuracy (%): fast rise to `top` about `best`."""
  phase = rng.uniform(0, 6)

  def accuracy(step):
    progress = step / best
    rise = (top - 10) / (1 + 120 * progress) + 0.9 * np.exp(-3.5 * progress)
    wave = 0.04 * np.sin(phase + step / 170) + 0.03 * np.sin(step / 410)
    settled = 0.05 * (1 - np.exp(-progress)) + 0.04 * rng.normal()
    return float(np.clip(top + 0.75 - rise + wave + settled, 8, 100))

  return accuracy


def _valid_loss(steps, stop):
  """Falls to its minimum at `stop` and rises again."""
  return 0.07 + 0.02 * np.log((steps + 50) / (stop + 50)) ** 2


def _point(step, stop, test, train):
  return {
    "step": step,
    "valid_loss": float(_valid_loss(step, stop)),
    "valid_accuracy": test / 100,
    "test_loss": 0.07,
    "test_accuracy": test / 100,
    "train_loss": 0.01,
    "train_accuracy": train / 100,
  }
