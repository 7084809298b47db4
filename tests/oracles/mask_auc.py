"""Area under the ROC curve of a map against a truth, as the Mann-Whitney statistic."""

import numpy as np

from oracles import maps


def mask_auc(image: np.ndarray, attribution: np.ndarray, truth: np.ndarray) -> float:
    """Share of the pairs (truth, ground) in which the truth has the higher value; a tie is half a pair."""
    values = maps.bilinear(attribution, image.shape[1:])
    ground = values[~truth]
    won = 0.0
    for value in values[truth]:
        won += float((ground < value).sum()) + 0.5 * float((ground == value).sum())
    return won / (int(truth.sum()) * len(ground))
