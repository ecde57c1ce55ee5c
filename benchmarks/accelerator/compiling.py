"""Time to the first step of LeNet at the automatic width, cold and warm."""

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


def rows(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields a row without cached programs, and one with them."""
  cache = pathlib.Path(asked.work) / "compiling"
  shutil.rmtree(cache, ignore_errors=True)
  for what in ("nothing cached", "programs cached"):
    begin = time.monotonic()
    found = subprocess.run(
      [
        sys.executable,
        *("-m", "benchmarks.accelerator.child", "steps:automatic"),
        json.dumps(asked._asdict()),
      ],
      env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)},
      stdout=subprocess.PIPE,
      text=True,
      check=True,
      timeout=max(asked.left(), 1),
    )
    row = json.loads(found.stdout.splitlines()[-1])
    yield {
      "what": what,
      "trace_s": row["lower_s"],
      "compile_s": row["compile_s"],
      "process_s": time.monotonic() - begin,
    }
