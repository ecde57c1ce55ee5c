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

from benchmarks.accelerator import child, report

_ROOT = pathlib.Path(__file__).parents[2]
# Seconds for ending and writing at the very end.
_RESERVE = 5.0


class Stage(NamedTuple):
  """A part of the whole.

  Attributes:
    where: module, and function if it is not `rows`.
    weight: its share of the time that is left, relative to the weights of all
      stages to come.
    what: a sentence for the report.
  """

  where: str
  weight: float
  what: str


STAGES = {
  "limits": Stage("limits", 0.05, "Speed of memory and of products"),
  "correctness": Stage(
    "correctness", 0.13, "The device against the CPU, within tolerances"
  ),
  "resume": Stage("resume", 0.15, "A smoke run killed and resumed"),
  "lenet": Stage("steps:lenet", 0.15, "LeNet's step by axis and width"),
  "trials": Stage("trials", 0.6, "The paper's protocol as far as time allows"),
  "deep": Stage("steps:deep", 0.15, "Deeper networks by axis and width"),
  "torch": Stage("torch_steps", 0.07, "The same steps in torch"),
  "pruning": Stage("prune", 0.05, "Pruning of 1e8 and 1e9 weights"),
  "programs": Stage(
    "programs", 0.18, "LeNet's program: compiling it, and XLA's options for it"
  ),
}
_ORDER = [
  *("limits", "correctness", "resume", "programs", "lenet", "torch"),
  *("pruning", "deep", "trials"),
]


def main() -> int:
  """Runs the stages; returns the exit code."""
  options = _options()
  end = time.time() + 60 * options.minutes
  out = pathlib.Path(options.out).absolute()
  out.mkdir(parents=True, exist_ok=True)
  about = {
    "command": " ".join(sys.argv[1:]),
    "began": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()) + " UTC",
    "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
  }
  found = report.Report(out, about)
  for index, name in enumerate(options.stages):
    to_come = sum(STAGES[other].weight for other in options.stages[index:])
    left = end - _RESERVE - time.time()
    seconds = left * STAGES[name].weight / to_come
    _run(name, seconds, options, out, found)
  print((out / "accelerator.md").read_text())
  return 0 if found.fine() else 1


def _options() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="benchmarks.accelerator", description=__doc__.splitlines()[0]
  )
  parser.add_argument("--minutes", type=float, default=12.0)
  parser.add_argument(
    "--stages",
    type=lambda text: text.split(","),
    default=_ORDER,
    help=f"with commas between, in this order: {','.join(_ORDER)}",
  )
  parser.add_argument("--data_dir", help="folder of MNIST's original files")
  parser.add_argument(
    "--out", default="runs/accelerator", help="folder to bring home"
  )
  parser.add_argument(
    "--work",
    default="runs/accelerator_work",
    help="folder of runs and cached programs; the next call resumes them",
  )
  parser.add_argument(
    "--smoke", action="store_true", help="the smallest sizes, to try it out"
  )
  options = parser.parse_args()
  if unknown := [name for name in options.stages if name not in STAGES]:
    parser.error(f"--stages={unknown[0]}: use some of {','.join(_ORDER)}")
  if "trials" in options.stages and not options.smoke:
    _check_images(parser, options.data_dir)
  return options


def _check_images(parser, data_dir) -> None:
  """Refuses a folder without MNIST before the first stage starts."""
  from lth_jax.data import idx  # only this check needs the import, of a second

  where = data_dir or "(not given)"
  folders = (where, os.path.join(where, "mnist"))
  if not any(idx.holds("mnist", folder) for folder in folders):
    parser.error(
      f"--data_dir={where}: MNIST's original files are not there; name their "
      "folder, or leave out 'trials' of --stages."
    )


def _run(name, seconds, options, out, found) -> None:
  """Runs a stage in a process and ends it if its time is up."""
  print(f"{name}: {seconds:.0f} s at most", file=sys.stderr, flush=True)
  found.begin(name, STAGES[name].what)
  begin = time.time()
  if seconds < 5:
    found.end(name, "cut off", 0.0, "no time was left")
    return
  process = _start(name, begin + seconds, options, out)
  reader = threading.Thread(target=_read, args=(process, name, found))
  reader.start()
  late = False
  try:
    process.wait(seconds + (0 if name == "trials" else 5))
  except subprocess.TimeoutExpired:
    late = True
  finally:
    _kill(process)
  reader.join(5)
  for pipe in filter(None, (process.stdin, process.stdout)):
    pipe.close()
  passed = time.time() - begin
  if late:
    found.end(name, "cut off", passed, f"did not end in {seconds:.0f} s")
  elif process.returncode:
    log = (out / "accelerator.log").read_text(errors="replace")
    found.end(name, "failed", passed, log[-3000:])
  else:
    found.end(name, "done", passed)


def _start(name, deadline, options, out) -> subprocess.Popen:
  work = pathlib.Path(options.work).absolute()
  work.mkdir(parents=True, exist_ok=True)
  data_dir = options.data_dir and os.path.abspath(options.data_dir)
  asked = child.Asked(deadline, options.smoke, data_dir, str(work), str(out))
  cache = {
    "JAX_COMPILATION_CACHE_DIR": str(work / "cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
  }
  command = [sys.executable, "-m", "benchmarks.accelerator.child"]
  command += [STAGES[name].where, json.dumps(asked._asdict())]
  with open(out / "accelerator.log", "a", encoding="utf-8") as log:
    log.write(f"\n== {name}\n")
    log.flush()
    return subprocess.Popen(
      command,
      cwd=_ROOT,
      env={**os.environ, **cache},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=log,
      text=True,
      process_group=0,
    )


def _read(process, name, found) -> None:
  for line in process.stdout:
    with contextlib.suppress(ValueError):
      found.add(name, json.loads(line))
    print(f"{name}: {line}", end="", file=sys.stderr, flush=True)


def _kill(process) -> None:
  """Ends a stage and all processes that it started."""
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, 9)
  process.wait()


if __name__ == "__main__":
  sys.exit(main())
