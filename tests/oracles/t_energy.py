"""Energy-based pointing game of whole frames (Wang et al. 2020)."""

import numpy as np

from oracles import frames


def t_energy(attribution: np.ndarray, truth: np.ndarray) -> float:
    """Positive relevance in the frames with truth over all of it."""
    inside = frames.with_truth(truth)
    q = frames.relevance(attribution)
    return sum(mass for t, mass in enumerate(q) if t in inside) / sum(q)
