"""The report of a run, renewed while it trains."""

import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from etils import epath

from lth_jax import errors, report

# A report takes seconds, of which training has a part only: the first pause,
# in seconds, and the least ratio of pauses to the time of a report.
_PAUSE, _RATIO = 60.0, 20.0


@contextlib.contextmanager
def renewing(
  folder: epath.Path, log: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
  """Yields a function that renews the report, in a thread of its own.

  It does nothing while a report is written or shortly after one. A report that
  cannot be written is logged; the run goes on, and writes one at its end.
  """
  lock, begins = threading.Lock(), time.monotonic() + _PAUSE

  def write() -> None:
    nonlocal begins
    began = time.monotonic()
    try:
      report.write(folder)
    except Exception as error:  # training matters more
      log(f"note: the report is not renewed yet ({errors.first_line(error)}).")
    now = time.monotonic()
    begins = now + max(_PAUSE, _RATIO * (now - began))

  def renew() -> None:
    nonlocal begins
    with lock:
      if time.monotonic() >= begins:
        begins = float("inf")
        thread.submit(write)

  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    yield renew
