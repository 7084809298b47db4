"""Input images kept beside the results, for the report."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from vxp.datasets import Sample
from vxp.documents import store
from vxp.kinds import CONCEPTS, TEXT
from vxp.runs import baselines, result
from vxp.runs.context import Context

GALLERY = 8
"""Input images kept for the report."""
FRAMES = 20
"""Frames of a clip at most."""


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
        entry = {"item_id": item.id, "row": i, "target": target,
                 "target_name": context.model.class_name(target) if target >= 0 else ""}
        if CONCEPTS in context.task.kinds:
            entry |= {"concepts": list(context.task.document.get("concepts", ()))}
        if context.task.divided or (TEXT in context.task.kinds and sample.timeline is not None):
            entry |= {"timeline": _timeline(context, i)}
            image = _shots(sample)
        else:
            shown = _shown(sample) if sample.image.ndim == 4 else []
            entry |= _over_time(sample, shown)
            image = sample.image[:, shown] if shown else sample.image
        if image is not None:
            store.write_bytes(index.parent / file, _png(image))
            entry |= {"file": file}
        entries.append(entry)
    store.write_bytes(index, result.plain_json(entries))


def _timeline(context: Context, i: int) -> dict[str, object]:
    """How a video is divided, and what the model says of the frames that it looks at."""
    loaded = context.task.load(i, i + 1, context.model)
    (video,) = loaded.timelines
    said = context.engine.predict(loaded.inputs.to(context.settings.device))[0]
    scores = [] if context.output.targets else [round(float(score), 6) for score in said.cpu()]
    return {"frames": video.frames, "fps": video.fps, "fragments": [list(f) for f in video.fragments],
            "steps": list(video.steps), "scores": scores}


def _shots(sample: Sample) -> Tensor | None:
    """The middle frame of every fragment, a square from its middle, uint8 [3, S, side, side]; None of features."""
    if sample.image.ndim != 4 or sample.timeline is None:
        return None
    frames = sample.image[:, [(start + end - 1) // 2 for start, end in sample.timeline.fragments]]
    side = min(frames.shape[2:])
    top, left = ((n - side) // 2 for n in frames.shape[2:])
    return frames[..., top : top + side, left : left + side]


def _shown(sample: Sample) -> list[int]:
    """The frames of a clip that are kept: all, or FRAMES of them, evenly spread."""
    n = sample.image.shape[1]
    return list(range(n)) if n <= FRAMES else [(2 * k + 1) * n // (2 * FRAMES) for k in range(FRAMES)]


def _over_time(sample: Sample, shown: list[int]) -> dict[str, list[int] | int]:
    """Of a clip how many frames are kept, and in which of them there is truth."""
    if not shown:
        return {}
    mask = sample.truth.get("mask")
    there = set() if mask is None else set(torch.nonzero(mask.flatten(1).any(1)).flatten().tolist())
    return {"frames": len(shown), "truth_frames": [k for k, frame in enumerate(shown) if frame in there]}


def _png(image: Tensor) -> bytes:
    """An image uint8 [3, H, W], or the frames of a clip [3, T, H, W] side by side."""
    buffer = io.BytesIO()
    strip = image if image.ndim == 3 else image.transpose(1, 2).flatten(2)
    Image.fromarray(strip.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()
