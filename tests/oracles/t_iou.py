"""Intersection over union of frames (Jaccard 1912)."""

import numpy as np

from oracles import frames


def t_iou(attribution: np.ndarray, truth: np.ndarray) -> float:
    """The frames with truth against as many of the most relevant ones."""
    inside = frames.with_truth(truth)
    chosen = set(frames.ordered(frames.different(frames.relevance(attribution)))[: len(inside)])
    return len(chosen & inside) / len(chosen | inside)
