"""Killed with SIGKILL at random moments, a run ends as an undisturbed one does.

The processes that are killed see a slow disk: before a file is opened for
writing, renamed or removed, a moment passes. So even phases that last for
microseconds can be seen, and hit, from outside. Which phases a kill has hit is
read off the disk after the process is dead, when nothing can change any more.
"""

import collections
import json
import multiprocessing
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
from helpers import workdirs

_ROOT = pathlib.Path(__file__).parents[2]
# Two saves inside a trial: at the end of each of its two segments.
_FLAGS = (
  "--dataset=mnist_10k",
  "--num_valid=100",
  "--hidden=8",
  "--batch_size=10",
  "--steps=3000",
  "--eval_every=50",
  "--test_every=3000",
  "--rates=kernel=0.2",
  "--rounds=3",
  "--replicates=2",
  "--arms=ticket,reinit",
  "--reinits=1",
  "--checkpoint_minutes=0",
  "--progress=none",
)
_NUM_KILLS = 4
_SLOW_SECONDS = 0.015
_SLOW_NAMES = (".tmp", ".part", "commit.json")
# Phases, and how long after one is seen the kill comes at the latest [s].
_PHASES = {
  "start": 0.1,
  "training": 0.05,
  "array write": 0.02,
  "record write": 0.005,
  "rename": 0.01,
  "report": 0.3,
}


def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path, monkeypatch):
  _speed_up_starts(tmp_path, monkeypatch)
  undisturbed = tmp_path / "undisturbed"
  _run(undisturbed)
  trials = frozenset(workdirs.commits(undisturbed))
  expected = workdirs.content_of(undisturbed)
  assert len(trials) == 2 * (1 + 1 + 3 * 2)

  seed = random.SystemRandom().randrange(2**32)
  print(f"seed {seed}")  # pytest shows it where the test fails
  rng, hits = random.Random(seed), collections.Counter()
  for attempt in range(3):  # a run can end before every phase was hit
    killed = tmp_path / f"killed_{attempt}"
    log = tmp_path / f"log_{attempt}"
    _kill_again_and_again(killed, trials, log, rng, hits)
    _run(killed)
    workdirs.check_equal(workdirs.content_of(killed), expected)
    assert _went_on_inside_a_trial(killed)
    # A kill damages nothing, so nothing may be found damaged.
    assert "discarded" not in log.read_text()
    if not _wanted(hits):
      break
  print(f"hits {dict(hits)}")
  assert not _wanted(hits), f"not hit {_NUM_KILLS} times; hits: {hits}"


def _kill_again_and_again(folder, trials, log, rng, hits):
  """Kills a run in phases not hit often enough, until it has no more of them.

  Adds to `hits`.
  """
  for _ in range(20 * len(_PHASES)):
    before = workdirs.commits(folder)
    wanted = _wanted(hits)
    if trials <= before.keys():
      wanted &= {"start", "report"}
    elif wanted != {"report"}:
      wanted -= {"report"}
    if not wanted:
      return
    hits.update(_kill(folder, trials, log, rng.choice(sorted(wanted)), rng))
    after = workdirs.commits(folder)
    assert before.items() <= after.items(), "a stored trial was made again"
  raise AssertionError(f"the phases are never hit; hits: {hits}")


def _kill(folder, trials, log, phase, rng):
  """Starts the run, kills it in a phase, and returns the phases it was in."""
  # One device trains one trial at a time: if nothing is written, it trains.
  devices = f"--devices={1 if phase == 'training' else 2}"
  process = multiprocessing.get_context("forkserver").Process(
    target=_run_on_slow_disk, args=(folder, devices, log)
  )
  begin = time.time_ns()
  num_skipped = 0 if phase in ("start", "report") else rng.randrange(4)
  process.start()
  try:
    while process.is_alive():
      phases, num_commits = _look(folder, trials, begin)
      if phase in phases and num_commits >= num_skipped:
        time.sleep(rng.uniform(0, _PHASES[phase]))
        break
      time.sleep(0.001)
  finally:
    process.kill()
    process.join()
  assert process.exitcode in (0, -signal.SIGKILL), log.read_text()
  if process.exitcode == 0:  # it was faster
    return set()
  return _look(folder, trials, begin)[0]


def _look(folder, trials, begin):
  """Looks at what a process has written since it began.

  Returns:
    The phases that the process is in, and how often it has committed.
  """
  stats = workdirs.stats_of(folder)
  fresh = {p: stat for p, stat in stats.items() if stat.st_mtime_ns >= begin}
  phases, writing = set(), False
  for path, stat in fresh.items():
    parent, name = path.parent, path.name
    if name.endswith(".tmp") and parent == folder:
      phases.add("start")
    elif name.endswith(".json.tmp"):
      phases.add("rename" if stat.st_size else "record write")
    elif parent.name.startswith("arrays.orbax-checkpoint-tmp"):
      phases.add("array write")
    elif name == "commit.json" and _intermediate(parent, stats):
      phases.add("rename")  # what the trial had saved is not removed yet
    elif parent == folder / "report":
      phases.add("report")
    elif _is_store(path) and path / "commit.json" not in stats:
      writing = True
  if folder / "report" / "index.html" in stats:
    phases.discard("report")
  num_commits = sum(path.name == "commit.json" for path in fresh)
  complete = all(folder / trial / "commit.json" in stats for trial in trials)
  if num_commits and not writing and not complete:
    phases.add("training")
  return phases, num_commits


def _is_store(path):
  return path.match("replicate_*/rewind") or path.match("replicate_*/round_*/*")


def _intermediate(trial, stats):
  prefix = f"{trial.name}.step_"
  found = [path.name for path in stats if path.parent == trial.parent]
  return any(name.startswith(prefix) for name in found)


def _wanted(hits):
  return {phase for phase in _PHASES if hits[phase] < _NUM_KILLS}


def _went_on_inside_a_trial(folder):
  timings = folder.glob("replicate_*/round_*/*/timing.json")
  return any(json.loads(path.read_text())["from_step"] for path in timings)


def _speed_up_starts(tmp_path, monkeypatch):
  """Saves most of a start's seconds, since there are dozens of starts.

  Programs are compiled once, by the undisturbed run. Processes to kill are
  forked from one that has imported everything and done nothing else.
  """
  if "forkserver" not in multiprocessing.get_all_start_methods():
    pytest.skip("no forkserver on this platform")
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
  monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
  monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
  path = os.pathsep.join([str(_ROOT), str(_ROOT / "tests")])
  monkeypatch.setenv("PYTHONPATH", path, prepend=os.pathsep)
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload(
    ["experiments.mnist_lenet", "orbax.checkpoint", "test_kills"]
  )


def _run(folder):
  """Runs the experiment as a user does, to its end."""
  subprocess.run(
    [
      *(sys.executable, "-m", "experiments.mnist_lenet"),
      *(f"--workdir={folder}", *_FLAGS),
    ],
    check=True,
    cwd=_ROOT,
  )


def _run_on_slow_disk(folder, devices, log):
  """Runs the experiment in this process, where the disk is made slow."""

  def slow(event, args):
    if event not in ("open", "os.rename", "os.remove"):
      return
    path = str(args[0])
    if not (path.startswith(str(folder)) and path.endswith(_SLOW_NAMES)):
      return
    if event == "open":
      if args[1] not in ("w", "wb"):
        return
      os.close(os.open(path, os.O_CREAT | os.O_WRONLY))  # there, but empty
    time.sleep(_SLOW_SECONDS)

  from experiments import mnist_lenet

  with open(log, "a") as file:
    os.dup2(file.fileno(), sys.stdout.fileno())
    os.dup2(file.fileno(), sys.stderr.fileno())
  sys.addaudithook(slow)
  flags = [f"--workdir={folder}", devices, *_FLAGS]
  mnist_lenet.main(["mnist_lenet", *flags])
