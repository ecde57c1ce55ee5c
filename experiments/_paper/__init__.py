"""The paper behind the commands: its catalog of runs, figures, results page."""
