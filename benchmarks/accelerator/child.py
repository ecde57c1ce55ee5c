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
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


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


def command(stage: str, asked: Asked) -> list[str]:
  """Returns the command that runs a stage, `MODULE:FUNCTION`."""
  options = json.dumps(asked._asdict())
  return [sys.executable, "-m", "benchmarks.accelerator.child", stage, options]


def main() -> None:
  """Runs a stage; ends when the process that started it does."""
  threading.Thread(target=_end_with_parent, daemon=True).start()
  module, _, name = sys.argv[1].partition(":")
  stage = getattr(importlib.import_module(module), name)
  for row in stage(Asked(**json.loads(sys.argv[2]))):
    show(row)


def show(row: dict[str, Any]) -> None:
  """Sends a row to the process that writes the report."""
  print(json.dumps(row), flush=True)


def in_time(items: Iterable[T], seconds: float, asked: Asked) -> Iterator[T]:
  """Yields items as long as the seconds for one are left; shows the others."""
  for item in items:
    if asked.left() > seconds:
      yield item
    else:
      show({"what": f"{item}: no time left"})


def _end_with_parent():
  sys.stdin.read()  # ends when the other end of the pipe is gone
  os.killpg(0, signal.SIGKILL)  # with all that this process started


if __name__ == "__main__":
  main()
