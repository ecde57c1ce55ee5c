"""The paper's own protocol, by the usual command, until the time is up.

The run is stopped by a signal, so that a later call can resume it. Its records,
without arrays, and its summary file are kept.
"""

import collections
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator

import jax
from etils import epath

from benchmarks import problem, tables
from benchmarks.accelerator import child
from lth_jax import errors
from lth_jax.config import configs, flags
from lth_jax.report import provenance, records, summary_file
from lth_jax.runner import command

_SECONDS_BETWEEN_ROWS = 15.0


def rows(asked: child.Asked) -> Iterator[tables.Row]:
  """Yields the progress of each run, again and again."""
  jax.config.update("jax_platforms", "cpu")  # the run has the device
  for name in ("mnist_lenet", "conv2"):
    if missing := missing_images(name, asked):
      yield {"what": name, "state": f"not run: {missing}"}
    elif asked.left() < 2 * _seconds_to_stop(asked):
      yield {"what": name, "state": "not run: no time left"}
    else:
      yield from _train(name, asked)


def missing_images(name: str, asked: child.Asked) -> str:
  """Returns what is wrong with the images of a row of the catalog, or ""."""
  try:
    command.check_data([_config(name, asked)])
  except errors.InputError as error:
    return str(error)
  return ""


def _config(name, asked) -> configs.Config:
  data_dir = [f"--data_dir={asked.data_dir}"] if asked.data_dir else []
  path = f"experiments/flags/{name}/{_scale(asked)}.flags"
  return flags.parse([f"--flagfile={path}", *data_dir])


def _scale(asked):
  return "smoke" if asked.smoke else "paper"


def _seconds_to_stop(asked):
  return 2 if asked.smoke else 30


def _train(name, asked):
  config, folder = _config(name, asked), epath.Path(asked.work) / "paper"
  workdir, out = folder / name, pathlib.Path(asked.out)
  began = time.time()
  with _start(name, asked, folder) as process:
    try:
      while process.poll() is None and asked.left() > _seconds_to_stop(asked):
        yield progress(name, config, workdir, began, "running")
        pack(workdir, out / f"{name}_records.tar.gz")
        _wait(process, min(_SECONDS_BETWEEN_ROWS, asked.left()))
      state = _stop(process, asked)
    finally:
      process.kill()
  row = progress(name, config, workdir, began, state)
  row["packed"] = pack(workdir, out / f"{name}_records.tar.gz")
  yield row
  write_summary(workdir, out / f"{name}.json")
  if "failed" in state:
    raise RuntimeError(f"{name}: {state}")


def _start(name, asked, folder):
  arguments = [f"--row={name}", f"--scale={_scale(asked)}", "--progress=log"]
  if asked.smoke and name == "mnist_lenet":
    arguments += ["--trials_per_device=4"]  # as on an accelerator
  if asked.data_dir:
    arguments += [f"--data_dir={asked.data_dir}"]
  return subprocess.Popen(
    [
      *(sys.executable, "-m", "experiments.paper"),
      *(f"--workdir={folder}", *arguments),
    ],
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
    case command.EXIT_STOPPED:
      return "stopped and saved"
    case None:
      return "failed: did not stop in time"
    case code:
      return f"failed: exit code {code}"


def progress(
  name: str,
  config: configs.Config,
  workdir: epath.Path,
  began: float,
  state: str,
) -> tables.Row:
  """Returns a row on a run; the rounds since `began` give the run's time.

  Args:
    name: of the run.
    config: of the run.
    workdir: of the run.
    began: by `time.time`, when this call started it.
    state: of the run.
  """
  ends = collections.defaultdict(list)
  for path in map(pathlib.Path, records.committed(workdir)):
    index = int(path.parent.parent.name.removeprefix("round_"))
    ends[index].append(path.stat().st_mtime)
  wanted = problem.num_trials(config)
  here = sorted(
    max(found)
    for index, found in ends.items()
    if len(found) == wanted[index] and min(found) > began
  )
  each = (here[-1] - began) / len(here) if here else None
  return {
    "what": name,
    "state": state,
    "seconds": round(time.time() - began, 1),
    "trainings": sum(map(len, ends.values())),
    "of": sum(wanted),
    "rounds_ended": len(here),
    "round_s": each,
    "last_round_s": here[-1] - here[-2] if len(here) > 1 else None,
    "protocol_minutes": each and each * len(wanted) / 60,
  }


def pack(workdir: epath.Path, target: pathlib.Path) -> int:
  """Packs JSON and flags of finished trials; returns the number of files."""
  files = [*workdir.glob("*.json"), *workdir.glob("run.flags")]
  files += workdir.glob("replicate_*/structure.json")
  for commit in records.committed(workdir):
    files += commit.parent.glob("*.json")
  part = target.with_name(target.name + ".part")
  with tarfile.open(part, "w:gz", compresslevel=6) as archive:
    for file in files:
      archive.add(file, arcname=str(file.relative_to(workdir.parent)))
  os.replace(part, target)
  return len(files)


def write_summary(workdir: epath.Path, target: pathlib.Path) -> None:
  """Writes the summary of a run that has a finished trial."""
  if records.committed(workdir):
    summary = summary_file.pack(records.read(workdir), provenance.read(workdir))
    target.write_text(summary, encoding="utf-8")
