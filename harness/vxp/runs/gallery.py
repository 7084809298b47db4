"""Input images kept beside the results, for the report."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from vxp.datasets import Sample
from vxp.documents import store
from vxp.runs import baselines, result
from vxp.runs.context import Context

GALLERY = 8
"""Input images kept for the report."""


def keep(context: Context) -> None:
    """A few input images as PNG, spread over the clusters, for the report."""
    index = context.out / "gallery" / "index.json"
    if index.exists():
        return
    seen: dict[str, list[int]] = {}
    for i, item in enumerate(context.task.items):
        seen.setdefault(item.cluster, []).append(i)
    depth = max(len(v) for v in seen.values())
    chosen = [v[d] for d in range(depth) for v in seen.values() if d < len(v)][:GALLERY]
    entries = []
    for number, i in enumerate(chosen):
        item = context.task.items[i]
        start = next(a for a, b in context.ranges() if a <= i < b)
        target = int(baselines.read(context, start).targets[i - start])
        file, sample = f"{number:02d}.png", context.task.source.load(item)
        store.write_bytes(index.parent / file, _png(sample.image))
        entries.append({"item_id": item.id, "file": file, "row": i, "target": target,
                        "target_name": context.model.class_name(target), **_over_time(sample)})
    store.write_bytes(index, result.plain_json(entries))


def _over_time(sample: Sample) -> dict[str, list[int] | int]:
    """Of a clip how many frames it has, and in which of them there is truth."""
    if sample.image.ndim == 3:
        return {}
    mask = sample.truth.get("mask")
    there = [] if mask is None else torch.nonzero(mask.flatten(1).any(1)).flatten().tolist()
    return {"frames": sample.image.shape[1], "truth_frames": there}


def _png(image: Tensor) -> bytes:
    """An image uint8 [3, H, W], or the frames of a clip [3, T, H, W] side by side."""
    buffer = io.BytesIO()
    strip = image if image.ndim == 3 else image.transpose(1, 2).flatten(2)
    Image.fromarray(strip.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()
