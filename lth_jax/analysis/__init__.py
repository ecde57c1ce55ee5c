"""What tickets look like: pure functions on pytrees of weights and masks.

They compute with NumPy, on the host: what survives has a size that depends on
the masks, counts are exact, and distances are float64 whatever the weights are.
Trees come as elsewhere, on any device; nothing here touches a disk or a plot.
"""
