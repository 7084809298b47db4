"""Intersection over union of the truth and the most relevant positions (Jaccard 1912)."""

import numpy as np

from oracles import maps


def iou_at_area(image: np.ndarray, attribution: np.ndarray, truth: np.ndarray, *, area: str) -> float:
    """K positions: as many as the truth has, or a percentage of the image."""
    P = image[0].size
    values = maps.bilinear(attribution, image.shape[1:])
    K = int(truth.sum()) if area == "truth" else max(1, int(area) * P // 100)
    chosen = set(maps.order(values)[:K])
    inside = {int(place) for place in np.flatnonzero(truth)}
    return len(chosen & inside) / len(chosen | inside)


VARIANTS = [{}, {"area": "5"}, {"area": "50"}]
