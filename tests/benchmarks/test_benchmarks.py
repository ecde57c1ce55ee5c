"""Benchmarks run, and `--json` prints one list of rows with the named fields.

At the smallest sizes: what they measure is not looked at, but that they do.
"""

import importlib.util
import json
import math
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_FIELDS = {
  "dry_run": (
    "--devices 2 --pixels 32 --width 4 --batch 4 --store 8 --trials 3",
    "part number largest dtype sharding mib_per_device",
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


def dry_run_of(options, before=""):
  small = "--json --pixels 32 --width 4 --store 8"
  script = f"from benchmarks import dry_run\n{before}\ndry_run.main()"
  how = ("-c", script) if before else ("-m", "benchmarks.dry_run")
  return subprocess.run(
    [sys.executable, *how, *f"{small} {options}".split()],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


_BATCH_ON_EACH = """
from jax.sharding import PartitionSpec
placed = dry_run._placed
dry_run._placed = lambda mesh, spec, tree: placed(mesh, PartitionSpec(), tree)
"""


@pytest.mark.parametrize(
  ("before", "sharding", "share"),
  [("", "over 2", 2), (_BATCH_ON_EACH, "on each", 1)],
)
def test_shardings_are_those_of_the_program(before, sharding, share):
  """Not those that the script meant: it is made to place a batch elsewhere."""
  found = dry_run_of("--devices 2 --batch 4 --program step", before)
  assert found.returncode == 0, found.stderr
  rows = {row["part"]: row for row in json.loads(found.stdout)}
  assert rows["batch"]["sharding"] == sharding
  whole = 4 * (32 * 32 * 3 + 4) / 2**20
  assert math.isclose(rows["batch"]["mib_per_device"], whole / share)
  assert rows["params"]["sharding"] == "on each"
  # A step has no such argument.
  assert rows["images, as lowered"]["sharding"] is None


def test_a_batch_that_cannot_be_split_is_refused():
  found = dry_run_of("--devices 8 --batch 63")
  assert (found.returncode, found.stdout) == (2, "")
  assert "--batch=63: must be a multiple of the 8 dev" in found.stderr
  assert found.stderr.count("\n") == 1


def test_every_benchmark_is_run_here():
  scripts = {
    path.stem
    for path in (_ROOT / "benchmarks").glob("*.py")
    if "__main__" in path.read_text()
  }
  assert scripts == set(_FIELDS)
