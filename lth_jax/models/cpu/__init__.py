"""Convolutions and pooling that are fast on CPU; exact on every device."""
