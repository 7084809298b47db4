"""stamps-training: images to train explainers on that are scored on the task `stamps`. Nothing of them is scored there.

The same photo cut-outs, made as for `stamps` (see that module), but no ground is a photo: it is drawn, so that training and
scoring share no background, and the seeds of sizes and places are of another name. Of every set of classes that two or more
stamps show, one stamp is held out, so that the task has unseen stamps of trained classes: the first, bytewise, that stands
in the task's list, else the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from itertools import count

import numpy as np
import vxp_schemas

from vxp.datasets import Item, Sample, Source
from vxp.datasets._images import between, uniforms
from vxp.datasets.stamps import LARGEST, SIZE, SMALLEST, composite, mapping, missing

PURPOSE = "stamps-training"


@cache
def held_out() -> tuple[str, ...]:
    """The stamps that are never trained on although another of their classes is."""
    scored = {row["recipe"]["stamp"] for row in json.loads(vxp_schemas.registry_bytes("items/stamps@1.json"))}
    of: dict[tuple[int, ...], list[str]] = {}
    for stamp, classes in mapping().items():
        of.setdefault(classes, []).append(stamp)
    return tuple(sorted(next((s for s in sorted(stamps) if s in scored), min(stamps))
                        for stamps in of.values() if len(stamps) > 1))


def ground(seed: int, *names: str | int) -> np.ndarray:
    """A drawn ground, uint32 [SIZE, SIZE, 3]: noise whose amplitude falls with frequency to a drawn power between 0.8 and
    1.8, in a drawn colour and with a drawn contrast for each channel."""
    u = uniforms(seed, PURPOSE, "ground", *names)
    power, share = 0.8 + next(u), 0.3 + 0.6 * next(u)
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None, :])
    amplitude = 1 / np.maximum(frequency, 1 / SIZE) ** power
    # one raw stream for all planes: a common one, and one for each channel
    words = np.random.Philox(key=int(next(u) * 2**53)).random_raw(4 * SIZE * SIZE).reshape(4, SIZE, SIZE)
    planes = np.fft.irfft2(np.fft.rfft2((words >> 11) * 2.0**-53 - 0.5) * amplitude, s=(SIZE, SIZE))
    planes /= planes.std((1, 2), keepdims=True)
    image = np.zeros((SIZE, SIZE, 3))
    for channel in range(3):
        wave = share * planes[0] + (1 - share) * planes[1 + channel]
        image[..., channel] = 40 + 175 * next(u) + (15 + 35 * next(u)) * wave
    return np.clip(np.rint(image), 0, 255).astype(np.uint32)


def load(item: Item) -> Sample:
    recipe = item.recipe
    behind = ground(recipe["seed"], recipe["stamp"], recipe["turn"])
    image, mask = composite(recipe["stamp"], recipe["size"], recipe["place"], behind)
    return Sample(image, {"mask": mask})


def propose(seed: int) -> Iterator[Item]:
    """Every stamp that is not held out once, then every one again at another place, without end."""
    stamps = [stamp for stamp in mapping() if stamp not in held_out()]
    for turn in count():
        for stamp in stamps:
            u = uniforms(seed, PURPOSE, stamp, turn)
            size = between(next(u), round(SMALLEST * SIZE), round(LARGEST * SIZE))
            place = [between(next(u), 0, SIZE - size), between(next(u), 0, SIZE - size)]
            recipe = {"stamp": stamp, "size": size, "place": place, "seed": seed, "turn": turn}
            yield Item(f"{stamp}/{turn:03d}", stamp, recipe, None, mapping()[stamp])


STAMPS_TRAINING = Source(
    id="stamps-training", version=1, load=load, propose=propose, missing=missing, truth=("mask",),
    licence="GPL-2 (stamps), CC0 (backgrounds)", access="download", cluster="stamp",
    about="The cut-outs of stamps on drawn grounds, one stamp of each shared class held out: for training explainers",
)
