"""The paper's own protocol, by the usual command, until the time is up.

The run is stopped by a signal, so that a later call can resume it. Its records,
without arrays, and its summary file are kept.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath

from benchmarks.accelerator import child, programs
from lth_jax.config import configs, flags, plan
from lth_jax.data import cifar, idx
from lth_jax.report import records, structure, summary_file

_SECONDS_TO_STOP = 30.0
_SECONDS_BETWEEN_ROWS = 15.0
_ROOT = pathlib.Path(__file__).parents[2]


def rows(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields the progress of each run, again and again."""
  jax.config.update("jax_platforms", "cpu")  # the run has the device
  for name in ("mnist_lenet", "conv2"):
    if missing := missing_images(name, asked):
      yield {"what": name, "state": f"not run: {missing}"}
    elif asked.left() < (5 if asked.smoke else 2 * _SECONDS_TO_STOP):
      yield {"what": name, "state": "not run: no time left"}
    else:
      yield from _train(name, asked)


def missing_images(name: str, asked: child.Asked) -> str:
  """Names the images of a row of the catalog that `--data_dir` lacks."""
  dataset = _config(name, asked.smoke).data.dataset
  if dataset == "mnist_10k":
    return ""
  where = asked.data_dir or "no --data_dir"
  folders = [asked.data_dir, os.path.join(asked.data_dir or "", dataset)]
  holds = idx.holds if dataset == "mnist" else cifar.holds
  if asked.data_dir and any(holds(dataset, folder) for folder in folders):
    return ""
  return f"no original files of {dataset} ({where})"


def _config(name, smoke) -> configs.Config:
  scale = "smoke" if smoke else "paper"
  path = _ROOT / "experiments" / "flags" / name / f"{scale}.flags"
  return flags.parse([f"--flagfile={path}"])


def _train(name, asked):
  config, work = _config(name, asked.smoke), pathlib.Path(asked.work)
  workdir, out = work / "paper" / name, pathlib.Path(asked.out)
  began = time.time()
  process = _start(name, asked, work / "paper")
  try:
    while process.poll() is None and asked.left() > _to_stop(asked):
      yield _row(name, config, workdir, began, "running")
      pack(workdir, out / f"{name}_records.tar.gz")
      _wait(process, min(_SECONDS_BETWEEN_ROWS, asked.left()))
    state = _stop(process, asked)
  finally:
    if process.poll() is None:
      process.kill()
  row = _row(name, config, workdir, began, state)
  row["packed"] = pack(workdir, out / f"{name}_records.tar.gz")
  yield row
  write_digest(workdir, out / f"{name}.json")
  if "failed" in state:
    raise RuntimeError(f"{name}: {state}")


def _to_stop(asked):
  return 2 if asked.smoke else _SECONDS_TO_STOP


def _start(name, asked, folder):
  scale = "smoke" if asked.smoke else "paper"
  command = [sys.executable, "-m", "experiments.paper", f"--row={name}"]
  command += [f"--scale={scale}", f"--workdir={folder}", "--progress=log"]
  if asked.smoke and name == "mnist_lenet":
    command += ["--trials_per_device=4"]  # as on an accelerator
  if asked.data_dir:
    command += [f"--data_dir={asked.data_dir}"]
  return subprocess.Popen(
    command,
    cwd=_ROOT,
    env={**os.environ, **programs.xla_flags(asked.work)},
    stdin=subprocess.DEVNULL,
    stdout=sys.stderr,
  )


def _wait(process, seconds):
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(max(seconds, 0.1))


def _stop(process, asked) -> str:
  """Lets a run save and end; returns its final state."""
  if process.poll() is None:
    process.send_signal(signal.SIGTERM)
    _wait(process, max(asked.left() - 5, 1))
  match process.poll():
    case 0:
      return "complete"
    case 75:
      return "stopped and saved"
    case None:
      return "failed: did not stop in time"
    case code:
      return f"failed: exit code {code}"


def _row(name, config, workdir, began, state):
  """The progress of a run; whole rounds of this call give the run's time."""
  seconds = time.time() - began
  found = _ends(workdir)
  rounds = config.study.rounds + 1
  wanted = _num_trials(config)
  ended: dict[int, list[float]] = {}
  for index, end in found:
    ended.setdefault(index, []).append(end)
  here = sorted(
    max(ends)
    for index, ends in ended.items()
    if len(ends) == wanted[index] and min(ends) > began
  )
  each = (here[-1] - began) / len(here) if here else None
  return {
    "what": name,
    "state": state,
    "seconds": round(seconds, 1),
    "trainings": len(found),
    "of": sum(wanted.values()),
    "rounds_ended": len(here),
    "round_s": each,
    "last_round_s": here[-1] - here[-2] if len(here) > 1 else None,
    "protocol_minutes": each and each * rounds / 60,
  }


def _num_trials(config) -> dict[int, int]:
  """Counts the trials of each round."""
  return {
    index: sum(
      len(plan.of_round(config, replicate, index))
      for replicate in plan.replicates(config)
    )
    for index in range(config.study.rounds + 1)
  }


def _ends(workdir) -> list[tuple[int, float]]:
  """(round, time of storing) of every trial."""
  return [
    (int(path.parent.parent.name.removeprefix("round_")), path.stat().st_mtime)
    for path in workdir.glob("replicate_*/round_*/*/commit.json")
    if ".step_" not in path.parent.name
  ]


def pack(workdir: pathlib.Path, target: pathlib.Path) -> int:
  """Packs JSON and flags of complete trials; returns the number of files."""
  folders = [
    path.parent
    for path in sorted(workdir.glob("replicate_*/**/commit.json"))
    if ".step_" not in path.parent.name
  ]
  files = [*sorted(workdir.glob("*.json")), *workdir.glob("run.flags")]
  names = ("record.json", "timing.json", "commit.json", "structure.json")
  for folder in folders:
    files += [folder / name for name in names if (folder / name).exists()]
  part = target.with_name(target.name + ".part")
  with tarfile.open(part, "w:gz", compresslevel=6) as archive:
    for file in files:
      archive.add(file, arcname=str(file.relative_to(workdir.parent)))
  os.replace(part, target)
  return len(files)


def write_digest(workdir: pathlib.Path, target: pathlib.Path) -> None:
  """Writes the summary file of a run, as the repository keeps it."""
  if not any(_ends(workdir)):
    return
  folder = epath.Path(workdir)
  tickets = structure.read(folder)
  run = dataclasses.replace(records.read(folder), tickets=tickets)
  environment = json.loads((workdir / "env.json").read_text())
  about = {"environment": environment["environments"][-1]}
  target.write_text(summary_file.pack(run, about), encoding="utf-8")
