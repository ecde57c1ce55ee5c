"""Statistics of tickets: pure functions on pytrees of weights and masks.

They compute with NumPy, on the host: the number of survivors depends on the
masks, counts are exact, and distances are float64 whatever the weights are.
"""
