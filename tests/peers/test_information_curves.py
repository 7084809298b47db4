"""The information curves beside the authors' own code, package `saliency`: the same curve, image by image, or the same refusal.

Theirs is given our random pixels through its argument. With `rows:qhull` and `information:webp` nothing of it is replaced.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from vxp.core import Case
from vxp.imputation.interpolation import interpolated
from vxp.metrics._pic import SHOWN, drawn, relevant, residuals

from .conftest import ITEMS, SIDE, Setup, agree, library

REFUSED = {
    "The model prediction score on the original image": "unsure",
    "The entropy in the completely blurred image": "zero-difference",
    "The model prediction score on the completely blurred image": "no-rise",
}
"""By how their message begins our code."""


@pytest.fixture(scope="session")
def theirs() -> Any:
    return library("saliency.metrics.pic")


def curve(theirs: Any, setup: Setup, i: int, accuracy: bool, least: float) -> Any:
    """Their result of one image, or the code of their refusal."""
    image = (setup.inputs[i] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()

    def performance(images: NDArray[np.uint8]) -> list[float]:
        with torch.no_grad():
            logits = setup.model(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).double()
        right = logits.argmax(1) == setup.targets[i]
        return (right.double() if accuracy else logits.softmax(1)[:, setup.targets[i]]).tolist()

    random = drawn(Case(setup.batch(), setup.maps), i).view(SIDE, SIDE).numpy()
    try:
        return theirs.compute_pic_metric(image, setup.maps[i].double().numpy(), random, performance,
                                         [share / 1000 for share in SHOWN], min_pred_value=least)
    except theirs.ComputePicMetricError as error:
        return next(code for start, code in REFUSED.items() if str(error).startswith(start))


def both(theirs: Any, setup: Setup, metric: str, least: float = 0.8) -> int:
    """Ours and theirs agree on every image, in the number or in the refusal; how many have a number."""
    ours = setup.ours(metric + ("" if "aic" in metric else f"|least:{least}"))
    found = [curve(theirs, setup, i, "aic" in metric, least) for i in range(ITEMS)]
    codes = ["ok" if not isinstance(one, str) else f"undefined:{one}" for one in found]
    assert list(ours.status) == codes
    kept = [i for i, code in enumerate(codes) if code == "ok"]
    agree(f"saliency {metric}", [found[i].auc for i in kept], ours.values[kept], within=1e-6)
    return len(kept)


@pytest.mark.parametrize(("metric", "numbers"), [("pic-aic", 5), ("pic-sic", 5)])
def test_the_authors_curve_as_it_is(theirs: Any, photos: Setup, metric: str, numbers: int) -> None:
    assert both(theirs, photos, f"{metric}|rows:qhull|information:webp") >= numbers  # the others are refused by both


@pytest.mark.parametrize("metric", ["pic-aic", "pic-sic"])
def test_the_authors_curve_of_our_information(
    theirs: Any, photos: Setup, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entropy(image: NDArray[np.uint8]) -> float:
        return float(residuals(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])[0])

    monkeypatch.setattr(theirs, "estimate_image_entropy", entropy)
    both(theirs, photos, f"{metric}|rows:qhull")
    if metric == "pic-sic":
        both(theirs, photos, f"{metric}|rows:qhull", least=0.0)


@pytest.mark.parametrize("metric", ["pic-aic", "pic-sic"])
def test_the_authors_curve_of_our_triangles_and_information(
    theirs: Any, photos: Setup, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entropy(image: NDArray[np.uint8]) -> float:
        return float(residuals(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])[0])

    def blurred(full_img: NDArray[np.uint8], pixel_mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        return np.moveaxis(interpolated(np.moveaxis(full_img, 2, 0), pixel_mask), 0, 2)

    monkeypatch.setattr(theirs, "estimate_image_entropy", entropy)
    monkeypatch.setattr(theirs, "create_blurred_image", blurred)
    both(theirs, photos, metric)


def test_their_interpolation_is_ours_with_the_triangles_of_qhull(theirs: Any, photos: Setup) -> None:
    """Value for value; with the fan, values differ where shown pixels lie on one circle, and only there."""
    case = Case(photos.batch(), photos.maps)
    shares = []
    for share in (0, *SHOWN):
        for i in (0, 2):
            shown = (drawn(case, i) | (relevant(case, share)[i] if share else False)).view(SIDE, SIDE).numpy()
            image = (photos.inputs[i] * 255).round().to(torch.uint8).numpy()
            wanted = np.moveaxis(theirs.create_blurred_image(np.moveaxis(image, 0, 2), shown), 2, 0)
            assert np.array_equal(interpolated(image, shown, fan=False), wanted)
            shares.append(float((interpolated(image, shown) != wanted).mean()))
    assert 0 < np.mean(shares) < 0.06
