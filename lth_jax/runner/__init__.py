"""From a config to a finished run on disk, the one door to all effects.

`experiment.run` is the run, `command` what a command adds to it: signals, exit
codes and messages.
"""
