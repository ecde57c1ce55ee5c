"""Measurements for a person with a GPU or a TPU for a quarter of an hour.

  python -m benchmarks.accelerator --minutes=12 --data_dir=FOLDER --out=FOLDER

Each stage has a process and a time limit of its own. `accelerator.json` and
`accelerator.md` are written after every row, so that a cut-off run keeps its
rows. A stage that fails is recorded as failed and the next one starts; the exit
code is then 1.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from benchmarks import tables
from benchmarks.accelerator import child, report

_ROOT = pathlib.Path(__file__).parents[2]
# Seconds for ending and writing at the very end.
_RESERVE = 5.0


class Stage(NamedTuple):
  """A part of the whole.

  Attributes:
    where: module and function.
    weight: its share of the time that is left, relative to the weights of all
      stages to come.
    what: a sentence for the report.
  """

  where: str
  weight: float
  what: str


_HERE = "benchmarks.accelerator"
STAGES = {
  "limits": Stage(
    f"{_HERE}.limits:speeds", 0.05, "Speed of memory and of products"
  ),
  "correctness": Stage(
    f"{_HERE}.correctness:rows",
    0.13,
    "The device against the CPU, within tolerances",
  ),
  "resume": Stage(
    f"{_HERE}.resume:rows", 0.15, "A smoke run killed and resumed"
  ),
  "programs": Stage(
    f"{_HERE}.steps:programs", 0.1, "LeNet's program, compiled and cached"
  ),
  "lenet": Stage(f"{_HERE}.steps:lenet", 0.15, "LeNet's step by width"),
  "torch": Stage(f"{_HERE}.steps:torch", 0.07, "The same steps in torch"),
  "pruning": Stage(
    f"{_HERE}.limits:pruning", 0.05, "Pruning of 1e8 and 1e9 weights"
  ),
  "deep": Stage(f"{_HERE}.steps:deep", 0.15, "Deeper networks' steps by width"),
  "trials": Stage(
    f"{_HERE}.trials:rows", 0.6, "The paper's protocol as far as time allows"
  ),
}


def main() -> int:
  """Runs the stages; returns the exit code."""
  end = time.time() - _RESERVE
  options = _options()
  end += 60 * options.minutes
  options.out.mkdir(parents=True, exist_ok=True)
  options.work.mkdir(parents=True, exist_ok=True)
  about = {
    "command": " ".join(sys.argv[1:]),
    "began": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()) + " UTC",
    "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
  }
  content = {"about": about, "stages": {}}
  for index, name in enumerate(options.stages):
    weights = [STAGES[other].weight for other in options.stages[index:]]
    seconds = (end - time.time()) * weights[0] / sum(weights)
    _run(name, seconds, options, content)
  print((options.out / "accelerator.md").read_text())
  return 0 if report.is_fine(content) else 1


def _options():
  description = (__doc__ or "").partition("\n")[0]
  parser = argparse.ArgumentParser(
    prog="benchmarks.accelerator", description=description
  )
  parser.add_argument("--minutes", type=float, default=12.0)
  parser.add_argument(
    "--stages",
    type=lambda text: text.split(","),
    default=list(STAGES),
    help=f"with commas between, in this order: {','.join(STAGES)}",
  )
  parser.add_argument(
    "--data_dir", type=os.path.abspath, help="folder of MNIST's original files"
  )
  parser.add_argument(
    "--out",
    type=_absolute,
    default="runs/accelerator",
    help="folder to bring home",
  )
  parser.add_argument(
    "--work",
    type=_absolute,
    default="runs/accelerator_work",
    help="folder of runs and cached programs; the next call resumes them",
  )
  parser.add_argument(
    "--smoke", action="store_true", help="the smallest sizes, to try it out"
  )
  options = parser.parse_args()
  if unknown := [name for name in options.stages if name not in STAGES]:
    parser.error(f"--stages={unknown[0]}: use some of {','.join(STAGES)}")
  if "trials" in options.stages:
    # Only this check needs JAX, of a second.
    from benchmarks.accelerator import trials

    missing = trials.missing_images("mnist_lenet", _asked(0.0, options))
    if missing:
      parser.error(f"{missing} Or leave out 'trials' of --stages.")
  return options


def _absolute(path):
  return pathlib.Path(path).absolute()


def _asked(deadline, options):
  paths = options.data_dir, str(options.work), str(options.out)
  return child.Asked(deadline, options.smoke, *paths)


def _run(name, seconds, options, content):
  """Runs a stage in a process and kills it if its time is up."""
  print(f"{name}: {seconds:.0f} s at most", file=sys.stderr, flush=True)
  stage = {"what": STAGES[name].what, "state": "running", "rows": []}
  content["stages"][name] = stage
  report.write(options.out, content)
  begin = time.time()
  with _start(name, begin + seconds, options) as process:
    timer = threading.Timer(seconds, _kill, [process])
    timer.start()
    try:
      for line in process.stdout:
        with contextlib.suppress(ValueError):  # what a library prints
          report.add_row(stage["rows"], json.loads(line))
          report.write(options.out, content)
        print(f"{name}: {line}", end="", file=sys.stderr, flush=True)
      code = process.wait()
    finally:
      timer.cancel()
      _kill(process)
  passed = time.time() - begin
  stage |= {"state": "done", "seconds": round(passed, 1)}
  if passed >= seconds:
    stage |= {"state": "cut off", "error": f"did not end in {seconds:.0f} s"}
  elif code:
    log = (options.out / "accelerator.log").read_text(errors="replace")
    stage |= {"state": "failed", "error": log[-3000:]}
  report.write(options.out, content)


def _start(name, deadline, options):
  asked = _asked(deadline, options)
  with open(options.out / "accelerator.log", "a", encoding="utf-8") as log:
    log.write(f"\n== {name}\n")
    log.flush()
    return subprocess.Popen(
      child.command(STAGES[name].where, asked),
      cwd=_ROOT,
      env=os.environ | tables.cache(str(options.work / "cache")),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=log,
      text=True,
      process_group=0,
    )


def _kill(process):
  """Ends a stage and all processes that it started."""
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, 9)


if __name__ == "__main__":
  sys.exit(main())
