"""The machine-readable half of the standard."""
