"""Reference explainers."""
