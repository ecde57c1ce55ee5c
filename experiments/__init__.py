"""Runnable experiments, one module each; see each docstring."""

import signal
import sys

# `python -m experiments.NAME` begins here. While it imports JAX, for seconds,
# Ctrl-C ends it as it ends other programs, without a traceback.
if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.SIG_DFL)
