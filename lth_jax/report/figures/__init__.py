"""Figures of a run: which panels, what is drawn in each, on which canvas."""
