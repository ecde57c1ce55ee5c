"""One stage in a process of its own: `child.py STAGE JSON`, a row a line.

So a stage that crashes or hangs takes no other with it, and each has the whole
memory of the device.
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
  """What a stage is told.

  Attributes:
    deadline: by `time.time`; begin nothing that would last beyond.
    smoke: whether to take the smallest sizes, to test the script.
    data_dir: of the original images; None for none.
    work: folder for runs and caches, kept between calls.
    out: folder for what is to be brought home.
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
  """Hands a row to the process that writes the report."""
  print(json.dumps(row), flush=True)


def _end_with_parent() -> None:
  sys.stdin.read()  # ends when the other end of the pipe is gone
  os.killpg(0, signal.SIGKILL)  # with all that this process started


if __name__ == "__main__":
  main()
