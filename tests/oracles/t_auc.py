"""Area under the ROC curve of frames, as the Mann-Whitney statistic."""

import numpy as np

from oracles import frames


def t_auc(attribution: np.ndarray, truth: np.ndarray) -> float:
    """Share of the pairs of a frame with truth and one without in which the first is more relevant; a tie is half a pair."""
    inside = frames.with_truth(truth)
    q = frames.different(frames.relevance(attribution))
    pairs = [(q[t], q[s]) for t in inside for s in range(len(q)) if s not in inside]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)
