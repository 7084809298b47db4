"""Pointing in time (Li et al. 2021): whether the most relevant frame has truth."""

import numpy as np

from oracles import frames


def t_pointing(attribution: np.ndarray, truth: np.ndarray) -> float:
    inside = frames.with_truth(truth)
    return float(frames.ordered(frames.different(frames.relevance(attribution)))[0] in inside)
