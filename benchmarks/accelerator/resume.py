"""A smoke run that is killed and resumed, against one that is not killed.

Both take programs from one cache, as a resumed run on one machine does. A third
run compiles again: XLA chooses kernels on a GPU by timing them, so its bits may
differ; a difference there is reported and is not a failure.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.accelerator import child

_FLAGS = (
  "--flagfile=experiments/flags/mnist_lenet/smoke.flags --steps=2000 "
  "--eval_every=20 --test_every=1000 --checkpoint_minutes=0 --progress=log "
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


def rows(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields the number of records that differ, and the seconds of each run."""
  folder = pathlib.Path(asked.work) / "resume"
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  cache = str(folder / "cache")
  whole = _finish(folder / "whole", cache, asked, "not killed, nothing cached")
  yield whole
  killed = _start(folder / "killed", cache)
  try:
    seen = _wait_for_save(folder / "killed", killed, asked)
  finally:
    _kill(killed)
  done = len(_records(folder / "killed"))
  yield {"what": "killed", "records": done, "saved_midway": seen, "ok": seen}
  yield _finish(folder / "killed", cache, asked, "resumed, programs cached")
  yield _compare(folder, "killed", "killed and resumed", must=True)
  if asked.left() > 1.3 * whole["seconds"]:
    again = str(folder / "cache_again")
    yield _finish(folder / "again", again, asked, "not killed, compiled again")
    yield _compare(folder, "again", "compiled again", must=False)


def _start(workdir, cache):
  return subprocess.Popen(
    [sys.executable, "-c", _RUN, str(workdir), *_FLAGS.split()],
    env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache},
    stdin=subprocess.DEVNULL,
    stdout=sys.stderr,
  )


def _finish(workdir, cache, asked, what):
  begin = time.monotonic()
  process = _start(workdir, cache)
  try:
    code = process.wait(max(asked.left(), 1))
  finally:
    _kill(process)
  if code:
    raise RuntimeError(f"{what}: exit code {code}")
  return {
    "what": what,
    "seconds": time.monotonic() - begin,
    "records": len(_records(workdir)),
  }


def _wait_for_save(workdir, process, asked) -> bool:
  """Waits until a pruned network is saved midway, or the run has ended."""
  pattern = "replicate_*/round_001/*.step_*/commit.json"
  while process.poll() is None and asked.left() > 0:
    if any(workdir.glob(pattern)):
      return True
    time.sleep(0.01)
  return False


def _kill(process):
  with contextlib.suppress(ProcessLookupError):
    process.send_signal(signal.SIGKILL)
  process.wait()


def _records(workdir):
  """Records of finished trainings; each has digests of weights and masks."""
  return {
    str(path.relative_to(workdir)): json.loads(
      (path.parent / "record.json").read_text()
    )
    for path in workdir.glob("replicate_*/round_*/*/commit.json")
    if ".step_" not in path.parent.name
  }


def _compare(folder, name, what, must):
  one, other = _records(folder / "whole"), _records(folder / name)
  same = [key for key in one if other.get(key) == one[key]]
  row = {
    "what": f"{what}: records that differ",
    "records": len(one.keys() | other.keys()) - len(same),
  }
  if must:
    row["ok"] = len(same) == len(one) == len(other) > 0
  return row
