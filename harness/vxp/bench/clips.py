"""Curves of clips by a model of images on every frame: frames that are run, and the time over plain passes of all frames."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from vxp.bench.catalogue import FEW_PAIRS
from vxp.bench.measure import Line, NearFree, paired, photo_like, plain
from vxp.core import Batch, Case
from vxp.engine import Engine, Job
from vxp.media import CLIP
from vxp.metrics import Bound, bind
from vxp.models.clips import late_fusion

FRAMES = 16
ROWS = 4
"""Rows of a model batch: 64 frames."""
MAPS = 3
CURVES = ("st-deletion|steps:7", "st-insertion|steps:7", "st-deletion|steps:7|fill:mean", "tube-deletion|steps:7",
          "frame-deletion", "frame-insertion")


def clip_cases(size: tuple[int, int], device: str, maps: int = 1) -> list[Case]:
    """One clip of unrelated photo-like frames, so that all differ, and random maps of it."""
    inputs = photo_like(size, FRAMES, device).inputs.transpose(0, 1)[None].contiguous()
    batch = Batch(("clip",), inputs, torch.zeros(1, dtype=torch.long, device=device))
    generator = torch.Generator().manual_seed(1)
    return [Case(batch, torch.rand(1, FRAMES, 14, 14, generator=generator).to(device), "frames") for _ in range(maps)]


def counted(wanted: tuple[Bound, ...], cases: list[Case]) -> tuple[int, int]:
    """Rows and frames that are run when these maps of a clip are scored one after another."""
    engine = Engine(late_fusion(NearFree().to(cases[0].batch.inputs.device)), ROWS)
    for case in cases:
        engine.score(Job(case, wanted))
    return engine.tally.run, engine.tally.frames


def scored(model: nn.Module, precision: Any, case: Case, bound: Bound) -> None:
    """The curve with nothing kept from before."""
    Engine(model, ROWS, precision).score(Job(case, (bound,)))


def by_late_fusion(model: nn.Module, size: tuple[int, int], precision: Any, device: str) -> list[Line]:
    """The frame passes of all curves over frames, then the time of each curve over plain passes of all frames of its rows."""
    fused = late_fusion(model)
    fills = [fill for fill in CLIP.fills if fill != "noise"]  # of which every frame is another
    wanted = tuple(bind(f"frame-{which}|fill:{fill}") for which in ("deletion", "insertion") for fill in fills)
    rows, frames = counted(wanted, clip_cases(size, device, MAPS))
    what = f"frame passes of both frame curves, {len(fills)} fills, {MAPS} maps"
    lines = [Line(f"Late fusion: a clip of {FRAMES} frames", what, frames, "passes", "<= 40",
                  f"of {rows * FRAMES} in {rows} rows")]
    (case,) = clip_cases(size, device)
    inputs = case.batch.inputs.repeat(ROWS, 1, 1, 1, 1)
    engine = Engine(fused, ROWS, precision)
    for text in CURVES:
        bound = bind(text)
        rows, frames = counted((bound,), [case])

        def passes(rows: int = rows) -> None:
            with engine.arithmetic(inputs.device):
                plain(fused, inputs, rows)

        ratio, _ = paired(partial(scored, fused, precision, case, bound), passes, device, FEW_PAIRS)
        lines.append(Line("Late fusion: time over plain passes of all frames", bound.signature, ratio, "x",
                          "<= 1.05" if device == "cpu" else "<= 1.10", f"{frames} of {rows * FRAMES} frames run"))
    return lines


__all__ = ["by_late_fusion"]
