"""One training as pure, compiled functions of (start, data, keys).

`loop` has the state of a training and its compiled segments; `evaluation` and
`schedules` are used by each step; `sharding` splits a batch over devices.
"""
