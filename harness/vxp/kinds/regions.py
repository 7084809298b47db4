"""Scores of regions of an image or clip, such as superpixels, objects and boxes, each of any form (clause [regions])."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vxp.documents import regions
from vxp.errors import VxpError
from vxp.kinds._types import Items, KindId, Map, Resample, drawn
from vxp.media import CLIP, IMAGE


@dataclass(frozen=True, eq=False)
class Regions(Map):
    """Two planes [B, 2, *space]: at every position the number of its region, -1 where there is none; and the score of that
    region, 0 where there is none. It is a map too: that of its second plane, on the input grid."""

    map: KindId

    @property
    def whole(self) -> bool:
        return False

    @property
    def also(self) -> KindId:
        return self.map

    @property
    def expected(self) -> str:
        return "the number of the region at every position, -1 for none, and its score (vxp.kinds.painted makes them)"

    def rule(self, declared: Resample) -> Resample:
        return "none"

    def checked(self, found: Tensor, batch: Items, by: str) -> Tensor:
        planes = super().checked(found, batch, by)
        if tuple(planes.shape[1:]) != (2, *batch.space):
            raise VxpError(f"{by} returned {tuple(planes.shape)}, expected {(len(planes), 2, *batch.space)}: {self.expected}")
        for i, item in enumerate(planes):
            if bool(torch.isfinite(item).all()):
                for fault in regions.faults(item.cpu().numpy()):
                    raise VxpError(f"{by}: item {i}: {fault}")
        return planes

    def stand_in(self, batch: Items) -> Tensor:
        labels = torch.zeros(len(batch.inputs), *batch.space, dtype=torch.int64)
        labels[..., batch.space[-1] // 2 :] = 1
        return painted(labels, drawn(len(labels), 2))

    def resampled(
        self, native: Tensor, space: Sequence[int], rule: Resample, parts: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The score of the region at every position, [B, *space]."""
        if tuple(native.shape[1:]) != (2, *space):
            raise VxpError(f"got regions {tuple(native.shape)}, expected [{len(native)}, 2, *{tuple(space)}]: {self.expected}")
        return native[:, 1]

    def order(self, map: Tensor, native: Tensor) -> Tensor:
        """The same with one tie rule more: of regions of one score the one of the lower number goes first, so that regions go
        whole, one after another."""
        number = native[:, 0].flatten(1).argsort(dim=1, stable=True)
        return number.gather(1, map.flatten(1).gather(1, number).argsort(dim=1, descending=True, stable=True))


def painted(labels: Tensor, scores: Tensor) -> Tensor:
    """The two planes float32 [B, 2, *space] of regions: labels int64 [B, *space], the number of the region at every position,
    -1 where there is none, and scores [B, K] of regions 0 to K - 1."""
    found = scores.float().gather(1, labels.clamp_min(0).flatten(1)).view(labels.shape)
    return torch.stack([labels.float(), found.masked_fill(labels < 0, 0.0)], 1)


REGIONS = Regions("regions", (IMAGE,), "heatmap2d")
REGIONS3D = Regions("regions3d", (CLIP,), "heatmap3d")

__all__ = ["REGIONS", "REGIONS3D", "Regions", "painted"]
