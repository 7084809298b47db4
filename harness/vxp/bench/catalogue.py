"""Every metric of images: what it asks for at its defaults, how much of it is shared, and the time over the bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vxp import random
from vxp.bench.measure import Line, NearFree, gradient, paired, per_map, photo_like, plain, plain_gradient, scored
from vxp.core import Batch, Case
from vxp.core.perturb import cells
from vxp.engine import Engine, Job
from vxp.explainers import bind as bind_explainer
from vxp.kinds import HEATMAP2D
from vxp.metrics import Bound, of_kind

EVERY = "The whole catalogue"
QUICK: Mapping[str, Any] = {"steps": 28, "samples": 14, "sizes": 2, "stages": 3, "regions": 28}
"""Settings under which a metric is timed on a real model; what a row costs does not depend on their number."""
PARTS = 9
"""Parts of an item, a square number."""
FEW_PAIRS = 5
"""Alternating measurements per metric: there are many metrics."""
AGAIN: Mapping[str, Any] = {"samples": 4, "stages": 2}
"""The same where maps are made again, which costs a backward pass each."""


def truths(batch: Batch) -> dict[str, Tensor]:
    """Made truths of every kind: a rectangle, gaze that is scattered around it, and renderings without each of some parts."""
    B, (H, W) = len(batch), batch.space
    mask = torch.zeros(B, H, W, dtype=torch.bool)
    mask[:, H // 5 : H * 3 // 4, W // 4 : W * 4 // 5] = True
    generator = torch.Generator().manual_seed(5)
    looked = [torch.zeros(B, H * W).scatter_(1, torch.randint(0, H * W, (B, n), generator=generator), 1.0) for n in (60, 600)]
    density = nn.functional.avg_pool2d(looked[0].view(B, 1, H, W), 31, 1, 15)[:, 0] + 1e-4
    box = torch.tensor([W // 4, H // 5, W * 4 // 5, H * 3 // 4]).expand(B, 1, 4)
    found = {"mask": mask, "cells": mask, "boxes": box.clone(), "density": density,
             "fixations": looked[0].view(B, H, W), "other-fixations": looked[1].view(B, H, W),
             "without": torch.randint(0, 256, (B, PARTS, 3, H, W), generator=generator, dtype=torch.uint8)}
    return {key: value.to(batch.inputs.device) for key, value in found.items()}


def blocks(batch: Batch, n: int) -> Tensor:
    """Square regions in place of superpixels, whose own cost is not the harness's."""
    side = max(1, round(n**0.5))
    return cells(side, *batch.space, device=batch.inputs.device).view(1, *batch.space).expand(len(batch), -1, -1)


def whole_case(items: int, device: str, size: tuple[int, int] = (224, 224)) -> Case:
    batch = photo_like(size, items, device)
    maps = torch.randn(items, 14, 14, generator=torch.Generator().manual_seed(1)).to(device)
    parts = {"part": blocks(batch, PARTS).flatten(1)}
    return Case(dataclasses.replace(batch, truth=truths(batch), clusters=batch.ids, parts=parts), maps)


def counted(wanted: tuple[Bound, ...], case: Case, model: nn.Module) -> tuple[int, int]:
    """Rows run, and maps made again, when these metrics are scored together on this case."""
    engine = Engine(model, 64, relabelled=model, segment=blocks)
    engine.score(Job(case, wanted, bind_explainer(gradient)))
    return engine.tally.run, engine.tally.explained


def whole_catalogue(device: str) -> list[Line]:
    """Rows and maps of every metric at its defaults on one 224x224 item, alone and all together."""
    model, case = NearFree().to(device), whole_case(1, device)
    suite = tuple(Bound(metric, metric.parameters) for metric in of_kind(HEATMAP2D.id).values())
    alone = {bound: counted((bound,), case, model) for bound in suite}
    rows, maps = counted(suite, case, model)
    asked_rows, asked_maps = (sum(found[n] for found in alone.values()) for n in (0, 1))
    group = "Sharing: the whole catalogue at its defaults, one 224x224 item"
    lines = [
        Line(group, "rows that the metrics would run one by one", asked_rows, "rows"), Line(group, "rows run", rows, "rows"),
        Line(group, "share", 100 * rows / asked_rows, "%"),
        Line(group, "maps that the metrics would make again one by one", asked_maps, "maps"),
        Line(group, "maps made again", maps, "maps"), Line(group, "share of maps", 100 * maps / max(asked_maps, 1), "%"),
    ]
    group = "Rows of every metric alone, at its defaults, one 224x224 item"
    return lines + [Line(group, bound.signature, found[0], "rows", note=f"{found[1]} maps again" if found[1] else "")
                    for bound, found in alone.items()]


def settings(bound: Bound, maps: int) -> Bound:
    """The metric at the settings under which it is timed."""
    quick = dict(QUICK) | (dict(AGAIN) if maps else {})
    known = {name: value for name, value in quick.items() if name in bound.parameters}
    return Bound(bound.metric, dict(bound.parameters) | {k: min(v, bound.parameters[k]) for k, v in known.items()})


def over_the_bound(by: Engine, items: int, device: str) -> list[Line]:
    """Time of every metric over that of the same number of plain passes, or per map where it runs none, at the batch size and
    precision of this engine."""
    model, size = by.model, by.batch_size
    case = whole_case(items, device)
    inputs = case.batch.inputs[:1].repeat(size, 1, 1, 1)
    again = bind_explainer(gradient)
    engine = Engine(model, size, by.precision, relabelled=model, segment=blocks, compile=by.compile)
    goal = "<= 1.05" if device == "cpu" else "<= 1.10"
    lines = []
    for metric in of_kind(HEATMAP2D.id).values():
        bound = settings(Bound(metric, metric.parameters), counted((Bound(metric, metric.parameters),), whole_case(1, device),
                                                                   NearFree().to(device))[1])
        rows, maps = counted((bound,), whole_case(items, device), NearFree().to(device))
        job = Job(case, (bound,), again)
        if not rows + maps:
            took = per_map(lambda job=job: scored(NearFree(), 1, job), device, maps=items)  # type: ignore[misc]
            lines.append(Line(f"{EVERY}: metrics without forward passes, per 224x224 map", bound.signature, took, "ms"))
            continue
        repeats = max(1, 2 * size // (rows + maps))

        def work(job: Job = job, repeats: int = repeats) -> None:
            for _ in range(repeats):
                random.forget()
                engine.score(job)

        def passes(rows: int = rows, maps: int = maps, repeats: int = repeats) -> None:
            for _ in range(repeats):
                with engine.arithmetic(inputs.device):
                    plain(engine.forward, inputs, rows)
                    plain_gradient(model, inputs, maps)

        ratio, _ = paired(work, passes, device, FEW_PAIRS)
        note = ", ".join([f"{rows} rows"] * (rows > 0) + [f"{maps} maps again"] * (maps > 0))
        group = f"{EVERY}: time over the same number of plain passes, {by.precision}"
        lines.append(Line(group, bound.signature, ratio, "x", goal, note))
    return lines
