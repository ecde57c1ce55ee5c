"""From a config to a finished run on disk: the one door to all effects.

`experiment.run` is the whole run; `replicates` finds what is missing and runs
the algorithm; `trials` trains and saves; `command` adds signals, exit codes and
messages. The names below are for commands with effects of their own.
"""

from lth_jax.parallel.processes import log as log
from lth_jax.parallel.processes import on_process_0 as on_process_0
from lth_jax.parallel.progress import duration as duration
from lth_jax.storage.buckets import connect as connect

__all__ = ["connect", "duration", "log", "on_process_0"]
