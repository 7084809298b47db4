"""Where the code of a metric's own authors gives another number than this standard, shown on a case whose answer is known.

None of it is installed or copied: each test states in its own words what the code does with the numbers, and measures what
that changes. The numbers of docs/differences.md under "The authors' own code" are those that are measured here.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from vxp.core import Batch

from .conftest import SIZE, P, Setup, explained, gradient, gradient_map, linear, measured, small_model
from .test_divergence import sparse, with_maps


def as_ranks(order: np.ndarray) -> Tensor:
    """A map of distinct values [SIZE, SIZE] that has its positions in this order, the first the largest."""
    ranks = np.empty(len(order), dtype=np.float32)
    ranks[order] = np.arange(len(order), 0, -1)
    return torch.from_numpy(ranks).view(SIZE, SIZE)


# ----------------------------------------------------------------------------------------------------------------- curves


def test_a_short_last_step_counts_as_a_whole_one() -> None:
    """spec/metrics/deletion.md: the trapezoid rule over the true fractions. RISE's script steps by a number of pixels, and
    its area takes all steps for equal, the last one too, which is shorter unless the number divides the image."""
    removed = np.array([0, 0.6, 1])
    curve = 1 - removed
    measured("authors/RISE, evaluation.py, the area/steps of 60 %", float(np.trapezoid(curve, dx=1 / (len(curve) - 1))))
    measured("authors/RISE, evaluation.py, the area/true fractions", float(np.trapezoid(curve, removed)))


def test_ties_fall_as_the_sort_leaves_them(grey: Setup) -> None:
    """spec/metrics/deletion.md: ties by index, the smallest first. RISE's script flips an argsort of rising values that keeps
    no order among equals; where a sort does keep it, the flip takes the largest index first."""
    map_ = sparse(0.6).view(SIZE, SIZE)
    flipped = as_ranks(np.flip(np.argsort(map_.flatten().numpy(), kind="stable")))
    for name, values in (("theirs", flipped), ("ours", map_)):
        score = with_maps(grey, values.expand(3, -1, -1)).ours("deletion|steps:28|fill:black").mean
        measured(f"authors/RISE, evaluation.py, ties/{name}", score)


def test_road_breaks_ties_by_noise(grey: Setup) -> None:
    """spec/metrics/road-morf.md, road-lerf.md: ties by index. The authors min-max the map and add normal noise of 1e-4
    before they rank it."""
    map_ = sparse(0.6).view(SIZE, SIZE)
    noise = 1e-4 * np.random.default_rng(0).standard_normal(P)
    shaken = as_ranks(np.argsort(-((map_ / map_.max()).flatten().numpy() + noise)))
    curves = []
    for values in (shaken, map_):
        curve = with_maps(grey, values.expand(3, -1, -1)).ours("road-morf").curve
        assert curve is not None
        curves.append(curve)
    apart = curves[0] - curves[1]
    item, rate = divmod(int(apart.abs().argmax()), apart.shape[1])
    for name, curve in zip(("theirs", "ours"), curves, strict=True):
        measured(f"authors/run_road, ties/{name}", float(curve[item, rate]))


def test_road_keeps_the_share_when_the_least_relevant_go_first() -> None:
    """spec/metrics/road-lerf.md: floor(rate*P/100) positions go. The authors keep int(P*share) and remove what is left."""
    measured("authors/run_road, least relevant first/theirs", str(P - int(P * 0.1)))
    measured("authors/run_road, least relevant first/ours", str(90 * P // 100))


def test_run_road_averages_the_probability_of_class_0(rgb: Setup) -> None:
    """spec/metrics/road-morf.md: the target's probability. run_road hands no predictions on, and without them the class is 0;
    its accuracy is not affected."""
    first = Setup(rgb.model, rgb.inputs, torch.zeros(3, dtype=torch.long), rgb.maps, rgb.mask)
    measured("authors/run_road, mean probability/theirs", first.ours("road-morf").mean)
    measured("authors/run_road, mean probability/ours", rgb.ours("road-morf").mean)


# ------------------------------------------------------------------------------------------------------------ other scores


def test_the_box_is_laid_with_rows_for_columns(grey: Setup) -> None:
    """spec/metrics/energy-pointing-game.md: the truth's rows are rows. Score-CAM's script fills [x1:x2, y1:y2] of an
    array whose first axis is y."""
    x1, y1, x2, y2 = 30, 5, 50, 20
    upright, turned = torch.zeros(2, 3, SIZE, SIZE, dtype=torch.bool)
    upright[:, y1:y2, x1:x2], turned[:, x1:x2, y1:y2] = True, True
    inside = with_maps(grey, upright.float())
    for name, mask in (("theirs", turned), ("ours", upright)):
        truth = {"mask": mask, "cells": mask}
        measured(f"authors/Score-CAM, energyPointGame.py/{name}", inside.ours("energy-pointing-game", truth=truth).mean)


def test_adcc_explains_the_top_class_again(grey: Setup) -> None:
    """spec/metrics/adcc.md: the map of the masked image is that of the target. The authors ask for the class that the model
    gives the image, whatever the target is."""
    with torch.no_grad():
        top = grey.model(grey.inputs).argmax(1)
        last = grey.model(grey.inputs).argmin(1)
    setup = explained(Setup(grey.model, grey.inputs, last, grey.maps, grey.mask))

    def of_the_top(model: torch.nn.Module, batch: Batch) -> Tensor:
        return torch.from_numpy(gradient(model, batch.inputs, top))[:, 0]

    measured("authors/ADCC/theirs", setup.ours("adcc|fill:mean", explainer=of_the_top).mean)
    measured("authors/ADCC/ours", setup.ours("adcc|fill:mean", explainer=gradient_map).mean)
    with pytest.raises(ZeroDivisionError):
        3 / (1 / 0.0 + 1 / 0.5 + 1 / 0.5)  # what coherency 0, or a drop of 1, gives where the parts are plain numbers


def test_judds_curve_without_jitter_falls_below_chance_on_ties() -> None:
    """spec/metrics/auc-judd.md: ties count one half. AUC_Judd.m sweeps the fixated values one by one, and at each of equal ones
    all of the plateau is above the threshold but one fixation."""
    generator = torch.Generator().manual_seed(4)
    map_, place = sparse(0.8).flatten(), torch.randperm(P, generator=generator)[:20]
    looked = torch.zeros(P)
    looked[place] = 1
    values = map_[place].sort(descending=True).values
    hits = [0.0, *((i + 1) / 20 for i in range(20)), 1.0]
    alarms = [0.0, *((int((map_ >= v).sum()) - (i + 1)) / (P - 20) for i, v in enumerate(values)), 1.0]
    measured("authors/AUC_Judd.m/theirs", float(np.trapezoid(hits, alarms)))
    setup = Setup(small_model(), torch.rand(1, 1, SIZE, SIZE), torch.tensor([0]), map_.view(1, SIZE, SIZE),
                  torch.ones(1, SIZE, SIZE, dtype=torch.bool))
    measured("authors/AUC_Judd.m/ours", setup.ours("auc-judd", truth={"fixations": looked.view(1, SIZE, SIZE)}).mean)


def test_infidelity_over_all_squares_weighs_small_ones_more() -> None:
    """spec/metrics/infidelity.md: the side is drawn first, each as likely. The authors go through all squares of all sides, of
    which there are the more the smaller they are."""
    model, inputs = small_model(), torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = model(inputs)
        targets = before.argmax(1)
    maps = torch.from_numpy(gradient(model, inputs, targets))[:, 0] * inputs[:, 0]
    squares = torch.stack([_square(y, x, side) for side in range(1, 11) for y in range(29 - side) for x in range(29 - side)])
    assert len(squares) == 5605
    theirs = []
    for i in range(4):
        with torch.no_grad():
            after = model(inputs[i] * ~squares[:, None])[:, targets[i]].double()
        mass = (maps[i].double() * squares).sum((1, 2))
        drop = float(before[i, targets[i]]) - after
        scale = (mass * drop).mean() / mass.square().mean()
        theirs.append(float((scale * mass - drop).square().mean()))
    setup = Setup(model, inputs, targets, maps, torch.ones(4, 28, 28, dtype=torch.bool))
    ours = setup.ours("infidelity|samples:4000|fill:black").values
    ratio = ours / torch.tensor(theirs, dtype=torch.float64)
    measured("authors/saliency_evaluation, infidelity/least", float(ratio.min()))
    measured("authors/saliency_evaluation, infidelity/greatest", float(ratio.max()))


def _square(y: int, x: int, side: int) -> Tensor:
    found = torch.zeros(28, 28, dtype=torch.bool)
    found[y : y + side, x : x + side] = True
    return found


def test_the_disc_of_torchray_is_in_pixels_of_the_original() -> None:
    """spec/metrics/pointing-game.md: 15 pixels where the shorter side is 224. TorchRay takes the map to the size of the
    original image, and 15 pixels there: tolerance 15*224/s is the same disc, s the original's shorter side."""
    measured("authors/TorchRay, PointingGame/default at 375x500", 15 * 375 / 224)
    measured("authors/TorchRay, PointingGame/theirs at 375x500", 15.0)
    generator = torch.Generator().manual_seed(6)
    maps = torch.rand(40, SIZE, SIZE, generator=generator)
    mask = torch.rand(40, SIZE, SIZE, generator=generator) < 0.0015
    setup = Setup(small_model(), torch.rand(40, 1, SIZE, SIZE), torch.zeros(40, dtype=torch.long), maps, mask)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    for original, radius in ((SIZE, 15.0), (4 * SIZE, 15 / 4)):  # on the grid: 15 pixels of an original of that size
        hits = []
        for map_, truth in zip(maps, mask, strict=True):
            top = int(map_.argmax())
            hits.append(float((truth & ((y - top // SIZE) ** 2 + (x - top % SIZE) ** 2 < radius**2)).any()))
        ours = setup.ours(f"pointing-game|tolerance:{15 * 224 / original}")
        kept = [k for k, status in enumerate(ours.status) if status == "ok"]
        assert 0 < sum(hits) < len(kept)
        assert ours.values[kept].tolist() == [hits[k] for k in kept]


def test_the_similarity_of_sixt_et_al_is_another(grey: Setup) -> None:
    """spec/metrics/random-logit.md: the parameters that equal their code, against the defaults."""
    ramp = torch.linspace(0, 1, P).view(1, SIZE, SIZE)
    one = Setup(grey.model, grey.inputs[:1], grey.targets[:1], ramp, grey.mask[:1])
    for name, parameters in (("theirs", "|window:5|weights:uniform|span:2|clip:1|flip:either"), ("ours", "")):
        score = one.ours(f"random-logit{parameters}", explainer=lambda model, batch: -ramp)
        measured(f"authors/when-explanations-lie, ssim_flipped/{name}", score.mean)


def test_xplique_masks_with_the_absolute_map() -> None:
    """spec/metrics/average-drop.md: each map is min-maxed as it is, so that what speaks against the class is masked most."""
    setup = linear()
    measured("authors/xplique, AverageDropMetric/theirs", with_maps(setup, setup.maps.abs()).ours("average-drop").mean)
    measured("authors/xplique, AverageDropMetric/ours", setup.ours("average-drop").mean)
