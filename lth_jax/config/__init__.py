"""What a run is: its config, its flags and the plan of its trials.

`sections` holds the dataclasses, each with the ranges of its fields (`checks`);
`configs` joins them to a run with an identity; `flags` reads command lines;
`plan` lists the trials.
"""
