"""VXP: score explanations of vision models by one protocol."""
