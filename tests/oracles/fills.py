"""The named fills, made in raw [0, 1] pixel space, and removal of positions from one image.

All functions take and return images in the model's input space, [3, H, W], or clips [3, T, H, W]; raw = image*std + mean per
channel.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import spsolve

from oracles import philox

IMPUTED = ("nli", "hold", "remove")
"""The fills that depend on what is left."""


def to_raw(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    return np.stack([image[c] * std[c] + mean[c] for c in range(len(image))])


def to_input(raw: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    return np.stack([(raw[c] - mean[c]) / std[c] for c in range(len(raw))])


def fill(
    name: str, image: np.ndarray, mean: Sequence[float], std: Sequence[float], seed: int, item: str
) -> np.ndarray:
    """The image that shows where positions are removed, of values that float32 has."""
    raw = to_raw(image, mean, std)

    def single(values: np.ndarray) -> np.ndarray:
        # NumPy rounds every operation of a float32 array and a Python number to float32
        return to_input(values.astype(np.float32), mean, std).astype(np.float64)

    if name == "black":
        return single(np.zeros_like(raw))
    if name == "mean":
        return np.zeros_like(raw)
    if name == "blur":
        return image.copy() if blur_radius(*image.shape[-2:]) == 0 else single(np.stack([blur(channel) for channel in raw]))
    if name == "noise":
        drawn = philox.uniforms(philox.key(seed, item, "fill-noise@1", "noise"), 0, raw[0].size)
        return single(drawn[: len(raw)].reshape(raw.shape))
    if name == "image-mean":
        return np.stack([np.full_like(channel, np.float32(channel.mean())) for channel in image])
    if name == "rise-blur":
        return np.stack([rise_blur(channel) for channel in image]).astype(np.float32).astype(np.float64)
    if name == "mean-frame":
        return np.broadcast_to(image.mean(1, keepdims=True).astype(np.float32), image.shape).astype(np.float64)
    if name == "reverse":
        return image[:, ::-1].copy()
    raise ValueError(f"no oracle of the fill {name!r}")


def blur(channel: np.ndarray) -> np.ndarray:
    """Normalised Gaussian of radius and sigma r = round(5*min(H, W)/224), mirrored at the border (edge not twice).

    Halves are rounded up (112 pixels have r = 3). Of a clip, every frame by itself.
    """
    if channel.ndim == 3:
        return np.stack([blur(frame) for frame in channel])
    H, W = channel.shape
    r = blur_radius(H, W)
    taps = [np.exp(-(d * d) / (2.0 * r * r)) for d in range(-r, r + 1)]
    taps = [tap / sum(taps) for tap in taps]
    out = np.zeros_like(channel)
    for y in range(H):
        for x in range(W):
            for i, dy in enumerate(range(-r, r + 1)):
                for j, dx in enumerate(range(-r, r + 1)):
                    out[y, x] += taps[i] * taps[j] * channel[_mirrored(y + dy, H), _mirrored(x + dx, W)]
    return out


def blur_radius(H: int, W: int) -> int:
    return math.floor(5 * min(H, W) / 224 + 0.5)


def _mirrored(place: int, size: int) -> int:
    if place < 0:
        return -place
    return 2 * (size - 1) - place if place >= size else place


def rise_blur(channel: np.ndarray) -> np.ndarray:
    """RISE's kernel: an 11 x 11 delta smoothed with sigma 5; zeros of the normalised image beyond the border."""
    delta = np.zeros((11, 11))
    delta[5, 5] = 1.0
    kernel = gaussian_filter(delta, 5)
    H, W = channel.shape
    out = np.zeros_like(channel)
    for y in range(H):
        for x in range(W):
            for i in range(11):
                for j in range(11):
                    row, column = y + i - 5, x + j - 5
                    if 0 <= row < H and 0 <= column < W:
                        out[y, x] += kernel[i, j] * channel[row, column]
    return out


def removed(
    image: np.ndarray, positions: Sequence[int], name: str, mean: Sequence[float], std: Sequence[float], seed: int,
    item: str, made: np.ndarray | None = None,
) -> np.ndarray:
    """The image with the fill at these positions, all channels; `made` is the fill image where it is known already."""
    if name in IMPUTED and len(positions) == image[0].size:
        return np.zeros_like(image)  # nothing known: the mean
    if name == "nli":
        return noisy_linear_imputation(image, positions, mean, std, seed, item)
    if name == "hold":
        return held(image, positions)
    if name == "remove":
        return shortened(image, positions)
    source = fill(name, image, mean, std, seed, item) if made is None else made
    out = image.reshape(len(image), -1).copy()
    for place in positions:
        out[:, place] = source.reshape(len(image), -1)[:, place]
    return out.reshape(image.shape)


def held(clip: np.ndarray, positions: Sequence[int]) -> np.ndarray:
    """The clip [3, T, H, W] with what was last seen at these positions: the latest frame before that keeps the place, else the
    earliest after, else the mean."""
    _, T, H, W = clip.shape
    gone = {int(place) for place in positions}
    out = clip.copy()
    for place in gone:
        t, y, x = place // (H * W), place // W % H, place % W
        kept = [s for s in range(T) if (s * H + y) * W + x not in gone]
        before, after = [s for s in kept if s < t], [s for s in kept if s > t]
        out[:, t, y, x] = clip[:, before[-1], y, x] if before else clip[:, after[0], y, x] if after else 0.0
    return out


def shortened(clip: np.ndarray, positions: Sequence[int]) -> np.ndarray:
    """The frames of the clip [3, T, H, W] that keep their positions, one after another."""
    _, T, H, W = clip.shape
    gone = {int(place) for place in positions}
    return clip[:, [t for t in range(T) if t * H * W not in gone]]


def noisy_linear_imputation(
    image: np.ndarray, positions: Sequence[int], mean: Sequence[float], std: Sequence[float], seed: int, item: str
) -> np.ndarray:
    """Each removed pixel is the weighted mean of its neighbours (Rong et al. 2022), plus N(0, 0.01) in raw space."""
    if not len(positions):
        return image.copy()
    raw = to_raw(image, mean, std)
    solved = linear_imputation(raw, positions)
    noise = philox.normals(philox.key(seed, item, "nli@1", "noise"), len(positions), image[0].size)
    W = image.shape[2]
    out = image.copy()
    for place in positions:
        for c in range(len(image)):
            value = solved[c, place // W, place % W] + 0.01 * noise[c, place]
            out[c, place // W, place % W] = (value - mean[c]) / std[c]
    return out


def linear_imputation(raw: np.ndarray, positions: Sequence[int]) -> np.ndarray:
    """One equation per removed pixel, weights 1/6 (edge) and 1/12 (diagonal) made to sum to 1, solved directly."""
    _, H, W = raw.shape
    unknown = {place: n for n, place in enumerate(positions)}
    rows: list[int] = []
    columns: list[int] = []
    entries: list[float] = []
    right = np.zeros((len(positions), len(raw)))
    for place, n in unknown.items():
        y, x = place // W, place % W
        around = [
            (y + dy, x + dx, 1 / 12 if dy and dx else 1 / 6)
            for dy in (-1, 0, 1) for dx in (-1, 0, 1)
            if (dy or dx) and 0 <= y + dy < H and 0 <= x + dx < W
        ]
        total = sum(weight for _, _, weight in around)
        rows.append(n)
        columns.append(n)
        entries.append(1.0)
        for yy, xx, weight in around:
            other = yy * W + xx
            if other in unknown:
                rows.append(n)
                columns.append(unknown[other])
                entries.append(-weight / total)
            else:
                right[n] += weight / total * raw[:, yy, xx]
    matrix = csc_matrix((entries, (rows, columns)), shape=(len(positions), len(positions)))
    out = raw.copy()
    for c in range(len(raw)):
        values = np.atleast_1d(spsolve(matrix, right[:, c]))
        for place, n in unknown.items():
            out[c, place // W, place % W] = values[n]
    return out
