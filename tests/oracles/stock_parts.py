"""Images in parts of the vectors, with what each looks like without one, and maps over them."""

from functools import cache

import numpy as np

from oracles import stock_images
from oracles.stock import MEAN, STD, H, Model, Stock, W, drawn, dyadic


@cache
def parted() -> Stock:
    return Stock("parts-", inputs(), attributions(), {"without": without()}, models(),
                 sound=("random", "native", "ties", "nearest"),
                 parts=[{"part": [int(k) for k in labels.ravel()]} for labels in label_maps()], always=("without",))


def models() -> dict[str, Model]:
    """Those of images whose outputs depend on them, and a constant one."""
    return {name: model for name, model in stock_images.models().items() if name in ("cnn", "linear", "constant")}


def inputs() -> np.ndarray:
    """The three images of noise, and the second once more."""
    return stock_images.inputs()[[0, 1, 2, 1]]


def label_maps() -> list[np.ndarray]:
    """The part at every position of each image: five with ground between them, one of two pieces and one of a single position;
    six blocks that fill the image; three; and two, which are too few."""
    some = np.full((H, W), -1)
    some[1:6, 2:9], some[4:20, 11:19], some[8:14, 0:7], some[8:14, 24:31] = 0, 1, 2, 2
    some[20:23, 10:22], some[0, 31] = 3, 4
    blocks = np.empty((H, W), int)
    for k in range(6):
        blocks[12 * (k // 3) : 12 * (k // 3) + 12, 11 * (k % 3) : 11 * (k % 3) + 11] = k
    three = np.full((H, W), -1)
    three[:8], three[8:16, :20], three[18:, 4:] = 0, 1, 2
    two = np.full((H, W), -1)
    two[:, :9], two[5:, 20:] = 0, 1
    return [some, blocks, three, two]


def without() -> list[np.ndarray]:
    """uint8 [K, 3, H, W] of each image: the levels without each of its parts, where other levels are seen. Without the last of
    the three parts of the third image nothing changes."""
    found = []
    for i, (image, labels) in enumerate(zip(inputs(), label_maps(), strict=True)):
        raw = np.clip(image.astype(float) * np.reshape(STD, (3, 1, 1)) + np.reshape(MEAN, (3, 1, 1)), 0, 1)
        own, behind = np.floor(raw * 255 + 0.5).astype(np.uint8), np.floor(drawn(f"parts-behind-{i}", 3, H, W) * 256)
        rows = [np.where(labels == k, behind, own).astype(np.uint8) for k in range(labels.max() + 1)]
        found.append(np.stack([*rows[:-1], own] if i == 2 else rows))
    return found


def attributions() -> dict[str, tuple[int, str, np.ndarray]]:
    """Maps by name, with the number of the image that each belongs to and its rule. ties: some parts of one score. level: all
    parts of one, and something beside them. few: of the image in two parts."""
    of = label_maps()
    ties = np.array([0.5, -0.25, 0.5, 1.0, -0.25, 0.5])[of[1]]
    broken = dyadic("parts-broken", 6, 8)
    broken[1, 2] = np.nan
    found = {
        "random": (0, "bilinear", 2 * drawn("parts-random", H, W) - 1), "native": (1, "bilinear", dyadic("parts-native", 6, 8)),
        "ties": (1, "bilinear", ties), "nearest": (2, "nearest", dyadic("parts-nearest", 7, 9)),
        "three": (2, "bilinear", drawn("parts-three", H, W)), "level": (0, "bilinear", np.where(of[0] < 0, 1.0, 0.5)),
        "few": (3, "bilinear", dyadic("parts-few", 6, 8)), "broken": (0, "bilinear", broken),
    }
    return {name: (i, rule, values.astype(np.float32)) for name, (i, rule, values) in found.items()}
