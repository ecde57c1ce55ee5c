"""Runnable experiments, one module each; see each docstring."""
