"""Performance information curves: how much of the prediction comes back with how much of the image's information."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vxp import random
from vxp.core import Case, Held, Limits, Outcome, Readout, Redrawn, Request, Unchanged, VxpError, outcome
from vxp.core.perturb import IMAGES, levels, own_levels

SHOWN = (5, 10, 20, 30, 40, 50, 70, 100, 130, 210, 340, 500, 750)
"""Thousandths of the positions that are shown, the example values of the authors' code."""
SHARE = 100
"""One of so many positions is shown in every row."""
POINTS = 1000
"""The curve is read at so many places from 0 on, and at 1."""
LIMITS: Limits = {"rows": ("interpolated", "qhull", "filled"), "information": ("residuals", "webp"), "fill": tuple(IMAGES)}


# ------------------------------------------------------------------------------------------------------- information


def residuals(values: Tensor) -> Tensor:
    """Bits per value [N] of uint8 images [N, C, H, W]: the entropy of the residuals of predicting each value by its left
    neighbour, the first of a row by the one above it and the very first by 0, modulo 256 (which uint8 does by itself)."""
    predicted = torch.zeros_like(values)
    predicted[..., 1:] = values[..., :-1]
    predicted[..., 1:, 0] = values[..., :-1, 0]
    left = (values - predicted).flatten(1)
    counts = torch.stack([torch.bincount(row, minlength=256) for row in left]).double()
    share = counts / left.shape[1]
    entropy: Tensor = torch.special.xlogy(share, share).sum(1)
    return -entropy / math.log(2)


def webp(values: Tensor) -> Tensor:
    """Bytes [N] of uint8 images [N, C, H, W] as lossless WebP files of quality 100, as the installed Pillow writes them.
    VxpError unless they have one channel or three."""
    if values.shape[1] not in (1, 3):
        raise VxpError(f"information:webp was asked of images of {values.shape[1]} channels, expected 1 or 3: take "
                       "information:residuals")
    sizes = []
    for image in values.cpu().numpy():
        file = io.BytesIO()
        Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(np.moveaxis(image, 0, 2))).save(
            file, format="webp", lossless=True, quality=100)
        sizes.append(float(len(file.getvalue())))
    return torch.tensor(sizes, dtype=torch.float64)


INFORMATION: Mapping[str, Callable[[Tensor], Tensor]] = {"residuals": residuals, "webp": webp}


# --------------------------------------------------------------------------------------- rows of interpolated images


def drawn(case: Case, i: int) -> Tensor:
    """bool [P]: the random positions of item i that every row shows."""
    P = case.batch.positions
    key = random.key(case.batch.seed, case.batch.ids[i], "pic-aic@2", "shown")
    return random.subset(key, 0, P, P // SHARE, device=case.batch.inputs.device)


def relevant(case: Case, share: int) -> Tensor:
    """bool [B, P]: the positions whose value is at least the quantile of the map at 1 - share/1000.

    The quantile lies between the values of two places, or on one: what is at least the quantile is at least the upper one.
    """
    P = case.batch.positions
    place = -((share - 1000) * (P - 1) // 1000)  # the ceiling
    flat = case.map.flatten(1)
    return flat >= flat.gather(1, case.order[:, P - 1 - place, None])


def redrawn(case: Case, share: int, rows: str) -> Held:
    """The name of the images that show this share of the positions, and the random ones."""

    def make() -> Tensor:
        from vxp.imputation.interpolation import interpolated  # and SciPy's geometry with it, which no other metric needs

        shown = relevant(case, share) if share else torch.zeros_like(case.order, dtype=torch.bool)
        masks = torch.stack([shown[i] | drawn(case, i) for i in range(len(case.batch))]).view(-1, *case.batch.space)
        made = [interpolated(image, mask, fan=rows == "interpolated")
                for image, mask in zip(own_levels(case.batch).cpu().numpy(), masks.cpu().numpy(), strict=True)]
        return torch.from_numpy(np.stack(made))

    return case.image((rows, share), make)


def interpolated_curve(
    case: Case, rows: str, information: str, readout: Readout
) -> Generator[Request, Tensor, tuple[Tensor, Tensor]]:
    """Readouts [B, K] and information [B, K] float64 of the image, of the blurred image and of the rows."""
    names = [redrawn(case, share, rows) for share in (0, *SHOWN)]
    read = yield Request((Unchanged(), *(Redrawn(name) for name in names)), readout=readout)
    drawings = (own_levels(case.batch).cpu(), *(case.images[name] for name in names))
    bits = torch.stack([INFORMATION[information](values) for values in drawings], dim=1)
    return read, bits


def scored(read: Tensor, bits: Tensor, undefined: Mapping[str, Tensor]) -> Outcome:
    """The area under the curve of Kapishnikov's code [B]; undefined also where image and blurred image are no two ends."""
    image, blurred = read[:, :1], read[:, 1:2]
    y = (read[:, 2:] - blurred) / _or_one(image - blurred)
    x = (bits[:, 2:] - bits[:, 1:2]) / _or_one(bits[:, :1] - bits[:, 1:2])
    best = y.nan_to_num().clamp(0, 1).cummax(1).values
    areas = torch.tensor([area(a, b) for a, b in zip(x.clamp(0, 1).tolist(), best.tolist(), strict=True)], dtype=torch.float64)
    codes = {"zero-difference": (bits[:, :1] <= bits[:, 1:2]).flatten(), "no-rise": (image <= blurred).flatten()}
    return outcome(areas.masked_fill(read.isnan().any(1), float("nan")), {**undefined, **codes})


def area(x: Sequence[float], y: Sequence[float]) -> float:
    """Area under the curve through these points, (0, 0) and (1, 1), read at 0, 0.001, ..., 0.999, and 1 at 1.

    Points are sorted by x; of equal x they keep their order, in which (0, 0) and (1, 1) are last. At a place where points
    stand one above the other the curve has the last of them.
    """
    at, value = np.array([*x, 0.0, 1.0]), np.array([*y, 0.0, 1.0])
    place = np.argsort(at, kind="stable")
    at, value = at[place], value[place]
    places = np.arange(POINTS) * (1 / POINTS)
    left = np.searchsorted(at, places, side="right") - 1
    slope = (value[left + 1] - value[left]) / (at[left + 1] - at[left])
    curve = np.append(slope * (places - at[left]) + value[left], 1.0)
    return float(((curve[1:] + curve[:-1]) / 2 * np.diff(np.append(places, 1.0))).sum())


def _or_one(width: Tensor) -> Tensor:
    return torch.where(width <= 0, torch.ones_like(width), width)


# ------------------------------------------------------------------------------------ the curve of version 1, over a fill


def shown(case: Case, i: int, fill: Tensor, counts: Sequence[int]) -> Tensor:
    """uint8 images [K, C, H, W] of item i with the k most relevant positions of the image and the fill [B, C, H, W]
    (raw, float64) elsewhere."""
    norm = case.batch.normalization
    image, ground = (levels(raw).flatten(1) for raw in (norm.to_raw(case.batch.inputs[i].double()), norm.to_raw(fill[i])))
    rank = torch.empty_like(case.order[i])
    rank[case.order[i]] = torch.arange(len(rank), device=rank.device)
    limits = torch.tensor(counts, device=rank.device).view(-1, 1, 1)
    return torch.where(rank < limits, image, ground).view(len(counts), -1, *case.batch.space)


def filled_curve(
    case: Case, fill: str, information: str, readout: Readout
) -> Generator[Request, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Readouts [B, K] of the rows over a fill, their normalised information [B, K], and where the image has no more of it
    than the fill, bool [B]."""
    P = case.batch.positions
    counts = [share * P // 1000 for share in (0, *SHOWN, 1000)]
    read = yield case.removed_spans([(k, P) for k in counts], fill, readout=readout)
    # in float64 throughout, so that rounding to 8 bits gives everybody the same values
    ground = replace(case.batch, inputs=case.batch.inputs.double()).fill_image(fill).double()
    bits = torch.stack([INFORMATION[information](shown(case, i, ground, counts)) for i in range(len(case.batch))]).cpu()
    width = bits[:, -1:] - bits[:, :1]
    x = ((bits - bits[:, :1]) / _or_one(width)).clamp(0, 1)
    return read, x, (width <= 0).flatten()


def under(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Area [B] under the running maximum of y [B, K] in rising order of x (equal x in their own order), with both."""
    place = x.argsort(dim=1, stable=True)
    x, y = x.gather(1, place), y.gather(1, place).cummax(1).values
    return ((y[:, 1:] + y[:, :-1]) / 2 * x.diff(dim=1)).sum(1), y, x


def scored_over_fill(y: Tensor, x: Tensor, undefined: Mapping[str, Tensor]) -> Outcome:
    """The area, NaN where a readout is."""
    found, _, _ = under(y.nan_to_num(), x)
    return outcome(found.masked_fill(y.isnan().any(1), float("nan")), undefined)
