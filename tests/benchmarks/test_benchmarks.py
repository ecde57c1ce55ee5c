"""Benchmarks run at the smallest sizes and print the named fields."""

import importlib.util
import json
import math
import pathlib
import subprocess
import sys

import jax
import pytest

from benchmarks import dry_run
from lth_jax import errors

_ROOT = pathlib.Path(__file__).parents[2]
_FIELDS = {
  "dry_run": (
    "--model lenet --devices 2 --batch 4 --trials 3",
    "part number sharding mib_per_device",
  ),
  "trials": ("--trials 1 2 --steps 20 --repeats 1", "step_ms examples_per_s"),
  "pruning": (
    "--sizes 10000 --repeats 1",
    "prune_s np_partition_s jax_argsort_s extra_memory",
  ),
  "rounds": ("--repeats 1", "part seconds percent_of_round"),
  "startup": ("--repeats 1", "what seconds"),
  "train_step": (
    "--models lenet --repeats 1",
    "model step_ms torch_step_ms speedup_vs_torch limit_ms "
    "limit_with_state_ms limit_fraction",
  ),
}


@pytest.mark.parametrize("name", _FIELDS)
def test_a_benchmark_prints_rows(name):
  if name == "train_step" and not importlib.util.find_spec("torch"):
    pytest.skip("torch is not here: it comes with the extra [benchmarks]")
  options, fields = _FIELDS[name]
  found = subprocess.run(
    [sys.executable, "-m", f"benchmarks.{name}", "--json", *options.split()],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert found.returncode == 0, found.stderr
  rows = json.loads(found.stdout)
  assert rows and all(row.keys() == rows[0].keys() for row in rows)
  assert set(fields.split()) <= rows[0].keys()
  numbers = [x for row in rows for x in row.values() if isinstance(x, float)]
  # A difference of two noisy times, as importing has, may be negative.
  assert numbers and all(map(math.isfinite, numbers)) and max(numbers) > 0


def dry_run_of(monkeypatch, options):
  assert len(jax.devices()) == 4  # else this sets the number for all tests
  monkeypatch.setattr(sys, "argv", f"dry_run --json {options}".split())
  dry_run.main()


@pytest.mark.parametrize(
  ("devices", "sharding"), [(1, "on each"), (2, "over 2")]
)
def test_memory_is_that_of_the_compiled_program(
  monkeypatch, capsys, devices, sharding
):
  dry_run_of(monkeypatch, f"--model lenet --devices {devices} --batch 4")
  rows = {row["part"]: row for row in json.loads(capsys.readouterr().out)}
  assert rows["batch"]["sharding"] == sharding
  whole = 4 * (28 * 28 + 4) / 2**20
  assert math.isclose(rows["batch"]["mib_per_device"], whole / devices)
  assert rows["params"]["sharding"] == "on each"
  assert rows["program: arguments"]["mib_per_device"] > 3


def test_a_batch_that_cannot_be_split_is_refused(monkeypatch):
  with pytest.raises(errors.InputError, match=r"--batch=63: .* 4 devices"):
    dry_run_of(monkeypatch, "--devices 4 --batch 63")


def test_every_benchmark_is_run_here():
  scripts = {
    path.stem
    for path in (_ROOT / "benchmarks").glob("*.py")
    if "__main__" in path.read_text()
  }
  assert scripts == set(_FIELDS)
