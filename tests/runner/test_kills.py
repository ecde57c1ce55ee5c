"""Killed at any moment, a run ends as an undisturbed one does.

What a kill leaves is what is on disk at that moment, so a copy of the workdir,
taken before each change of a file, stands for a kill there. Real kills, of
processes, show that a dead process holds no lock either.
"""

import os
import random
import re
import shutil
import signal
import time

import pytest
from helpers import commands, workdirs

# One after the other, so that a copy shows one moment.
_FLAGS = (
  *("--replicates=1", "--rounds=1", "--arms=ticket,random"),
  *("--devices=1", "--checkpoint_minutes=0"),
)
_ARMS = re.compile(r"(ticket|random|reinit_\d+)(?=/|\.|$)")
_SLOW_SECONDS = 0.015
_SLOW_NAMES = (".tmp", ".part", "commit.json")


@pytest.mark.parametrize(
  "changes",
  [
    ("os.rename", "os.rmdir"),
    pytest.param(("open", "os.mkdir", "os.remove"), marks=pytest.mark.slow),
  ],
  ids=["commits", "others"],
)
def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(
  tmp_path, changes
):
  copies = tmp_path / "copies"
  folder, whole, begun = copies / "run", {}, set()

  def copy(change, path):
    if not folder.exists():
      return
    saved = {x.parent.with_suffix("") for x in folder.rglob("commit.json")}
    assert begun <= saved, path  # what was saved once of a trial is never gone
    begun.update(saved)
    if change not in changes:
      return
    if change == "open":  # it is there, but empty
      os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    place = os.path.relpath(path, folder)
    kind = re.sub(r"\d+", "0", _ARMS.sub("trial", place))
    if (change, kind) not in whole:  # one moment of each kind
      whole[change, kind] = copies / str(len(whole))
      shutil.copytree(folder, whole[change, kind], dirs_exist_ok=True)

  with workdirs.before_changes(folder, copy):
    commands.run(folder, *_FLAGS)
  expected, shown = workdirs.content_of(folder), workdirs.read(folder)
  assert len(whole) > 15
  from_steps = set()
  for kind, killed in whole.items():
    before = workdirs.commits(killed)
    assert (workdirs.read(killed) or set()) <= shown, kind
    log = commands.run(killed, *_FLAGS)
    workdirs.check_equal(workdirs.content_of(killed), expected)
    # A kill damages nothing, and what was stored is not trained again.
    assert "discarded" not in log, kind
    assert before.items() <= workdirs.commits(killed).items(), kind
    from_steps |= {
      workdirs.read_json(killed / name / "timing.json").get("from_step")
      for name in workdirs.commits(killed).keys() - before.keys()
    }
  assert len(from_steps - {None}) > 1  # some trials continue inside


def _long_save(event, _):
  """The disk takes for ever once the process has obeyed a signal."""
  if event == "os.rename" and (
    signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  ):
    time.sleep(600)


def test_a_second_signal_kills_at_once_and_leaves_no_lock(
  tmp_path, undisturbed
):
  folder, log = tmp_path / "run", tmp_path / "run.log"
  with commands.process(
    folder, "--checkpoint_minutes=0", hook=_long_save
  ) as begun:
    saved = "replicate_0/round_000/ticket*/commit.json"
    commands.wait_for(lambda: list(folder.glob(saved)), begun)
    refused = commands.try_run(folder)
    os.kill(begun.pid, signal.SIGTERM)
    commands.wait_for(lambda: "SIGTERM: " in log.read_text(), begun)
    os.kill(begun.pid, signal.SIGTERM)
    begun.join(60)
  assert begun.exitcode == -signal.SIGTERM, log.read_text()
  commands.assert_one_line(refused, "in use by another process")
  before = workdirs.commits(folder)
  assert "discarded" not in commands.run(folder)
  assert workdirs.results(folder) == workdirs.results(undisturbed)
  assert before.items() <= workdirs.commits(folder).items()


@pytest.mark.slow
def test_a_run_killed_at_random_ends_as_an_undisturbed_one(
  tmp_path, undisturbed
):
  """Several trials at a time, and Orbax's threads, are hit where they are."""
  seed = random.SystemRandom().randrange(2**32)
  print(f"seed {seed}")  # pytest shows it where the test fails
  rng, folder, num_kills = random.Random(seed), tmp_path / "run", 0
  while not (folder / "replicate_1/structure.json").exists():
    before, begin = workdirs.commits(folder), time.time_ns()
    num_new = rng.randrange(1, 8)  # so that it advances on a busy machine too

    def has_advanced(num_new=num_new, begin=begin):
      found = workdirs.commits(folder, also_intermediate=True).values()
      return sum(time >= begin for time in found) >= num_new

    with commands.process(
      folder, "--checkpoint_minutes=0", hook=_slow_disk
    ) as begun:
      commands.wait_for(lambda: begun.exitcode == 0 or has_advanced(), begun)
      time.sleep(rng.uniform(0, 0.1))
    assert begun.exitcode in (0, -signal.SIGKILL)
    num_kills += begun.exitcode != 0
    assert before.items() <= workdirs.commits(folder).items()
  commands.run(folder)
  assert num_kills > 5
  assert "discarded" not in (tmp_path / "run.log").read_text()
  workdirs.check_equal(
    workdirs.content_of(folder), workdirs.content_of(undisturbed)
  )


def _slow_disk(event, args):
  """Waits before files change, so that a kill hits phases of microseconds."""
  changes = event in ("os.rename", "os.remove")
  changes |= workdirs.is_write(event, args)
  if changes and str(args[0]).endswith(_SLOW_NAMES):
    time.sleep(_SLOW_SECONDS)
