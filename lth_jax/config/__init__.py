"""What a run is: its config, the checks of it, its flags and its trials.

`configs` holds the dataclasses and the identity of a run, `checks` refuses
what cannot be run, `flags` reads command lines, `plan` lists the trainings.
"""
