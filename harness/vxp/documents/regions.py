"""What regions with scores must be, checked without torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FIVE = 5


def faults(planes: NDArray[np.float32]) -> Iterator[str]:
    """The faults of one item's regions [2, *space]: numbers 0, 1, 2, ... without a gap, -1 where there is none; and at every
    position of a region one score, 0 where there is none. Values are finite."""
    label, score = planes[0].ravel(), planes[1].ravel().astype(np.float64)
    odd = np.flatnonzero((label != np.floor(label)) | (label < -1))
    if len(odd):
        yield (f"{len(odd)} positions lie in a region of the number {label[odd[0]]:g}, expected whole numbers from 0 on, or -1 "
               "for none")
        return
    of = label.astype(np.int64)
    if of.max(initial=-1) < 0:
        yield "it has no region, expected one at least"
        return
    if of.max() >= len(of):
        yield f"a region has the number {of.max()}, and there are {len(of)} positions: number them 0, 1, 2, ... without a gap"
        return
    sizes = np.bincount(of + 1)[1:]
    unused = np.flatnonzero(sizes == 0)
    if len(unused):
        some = ", ".join(str(k) for k in unused[:FIVE])
        yield f"no position lies in region {some}, and one lies in region {of.max()}: number them 0, 1, 2, ... without a gap"
    outside = (of < 0) & (score != 0)
    if outside.any():
        yield f"{outside.sum()} positions in no region have a score, expected 0 there"
    inside = of >= 0
    one = np.zeros(len(sizes))
    one[of[inside]] = score[inside]
    apart = np.unique(of[inside][one[of[inside]] != score[inside]])
    if len(apart):
        some = ", ".join(str(k) for k in apart[:FIVE])
        yield f"the positions of region {some} have several scores, expected one for the whole region"


__all__ = ["faults"]
