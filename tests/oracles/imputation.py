"""Linear imputation of ROAD (Rong et al. 2022) at full size: the sparse system of all removed pixels, solved directly.

`fills.linear_imputation` says the same with plain loops, for small images; the two are compared in the tests.
"""

import numpy as np
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import spsolve

WEIGHTS = {(dy, dx): 1 / 12 if dy and dx else 1 / 6 for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx}


def direct(raw: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """raw float64 [C, H, W], removed bool [H, W], something known: each removed pixel the weighted mean of its neighbours.

    The mean is over the neighbours inside the image. The published code reaches the same system by taking the weight
    of every neighbour outside off the diagonal.
    """
    H, W = removed.shape
    y, x = np.nonzero(removed)
    number = np.full((H, W), -1)
    number[y, x] = np.arange(len(y))
    rows, columns, entries = [], [], []
    right, total = np.zeros((len(y), len(raw))), np.zeros(len(y))
    for (dy, dx), weight in WEIGHTS.items():
        n = np.flatnonzero((y + dy >= 0) & (y + dy < H) & (x + dx >= 0) & (x + dx < W))
        at = (y[n] + dy, x[n] + dx)
        total[n] += weight
        unknown = removed[at]
        right[n[~unknown]] += weight * raw[:, at[0][~unknown], at[1][~unknown]].T
        rows.append(n[unknown])
        columns.append(number[at][unknown])
        entries.append(np.full(unknown.sum(), -weight))
    every = np.arange(len(y))
    place = (np.concatenate([every, *rows]), np.concatenate([every, *columns]))
    matrix = csc_matrix((np.concatenate([total, *entries]), place), shape=(len(y), len(y)))
    out = raw.copy()
    out[:, y, x] = spsolve(matrix, right).reshape(len(y), len(raw)).T
    return out
