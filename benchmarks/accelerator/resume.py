"""A smoke run that is killed and resumed, against one that is not killed.

Both take programs from one cache, as a resumed run on one machine does. A third
run compiles again: XLA chooses kernels on a GPU by timing them, so its bits may
differ; a difference there is reported and is not a failure.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from etils import epath

from benchmarks import tables
from benchmarks.accelerator import child
from lth_jax.report import records

_FLAGS = (
  "--flagfile=experiments/flags/mnist_lenet/smoke.flags --eval_every=20 "
  "--test_every=1000 --checkpoint_minutes=0 --progress=log "
  "--trials_per_device=4"
)
# The command of the experiment without its report.
_RUN = """
import sys, threading
from etils import epath
from lth_jax.config import flags
from lth_jax.runner import experiment
config, workdir = flags.parse(sys.argv[2:]), epath.Path(sys.argv[1])
experiment.run(config, workdir, "mnist_lenet", threading.Event())
"""


def rows(asked: child.Asked) -> Iterator[tables.Row]:
  """Yields the number of records that differ, and the seconds of each run."""
  folder = epath.Path(asked.work) / "resume"
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  whole, killed, again = (folder / x for x in ("whole", "killed", "again"))
  first = _finish(whole, "cache", asked, "not killed, nothing cached")
  yield first
  with _run(killed, "cache", asked) as process:
    seen = _wait_for_save(killed, process, asked)
  num = len(records.committed(killed))
  yield {"what": "killed", "records": num, "saved_midway": seen, "ok": seen}
  yield _finish(killed, "cache", asked, "resumed, programs cached")
  num = _differ(whole, killed)
  yield {"what": "killed and resumed: differ", "records": num, "ok": num == 0}
  if asked.left() > 1.3 * first["seconds"]:
    yield _finish(again, "cache_again", asked, "not killed, compiled again")
    num = _differ(whole, again)
    yield {"what": "compiled again: differ", "records": num}


@contextlib.contextmanager
def _run(workdir, cache, asked):
  """Starts a run, which is killed at the end."""
  steps = 200 if asked.smoke else 2000
  process = subprocess.Popen(
    [sys.executable, "-c", _RUN, workdir, *_FLAGS.split(), f"--steps={steps}"],
    env=os.environ | tables.cache(str(workdir.parent / cache)),
    stdin=subprocess.DEVNULL,
    stdout=sys.stderr,
  )
  try:
    yield process
  finally:
    process.kill()
    process.wait()


def _finish(workdir, cache, asked, what):
  begin = time.monotonic()
  with _run(workdir, cache, asked) as process:
    code = process.wait(max(asked.left(), 1))
  if code:
    raise RuntimeError(f"{what}: exit code {code}")
  num = len(records.committed(workdir))
  seconds = time.monotonic() - begin
  return {"what": what, "seconds": seconds, "records": num}


def _wait_for_save(workdir, process, asked) -> bool:
  """Waits until a pruned network is saved midway, or the run has ended."""
  pattern = "replicate_*/round_001/*.step_*/commit.json"
  while process.poll() is None and asked.left() > 0:
    if any(workdir.glob(pattern)):
      return True
    time.sleep(0.01)
  return False


def _differ(one, other) -> int:
  """Counts records that differ; each has digests of weights and masks."""
  found, others = (
    {
      (str(x.relative_to(folder)), (x.parent / "record.json").read_text())
      for x in records.committed(folder)
    }
    for folder in (one, other)
  )
  return len({name for name, _ in found ^ others})
