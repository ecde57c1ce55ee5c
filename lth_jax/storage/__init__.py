"""Files and checkpoints that are complete or absent, locally or on gs://.

Knows no science, and imports only `errors`.
"""
