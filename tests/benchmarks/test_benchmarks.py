"""Benchmarks run at the smallest sizes and print the named fields."""

import importlib
import importlib.util
import json
import math
import pathlib
import sys

import jax
import pytest

from lth_jax import errors

_ROOT = pathlib.Path(__file__).parents[2]
# Options, and fields of the rows; two of them start many processes.
_FIELDS = {
  "dry_run": (
    "--model lenet --devices 2 --batch 4 --trials 3",
    "part number sharding mib_per_device",
  ),
  "trials": (
    "--trials 1 --axes loop --steps 20 --repeats 1",
    "step_ms examples_per_s",
  ),
  "pruning": (
    "--sizes 10000 --repeats 1",
    "prune_s np_partition_s jax_argsort_s extra_memory",
  ),
  "rounds": ("--repeats 1", "part seconds percent_of_round"),
  "startup": ("--repeats 1", "what seconds"),
  "train_step": (
    "--models lenet --repeats 1",
    "model width batch_size step_ms spread torch_step_ms torch_spread "
    "speedup_vs_torch limit_ms limit_with_state_ms limit_fraction peak_mib "
    "torch_peak_mib traces_next_round",
  ),
}
_SLOW = ("startup", "train_step")


@pytest.fixture
def rows(monkeypatch, capsys):
  """A function that runs a benchmark and returns its rows."""
  monkeypatch.chdir(_ROOT)

  def run(name, options):
    assert len(jax.devices()) == 4  # else dry_run sets the number for all tests
    monkeypatch.setattr(sys, "argv", [name, "--json", *options.split()])
    importlib.import_module(f"benchmarks.{name}").main()
    return json.loads(capsys.readouterr().out)

  return run


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name in _SLOW))
    for name in _FIELDS
  ],
)
def test_a_benchmark_prints_rows(rows, name):
  if name == "train_step" and not importlib.util.find_spec("torch"):
    pytest.skip("torch is not here: it comes with the extra [benchmarks]")
  options, fields = _FIELDS[name]
  found = rows(name, options)
  assert found and all(row.keys() == found[0].keys() for row in found)
  assert set(fields.split()) <= found[0].keys()
  numbers = [x for row in found for x in row.values() if isinstance(x, float)]
  # A difference of two noisy times, as importing has, may be negative.
  assert numbers and all(map(math.isfinite, numbers)) and max(numbers) > 0


@pytest.mark.parametrize(
  ("devices", "sharding"), [(1, "on each"), (2, "over 2")]
)
def test_memory_is_that_of_the_compiled_program(rows, devices, sharding):
  options = f"--model lenet --devices {devices} --batch 4"
  found = {row["part"]: row for row in rows("dry_run", options)}
  assert found["batch"]["sharding"] == sharding
  whole = 4 * (28 * 28 + 4) / 2**20
  assert math.isclose(found["batch"]["mib_per_device"], whole / devices)
  assert found["params"]["sharding"] == "on each"
  assert found["program: arguments"]["mib_per_device"] > 3


def test_a_batch_that_cannot_be_split_is_refused(rows):
  with pytest.raises(errors.InputError, match=r"--batch=63: .* 4 devices"):
    rows("dry_run", "--devices 4 --batch 63")


def test_every_benchmark_is_run_here():
  scripts = {
    path.stem
    for path in (_ROOT / "benchmarks").glob("*.py")
    if "__main__" in path.read_text()
  }
  # open_lth needs a clone of that, and minutes.
  assert scripts == {*_FIELDS, "open_lth"}
