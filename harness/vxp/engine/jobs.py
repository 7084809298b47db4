"""What is scored together, and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from vxp.core import Batch, Call, Case, Edit
from vxp.metrics import Bound

ExplainCall = Callable[[nn.Module, Batch], Tensor]
SegmentCall = Callable[[Batch, int], Tensor]

Replay = Callable[[Edit, Call, Tensor], Tensor]
"""The stored answer to a call that would explain again, for these classes [B], or segment: maps [B, h, w] on their native
grid, labels [B, H, W]."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is scored together: the maps of one explainer for a batch, its metrics, and how to explain again: by running
    the explainer, or by reading maps that were made before."""

    case: Case
    metrics: tuple[Bound, ...]
    explain: ExplainCall | None = None
    replay: Replay | None = None


@dataclass
class Tally:
    """Rows that metrics asked for, rows that were run, and maps that were made again; and frames that went through a
    late-fusion model."""

    asked: int = 0
    run: int = 0
    explained: int = 0
    frames: int = 0


__all__ = ["ExplainCall", "Job", "Replay", "SegmentCall", "Tally"]
