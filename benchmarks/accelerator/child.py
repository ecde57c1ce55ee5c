"""One stage in a process of its own: `child.py STAGE JSON`, a row a line.

A stage that crashes or hangs ends no other, and each has the whole memory of
the device.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any, NamedTuple


class Asked(NamedTuple):
  """The options of a stage.

  Attributes:
    deadline: by `time.time`; nothing begins that would last longer.
    smoke: whether to take the smallest sizes, to test the script.
    data_dir: folder of the original images; None for none.
    work: folder for runs and caches, kept between calls.
    out: folder for the results.
  """

  deadline: float
  smoke: bool
  data_dir: str | None
  work: str
  out: str

  def left(self) -> float:
    """Returns the seconds until the deadline."""
    return self.deadline - time.time()


def main() -> None:
  """Runs a stage; ends when the process that started it does."""
  threading.Thread(target=_end_with_parent, daemon=True).start()
  module, _, name = sys.argv[1].partition(":")
  stage = importlib.import_module(f"benchmarks.accelerator.{module}")
  asked = Asked(**json.loads(sys.argv[2]))
  for row in getattr(stage, name or "rows")(asked):
    show(row)


def show(row: dict[str, Any]) -> None:
  """Sends a row to the process that writes the report."""
  print(json.dumps(row), flush=True)


def _end_with_parent() -> None:
  sys.stdin.read()  # ends when the other end of the pipe is gone
  os.killpg(0, signal.SIGKILL)  # with all that this process started


if __name__ == "__main__":
  main()
