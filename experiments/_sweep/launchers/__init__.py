"""Sweeps as text for what starts them: shells, schedulers, clouds."""
