"""A score per column of an image: where across, and not how far down. A score holds for all positions of its column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from vxp.kinds._types import Map, Resample
from vxp.kinds.heatmap2d import HEATMAP2D
from vxp.media import IMAGE


class Columns(Map):
    """Scores [B, w] of columns, which go to the width of the input as a map does."""

    @property
    def whole(self) -> bool:
        return False

    def resampled(
        self, native: Tensor, space: Sequence[int], rule: Resample, parts: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        return HEATMAP2D.resampled(native[:, None], (1, space[1]), self.rule(rule)).expand(-1, *space)


COLUMNS = Columns("columns", (IMAGE,))
