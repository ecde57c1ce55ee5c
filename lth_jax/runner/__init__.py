"""From a config to a finished run on disk: the one door to all effects.

`experiment.run` is the whole run; `replicates` finds what is missing and runs
the algorithm; `trials` trains and saves; `command` adds signals, exit codes and
messages.
"""
