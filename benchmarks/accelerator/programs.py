"""LeNet at the automatic width: cold and warm compiling, and XLA's options.

Options that are at least 5% faster and give the same loss are used for the runs
of the paper's protocol (`trials`); a run records them in its `env.json`.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.accelerator import child

# With loops as parts of CUDA graphs no step waits for the host.
_OPTIONS = (
  "--xla_gpu_enable_command_buffer=+WHILE",
  "--xla_gpu_enable_triton_gemm=false",
  "--xla_gpu_enable_command_buffer=+WHILE --xla_gpu_enable_triton_gemm=false",
)
_FASTER = 0.95
_SAME_LOSS = 1e-4


def rows(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields a row for each set of options; the first two sets are empty."""
  work = pathlib.Path(asked.work)
  chosen = work / "xla_flags"
  before = chosen.read_text() if chosen.exists() else None
  if before is None:  # else a run has begun with these options
    shutil.rmtree(work / "cache", ignore_errors=True)
    yield _row("nothing cached", "", asked)
  best = plain = _row("programs cached", "", asked)
  yield plain
  for options in () if plain["backend"] == "cpu" else _OPTIONS:
    if asked.left() < 30:
      yield {"what": f"{options}: no time left"}
      continue
    try:
      row = _row(options, options, asked)
    except subprocess.SubprocessError as error:
      yield {"what": options, "error": f"{type(error).__name__}: {error}"[:200]}
      continue
    row["same_loss"] = abs(row["loss"] / plain["loss"] - 1) <= _SAME_LOSS
    yield row
    if row["same_loss"] and row["minutes"] < _FASTER * best["minutes"]:
      best = row
  if before is None:
    chosen.write_text(best["options"])
  yield {"what": "chosen for trials", "options": chosen.read_text()}


def xla_flags(work: str) -> dict[str, str]:
  """Returns the environment with the options that `rows` has chosen."""
  chosen = pathlib.Path(work) / "xla_flags"
  options = chosen.read_text() if chosen.exists() else ""
  known = os.environ.get("XLA_FLAGS", "")
  return {"XLA_FLAGS": f"{known} {options}".strip()}


def _row(what, options, asked):
  begin = time.monotonic()
  known = os.environ.get("XLA_FLAGS", "")
  found = subprocess.run(
    [
      sys.executable,
      *("-m", "benchmarks.accelerator.child", "steps:automatic"),
      json.dumps(asked._asdict()),
    ],
    env={**os.environ, "XLA_FLAGS": f"{known} {options}".strip()},
    stdout=subprocess.PIPE,
    text=True,
    check=True,
    timeout=max(asked.left(), 1),
  )
  row = json.loads(found.stdout.splitlines()[-1])
  if "step_ms" not in row:
    raise subprocess.SubprocessError(row["what"])
  return {
    "what": what,
    "trace_s": row["lower_s"],
    "compile_s": row["compile_s"],
    "process_s": time.monotonic() - begin,
    "step_ms": row["step_ms"],
    "evaluation_ms": row["evaluation_ms"],
    "minutes": row["protocol_minutes"],
    "loss": row["loss"],
    "backend": row["backend"],
    "options": options,
  }
