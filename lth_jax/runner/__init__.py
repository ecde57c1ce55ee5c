"""From a config to a finished run on disk: the one door to all effects.

`experiment.run` is the whole run; `replicates` finds what is missing and runs
the algorithm; `trials` trains and saves; `command` adds signals, exit codes and
messages. `run` is for Python and notebooks, the other names below for commands
with effects of their own.
"""

from typing import TYPE_CHECKING, Any

from lth_jax.parallel.processes import log as log
from lth_jax.parallel.processes import on_process_0 as on_process_0
from lth_jax.parallel.progress import duration as duration
from lth_jax.storage.buckets import connect as connect

if TYPE_CHECKING:
  from lth_jax.runner.python import run as run

__all__ = ["connect", "duration", "log", "on_process_0", "run"]


def __getattr__(name: str) -> Any:
  if name == "run":  # loads flax and optax, which most commands do without
    from lth_jax.runner import python

    return python.run
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
