"""Scores of the parts of a video: when, and not where (clause [temporal]). Videos have different numbers of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vxp.errors import VxpError
from vxp.kinds._types import Items, Map, Resample, drawn
from vxp.media import CLIP, SEQUENCE


@dataclass(frozen=True, eq=False)
class Temporal(Map):
    """Scores [B, K] of K parts. The rule is the unit of the parts: `fragment` (of the item's list of shots), `second`, or
    `frame`, a part for every step that the model looks at."""

    @property
    def whole(self) -> bool:
        return False

    @property
    def ragged(self) -> bool:
        return True

    def stand_in(self, batch: Items) -> Tensor:
        return drawn(len(batch.inputs), batch.count_of("fragment"))

    def rule(self, declared: Resample) -> Resample:
        """As of every kind; `none`, which explainers of several kinds declare of their maps, means by fragment."""
        return "fragment" if declared == "none" else super().rule(declared)

    def resampled(
        self, native: Tensor, space: Sequence[int], rule: Resample, parts: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Every step has the score of its part, and every position of a frame that of the frame; [B, *space]."""
        rule, n = self.rule(rule), space[0]
        if rule == "frame":
            of = torch.arange(n, device=native.device).expand(len(native), n)
        elif parts is None or rule not in parts:
            raise VxpError(f"got scores by {rule}, and the items are not divided into {rule}s: give the list of them "
                           "(fragments=), or scores by frame")
        else:
            of = parts[rule].to(native.device)
        expected = int(of.max()) + 1
        # a second in which the model looks at no frame has a score that no step shows
        if native.ndim != 2 or native.shape[1] < expected or (native.shape[1] > expected and rule != "second"):
            raise VxpError(f"got scores {tuple(native.shape)} by {rule}, expected [{len(of)}, {expected}]: one per {rule} of "
                           "the video")
        found = native.gather(1, of)
        return found[(..., *[None] * (len(space) - 1))].expand(len(native), *space)


TEMPORAL = Temporal("temporal", (SEQUENCE, CLIP))

__all__ = ["TEMPORAL", "Temporal"]
