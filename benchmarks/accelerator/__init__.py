"""Measurements of a borrowed accelerator, stage by stage."""
