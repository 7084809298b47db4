"""Where a public library implements the same definition, both agree to 1e-5 after the stated conversions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import vxp
from torch import Tensor, nn
from vxp import imputation
from vxp.core import Batch, Scattered, Square, Stream, perturb
from vxp.core.segments import slic

from .conftest import (
    BLACK,
    QUIET,
    SIZE,
    Linear,
    P,
    Setup,
    agree,
    bright,
    explained,
    gradient,
    gradient_map,
    library,
    linear,
    noisy,
)

# ------------------------------------------------------------------------------------------- quantus: curves, one channel


@pytest.mark.parametrize(("ours", "softmax"), [("pixel-flipping|steps:28|fill:black", False),
                                                ("deletion|steps:28|fill:black", True)])
def test_pixel_flipping_is_the_curve_without_its_first_point(quantus: Any, grey: Setup, ours: str, softmax: bool) -> None:
    theirs = grey.theirs(quantus.PixelFlipping(features_in_step=P // 28, **BLACK, **QUIET), softmax=softmax)
    curve = grey.ours(ours).curve
    assert curve is not None
    agree(f"quantus {ours}", theirs, curve[:, 1:])


def test_selectivity_is_the_curve_without_its_first_point(quantus: Any, grey: Setup) -> None:
    theirs = grey.theirs(quantus.Selectivity(patch_size=8, **BLACK, **QUIET), softmax=True)
    curve = grey.ours("selectivity|fill:black").curve  # patches of 8 at 56 pixels
    assert curve is not None
    agree("quantus selectivity", theirs, curve[:, 1:])


def test_region_perturbation_is_the_fall_that_aopc_averages(quantus: Any) -> None:
    """9 pixels at 224: 8 at 200, which divides the image."""
    generator = torch.Generator().manual_seed(2)
    inputs, maps = torch.rand(1, 1, 200, 200, generator=generator), torch.rand(1, 200, 200, generator=generator)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(5), nn.Flatten(), nn.Linear(25, 4)).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0.0, 0.5, generator=generator)
    large = Setup(model, inputs, torch.tensor([1]), maps, torch.zeros(1, 200, 200, dtype=torch.bool))
    theirs = large.theirs(quantus.RegionPerturbation(patch_size=8, regions_evaluation=10, **BLACK, **QUIET), softmax=True)
    score = large.ours("aopc|regions:10|fill:black")
    assert score.curve is not None
    agree("quantus aopc, curve", theirs, score.curve[:, :1] - score.curve[:, 1:])
    # the mean over k = 0 to L, of which the first term is zero
    agree("quantus aopc", np.sum(theirs, axis=1) / 11, score.values)


def test_irof_of_the_same_segments_and_fill(quantus: Any, grey: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given VXP's superpixels and the image's own mean. Theirs is n less the area of the n points after the first, with
    steps of width 1; the first two points make VXP's area of it."""
    coarse = torch.rand(3, 1, 7, 7, generator=torch.Generator().manual_seed(3))
    setup = Setup(grey.model, nn.functional.interpolate(coarse, size=(SIZE, SIZE)), grey.targets, grey.maps, grey.mask)
    labels = slic(setup.batch(), 40).numpy()
    theirs = []
    for i in range(3):  # one by one, since images of fewer superpixels are padded in a batch
        rows: list[np.ndarray] = []

        def own_mean(arr: np.ndarray, mask: np.ndarray, own: float = float(setup.inputs[i].mean()),
                     rows: list[np.ndarray] = rows, **_: Any) -> np.ndarray:
            rows.append(np.where(mask, np.float32(own), arr))
            return rows[-1]

        monkeypatch.setattr(quantus.helpers.utils, "get_superpixel_segments", lambda i=i, **_: labels[i])
        metric = quantus.IROF(perturb_func=own_mean, return_aggregate=False, **QUIET)
        over = float(np.ravel(setup.theirs(metric, softmax=True, only=slice(i, i + 1)))[0])
        with torch.no_grad():
            images = torch.cat([setup.inputs[i : i + 1], torch.from_numpy(rows[0])])
            before, after = setup.model(images).softmax(1)[:, setup.targets[i]].tolist()
        n = len(rows)
        theirs.append(1 - ((1 + after / before) / 2 + (n - over)) / n)
    agree("quantus irof", theirs, setup.ours("irof|superpixels:40").values)


def test_road_of_one_channel_and_one_batch(quantus: Any) -> None:
    """Theirs is the share of images per rate; the noise is off there and does not change a class here."""
    setup = bright()
    metric = quantus.ROAD(percentages=list(range(10, 100, 10)), perturb_func_kwargs={"noise": 0.0}, **QUIET)
    curve = setup.ours("road-morf|readout:class-kept").curve
    assert curve is not None
    agree("quantus road-morf", list(setup.theirs(metric).values()), curve.mean(0))
    assert 0 < float(curve.mean()) < 1


# ------------------------------------------------------------------------------------------------- quantus: subsets, cells


@pytest.mark.parametrize("readout", ["probability", "logit"])
def test_faithfulness_estimate(quantus: Any, grey: Setup, readout: str) -> None:
    metric = quantus.FaithfulnessEstimate(features_in_step=P // 28, **BLACK, **QUIET)
    theirs = grey.theirs(metric, softmax=readout == "probability")
    ours = grey.ours(f"faithfulness-estimate|steps:28|fill:black|readout:{readout}").values
    agree(f"quantus faithfulness-estimate {readout}", theirs, ours)


def test_faithfulness_estimate_of_single_pixels_is_the_authors_correlation() -> None:
    """After both published codes, Alvarez-Melis' for SENN and AIX360's: every feature alone is set to the base value, and the
    probabilities of the predicted class that are left are correlated with the attributions, with the sign turned."""
    setup = linear(items=3, size=8)
    ours = setup.ours("faithfulness-estimate|steps:64|fill:black").values
    for i in range(3):
        left = []
        for y, x in itertools.product(range(8), range(8)):
            without = setup.inputs[i].clone()
            without[:, y, x] = 0
            with torch.no_grad():
                left.append(float(setup.model(without[None]).double().softmax(1)[0, 0]))
        wanted = -np.corrcoef(setup.maps[i].flatten().double().numpy(), left)[0, 1]
        assert float(ours[i]) == pytest.approx(wanted, abs=1e-6)


def test_faithfulness_correlation_of_the_same_subsets(quantus: Any, grey: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    n, samples, batch = P * 10 // 100, 30, grey.batch()
    subset = Stream("faithfulness-correlation@1", "subset")
    given = iter([np.flatnonzero(perturb.part(Scattered(subset, draw, n), batch, i).numpy())
                  for draw in range(samples) for i in range(3)])
    monkeypatch.setattr(np.random, "choice", lambda *_, **__: next(given))
    metric = quantus.FaithfulnessCorrelation(nr_runs=samples, subset_size=n, return_aggregate=False, **BLACK, **QUIET)
    ours = grey.ours(f"faithfulness-correlation|samples:{samples}|percent:10|fill:black").values
    agree("quantus faithfulness-correlation", grey.theirs(metric), ours)


def test_non_sensitivity_with_a_pixel_per_cell(quantus: Any) -> None:
    """Theirs counts features one by one, so that on a grid of the image's own size the cells are pixels."""
    model = Linear(1, 8).eval()
    with torch.no_grad():
        model.w[:, 3:] = model.w[:, 3:].sign() * (model.w[:, 3:].abs() + 0.05)
        model.w[:, :3] = 0
    inputs = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1)) + 0.5
    maps = (inputs * model.w).sum(1).detach().abs()
    maps[0, 4, :5], maps[1, 0, 2], maps[2, 0] = 0, 0.3, 0.4  # missed, invented, invented
    setup = Setup(model, inputs, torch.zeros(4, dtype=torch.long), maps, torch.zeros(4, 8, 8, dtype=torch.bool))
    theirs = np.array(setup.theirs(quantus.NonSensitivity(**BLACK, **QUIET))) / 64
    agree("quantus non-sensitivity", theirs, setup.ours("non-sensitivity|grid:8|fill:black").values)
    assert theirs.tolist() == [5 / 64, 1 / 64, 8 / 64, 0]


# ------------------------------------------------------------------------------------------------- quantus: maps and truth


@pytest.mark.parametrize(("ours", "name", "settings"), [
    ("energy-pointing-game", "RelevanceMassAccuracy", {}), ("relevance-rank", "RelevanceRankAccuracy", {}),
    ("attribution-localisation", "AttributionLocalisation", {}), ("mask-auc", "AUC", {}),
    # k is scaled to the image: 1000 at 224 x 224
    ("top-k-intersection|k:1000", "TopKIntersection", {"k": 1000 * P // 224**2}),
    ("entropy", "Complexity", {}), ("gini", "Sparseness", {}),
])
def test_scores_of_unsigned_maps(quantus: Any, grey: Setup, ours: str, name: str, settings: dict[str, Any]) -> None:
    theirs = grey.theirs(getattr(quantus, name)(**settings, **QUIET), truth=True)
    agree(f"quantus {ours}", theirs, grey.ours(ours).values)


def test_pointing_game_without_tolerance(quantus: Any, grey: Setup) -> None:
    setup = Setup(grey.model, grey.inputs, grey.targets, grey.maps.clone(), grey.mask)
    setup.maps[0, 10, 10] = setup.maps[1, 0, 0] = setup.maps[2, 40, 40] = 2.0  # a hit, a miss, a hit
    ours = setup.ours("pointing-game|tolerance:0.001").values
    agree("quantus pointing-game", setup.theirs(quantus.PointingGame(**QUIET), truth=True), ours)
    assert ours.tolist() == [1, 0, 1]


def test_focus_of_a_mosaic_of_four(quantus: Any, grey: Setup) -> None:
    signed, shown = grey.maps - 0.4, np.array([[1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 1, 1]])
    cells = torch.from_numpy(shown).bool().view(3, 2, 2).repeat_interleave(SIZE // 2, 1).repeat_interleave(SIZE // 2, 2)
    setup = Setup(grey.model, grey.inputs, grey.targets, signed, grey.mask)
    theirs = setup.theirs(quantus.Focus(**QUIET), custom_batch=shown)
    agree("quantus focus", theirs, setup.ours("focus", truth={"cells": cells}).values)


def test_effective_complexity_with_the_threshold_as_a_share_of_the_maps_largest(quantus: Any, grey: Setup) -> None:
    theirs = [grey.theirs(quantus.EffectiveComplexity(eps=0.3 * float(grey.maps[i].max()), **QUIET),
                          only=slice(i, i + 1))[0] / P for i in range(3)]
    agree("quantus effective-complexity", theirs, grey.ours("effective-complexity|threshold:0.3").values)


# --------------------------------------------------------------------------------- the same noise, models and other class


@pytest.mark.parametrize(("ours", "name"), [("max-sensitivity", "MaxSensitivity"), ("average-sensitivity", "AvgSensitivity")])
def test_sensitivity_under_the_same_noise(quantus: Any, grey: Setup, ours: str, name: str) -> None:
    setup = explained(grey)
    draws = iter(noisy(setup, 4))
    metric = getattr(quantus, name)(nr_samples=4, perturb_func=lambda arr, indices, **_: next(draws), **QUIET)
    theirs = setup.theirs(metric, explain_func=gradient)
    agree(f"quantus {ours}", theirs, setup.ours(f"{ours}|samples:4", explainer=gradient_map).values)


def test_local_lipschitz_under_the_same_noise_and_of_maps_of_length_one(quantus: Any, grey: Setup) -> None:
    setup = explained(grey)
    draws = iter(noisy(setup, 4))
    metric = quantus.LocalLipschitzEstimate(nr_samples=4, perturb_func=lambda arr, indices, **_: next(draws), **QUIET)
    theirs = np.array(setup.theirs(metric, explain_func=gradient)) / setup.maps.flatten(1).norm(dim=1).numpy()
    agree("quantus local-lipschitz", theirs, setup.ours("local-lipschitz|samples:4", explainer=gradient_map).values)


def away_from_zero() -> tuple[Setup, Callable[..., np.ndarray]]:
    """A model, inputs and maps without a value near zero, so that nobody's guard against division by zero takes part, and
    with one class far ahead, so that no draw changes it."""
    generator = torch.Generator().manual_seed(5)
    model = nn.Sequential(nn.Conv2d(1, 4, 5, stride=2, padding=2), nn.Softplus(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
                          nn.Linear(64, 5)).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0.0, 0.4, generator=generator)
        model[4].bias[2] += 8

    def explain(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
        found: np.ndarray = 1 + np.tanh(gradient(model, inputs, targets)) * np.asarray(inputs)
        return found

    inputs, targets = torch.rand(3, 1, SIZE, SIZE, generator=generator) * 0.8 + 0.4, torch.full((3,), 2)
    maps = torch.from_numpy(explain(model, inputs, targets))[:, 0]
    return Setup(model, inputs, targets, maps, torch.zeros_like(maps, dtype=torch.bool)), explain


@pytest.mark.parametrize(("ours", "name", "settings", "elements"), [
    # norms of maps over norms of inputs of as many elements, of 5 logits, of 64 units: VXP takes root mean squares
    ("relative-input-stability", "RelativeInputStability", {}, P),
    ("relative-output-stability", "RelativeOutputStability", {}, 5),
    ("relative-representation-stability", "RelativeRepresentationStability", {"layer_names": ["3"]}, 64),
])
def test_relative_stability_under_the_same_noise(
    quantus: Any, ours: str, name: str, settings: dict[str, Any], elements: int
) -> None:
    setup, explain = away_from_zero()
    draws = iter(noisy(setup, 4))
    metric = getattr(quantus, name)(nr_samples=4, perturb_func=lambda arr, indices, **_: next(draws), **settings, **QUIET)
    theirs = np.array(setup.theirs(metric, explain_func=explain)) * np.sqrt(elements / P)
    score = setup.ours(f"{ours}|samples:4",
                       explainer=lambda model, batch: torch.from_numpy(explain(model, batch.inputs, batch.targets))[:, 0])
    agree(f"quantus {ours}", theirs, score.values)


def drawn(setup: Setup, stream: str, **how: Any) -> nn.Module:
    """The model as VXP randomises it."""
    return vxp.models.randomised(setup.model, stream, 0, **how)


def test_mprt_of_the_same_random_models(quantus: Any, grey: Setup) -> None:
    """Given VXP's models in place of their own, layer by layer, and read per layer: their average has a fault."""
    setup = explained(grey)
    states = iter([setup.model, *(drawn(setup, "mprt@1", mode="cascading", stage=k, stages=3) for k in (1, 2, 3))])
    metric = quantus.MPRT(similarity_func=quantus.similarity_func.correlation_spearman, **QUIET)
    found = setup.theirs(metric, explain_func=lambda model, inputs, targets, **_: gradient(next(states), inputs, targets))
    score = setup.ours("mprt|stages:3", explainer=gradient_map)
    by_layer = np.array([found[layer] for layer in found if layer != "original"]).T
    assert score.curve is not None
    agree("quantus mprt, curve", by_layer, score.curve)
    agree("quantus mprt", by_layer.mean(1), score.values)


def test_efficient_mprt_of_the_same_random_model(quantus: Any, grey: Setup) -> None:
    setup = explained(grey)
    states = iter([setup.model, drawn(setup, "efficient-mprt@1")])
    theirs = setup.theirs(quantus.EfficientMPRT(**QUIET), softmax=True,  # it also takes the entropy of the model's output
                          explain_func=lambda model, inputs, targets, **_: gradient(next(states), inputs, targets))
    agree("quantus efficient-mprt", theirs, setup.ours("efficient-mprt", explainer=gradient_map).values)


def test_random_logit_of_the_same_other_class_and_in_two_dimensions(quantus: Any, grey: Setup) -> None:
    """With scikit-image's SSIM of maps min-maxed one by one as the similarity, the window of Wang et al. 2004."""
    compare = library("skimage.metrics").structural_similarity
    asked: list[Tensor] = []

    def peaks(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
        """Mostly dark, so that the small constants of SSIM take part."""
        found: np.ndarray = gradient(model, inputs, targets) ** 4
        return found

    def remembering(model: nn.Module, batch: Batch) -> Tensor:
        asked.append(batch.targets.clone())
        return torch.from_numpy(peaks(model, batch.inputs, batch.targets))[:, 0]

    maps = torch.from_numpy(peaks(grey.model, grey.inputs, grey.targets))[:, 0]
    setup = Setup(grey.model, grey.inputs, grey.targets, maps, grey.mask)

    def similarity(a: np.ndarray, b: np.ndarray, batched: bool) -> list[float]:
        pairs = [[(v - v.min()) / (v.max() - v.min()) for v in pair]
                 for pair in zip(a.astype(float), b.astype(float), strict=True)]
        return [compare(x.reshape(SIZE, SIZE), y.reshape(SIZE, SIZE), data_range=1.0, gaussian_weights=True, sigma=1.5,
                        use_sample_covariance=False) for x, y in pairs]

    score = setup.ours("random-logit", explainer=remembering)
    theirs = setup.theirs(quantus.RandomLogit(num_classes=5, similarity_func=similarity, **QUIET),
                          explain_func=lambda model, inputs, targets, **_: peaks(model, inputs, asked[0]))
    agree("quantus random-logit", theirs, score.values)


@pytest.mark.parametrize("clip", [1.0, 0.5])
def test_random_logit_as_in_the_authors_code(grey: Setup, clip: float) -> None:
    """Sixt et al. call scikit-image's SSIM with a window of 5 and else its defaults, on maps scaled from the percentile
    100 - clip (to 0) to the percentile clip (to 1), and take the greater of the values for the map and its negative."""
    compare = library("skimage.metrics").structural_similarity
    asked: list[np.ndarray] = []

    def remembering(model: nn.Module, batch: Batch) -> Tensor:
        asked.append(gradient(model, batch.inputs, batch.targets))
        return torch.from_numpy(asked[-1])[:, 0]

    maps = torch.from_numpy(gradient(grey.model, grey.inputs, grey.targets))[:, 0]
    setup = Setup(grey.model, grey.inputs, grey.targets, maps, grey.mask)
    score = setup.ours(f"random-logit|window:5|weights:uniform|span:2|clip:{clip}|flip:either", explainer=remembering)

    def between(values: np.ndarray) -> np.ndarray:
        ends = np.percentile(values.astype(float), [100 - clip, clip])
        return np.asarray(np.interp(-values.astype(float), -ends, [0, 1]))

    theirs = [max(compare(between(a), between(other), win_size=5, data_range=2.0) for other in (b, -b))
              for a, b in zip(maps.numpy(), asked[0][:, 0], strict=True)]
    agree("scikit-image random-logit", theirs, score.values)


# ---------------------------------------------------------------------------------------------------------------- captum


def test_captums_sensitivity_under_the_same_noise(grey: Setup) -> None:
    metrics = library("captum.metrics")
    setup = explained(grey)
    rows = torch.from_numpy(np.stack(noisy(setup, 4), axis=1)).view(12, 1, SIZE, SIZE)  # items repeated, as captum does

    def explain(inputs: tuple[Tensor], target: Tensor) -> tuple[Tensor]:
        return (torch.from_numpy(gradient(setup.model, inputs[0], target)),)

    theirs = metrics.sensitivity_max(explain, setup.inputs, perturb_func=lambda inputs, *_: (rows,), n_perturb_samples=4,
                                     target=setup.targets)
    agree("captum max-sensitivity", theirs.detach(), setup.ours("max-sensitivity|samples:4", explainer=gradient_map).values)


def test_captums_infidelity_of_the_same_squares(rgb: Setup) -> None:
    """captum sums attribution times perturbation: with contributions, the perturbation is 1 where the square is."""
    metrics = library("captum.metrics")
    samples, side = 9, 20  # 10 at 28 pixels
    gone = torch.stack([perturb.part(Square(Stream("infidelity@1", "square"), draw, side), rgb.batch(), i).view(1, SIZE, SIZE)
                        for i in range(3) for draw in range(samples)]).float()

    def perturbed(inputs: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        return gone.expand(-1, 3, -1, -1), inputs * (1 - gone)

    spread = rgb.maps[:, None].expand(-1, 3, -1, -1) / 3
    theirs = metrics.infidelity(rgb.model, perturbed, rgb.inputs, spread, target=rgb.targets, n_perturb_samples=samples,
                                normalize=True)
    agree("captum infidelity", theirs.detach(), rgb.ours(f"infidelity|samples:{samples}|fill:black").values)


# -------------------------------------------------------------------------------------------------------------- grad-cam


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_imputation_of_grad_cam_without_noise(share: float) -> None:
    road = library("pytorch_grad_cam.metrics.road")
    generator = torch.Generator().manual_seed(0)
    image, keep = torch.rand(3, 32, 36, generator=generator), (torch.rand(32, 36, generator=generator) > share).float()
    theirs = road.NoisyLinearImputer(noise=0.0)(image, keep)
    ours = imputation.nli(image[None], keep[None] == 0, mean=(0.0, 0.0, 0.0))[0]
    agree(f"grad-cam imputation {share}", theirs, ours, within=1e-4)  # where VXP's iterative solver stops


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_imputation_of_quantus_without_noise(quantus: Any, share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    image, gone = torch.rand(3, 32, 32, generator=generator), torch.rand(32, 32, generator=generator) <= share
    indices = np.flatnonzero(gone.numpy())
    theirs = quantus.perturb_func.noisy_linear_imputation(arr=image.double().numpy(), indices=indices, noise=0.0)
    agree(f"quantus imputation {share}", theirs, imputation.nli(image[None], gone[None], mean=(0.0, 0.0, 0.0))[0], within=1e-4)


def test_grad_cams_drop_and_increase_on_a_map_in_the_unit_range(rgb: Setup) -> None:
    """Their mask multiplies the model's input, which is the fill `mean`; their map is taken as it is, so give it min-maxed.
    Their drop is the difference itself, and not its share of the probability."""
    change = library("pytorch_grad_cam.metrics.cam_mult_image")
    softmax = library("pytorch_grad_cam.utils.model_targets").ClassifierOutputSoftmaxTarget
    maps = perturb.minmax(rgb.maps)
    targets = [softmax(int(t)) for t in rgb.targets]
    drop = change.DropInConfidence()(rgb.inputs, maps.numpy(), targets, rgb.model)
    rise = change.IncreaseInConfidence()(rgb.inputs, maps.numpy(), targets, rgb.model)
    ours = vxp.score(rgb.model, rgb.inputs, maps, rgb.targets,
                     metrics=["average-drop|fill:mean", "increase-in-confidence|fill:mean"])
    with torch.no_grad():
        before = rgb.model(rgb.inputs).softmax(1).gather(1, rgb.targets[:, None])[:, 0].numpy()
    agree("grad-cam average-drop", np.asarray(drop) / before, ours["average-drop"].values)
    agree("grad-cam increase-in-confidence", rise, ours["increase-in-confidence"].values)


def test_adcc_of_grad_cams_parts(rgb: Setup) -> None:
    """Coherency, complexity and drop of min-maxed maps, put together as in the paper; its ARCC has ROAD for the drop."""
    parts, change = library("pytorch_grad_cam.metrics.arcc"), library("pytorch_grad_cam.metrics.cam_mult_image")
    softmax = library("pytorch_grad_cam.utils.model_targets").ClassifierOutputSoftmaxTarget
    setup = explained(rgb)
    maps, targets = perturb.minmax(setup.maps), [softmax(int(t)) for t in rgb.targets]

    def again(input_tensor: Tensor, targets: Any) -> np.ndarray:
        found: np.ndarray = perturb.minmax(torch.from_numpy(gradient(rgb.model, input_tensor, rgb.targets))[:, 0]).numpy()
        return found

    coherency = parts.Coherency()(rgb.inputs, maps.numpy(), targets, rgb.model, again)
    with torch.no_grad():
        before = rgb.model(rgb.inputs).softmax(1).gather(1, rgb.targets[:, None])[:, 0].numpy()
    drop = np.asarray(change.DropInConfidence()(rgb.inputs, maps.numpy(), targets, rgb.model)) / before
    theirs = 3 / (1 / coherency + 1 / (1 - parts.Complexity()(maps.numpy())) + 1 / (1 - drop))
    agree("grad-cam adcc", theirs, setup.ours("adcc|fill:mean", explainer=gradient_map).values)


# ------------------------------------------------------------------------------------------------------------ pysaliency


def gaze() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(9)
    looked, others = torch.zeros(3, P), torch.zeros(3, P)
    for counts, n in ((looked, 40), (others, 90)):
        counts.scatter_add_(1, torch.randint(0, P, (3, n), generator=generator), torch.ones(3, n))
    looked, others = looked.view(3, SIZE, SIZE), others.view(3, SIZE, SIZE)
    density = nn.functional.avg_pool2d(looked[:, None], 9, 1, 4)[:, 0]
    return {"density": density, "fixations": looked, "other-fixations": others}


def places(counts: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the fixations, each as often as it was looked at."""
    flat = np.repeat(np.arange(P), counts.flatten().long().numpy())
    return flat % SIZE, flat // SIZE


@pytest.mark.parametrize(("ours", "name"), [("pcc", "CC"), ("sim", "SIM"), ("kld", "MIT_KLDiv")])
def test_maps_against_a_gaze_density(grey: Setup, ours: str, name: str) -> None:
    metric, truth = getattr(library("pysaliency.metrics"), name), gaze()
    with np.errstate(all="ignore"):
        theirs = [metric(a, b) for a, b in zip(grey.maps.double().numpy(), truth["density"].double().numpy(), strict=True)]
    agree(f"pysaliency {ours}", theirs, grey.ours(ours, truth=truth).values)


def test_scanpath_saliency(grey: Setup) -> None:
    metrics, truth = library("pysaliency.metrics"), gaze()
    theirs = [metrics.NSS(values, *places(truth["fixations"][i])).mean() for i, values in enumerate(grey.maps.numpy())]
    agree("pysaliency nss", theirs, grey.ours("nss", truth=truth).values)


def test_areas_under_the_curve_of_fixations(grey: Setup) -> None:
    """auc-judd is their AUC with `unfixated` pixels, shuffled-auc the one with the fixations of other images."""
    roc, truth = library("pysaliency.roc"), gaze()
    judd, shuffled = [], []
    for i, values in enumerate(grey.maps.double().numpy()):
        (x, y), (ox, oy) = places(truth["fixations"][i]), places(truth["other-fixations"][i])
        judd.append(roc.general_roc(values[y, x], values[truth["fixations"][i].numpy() == 0])[0])
        shuffled.append(roc.general_roc(values[y, x], values[oy, ox])[0])
    agree("pysaliency auc-judd", judd, grey.ours("auc-judd", truth=truth).values)
    agree("pysaliency shuffled-auc", shuffled, grey.ours("shuffled-auc", truth=truth).values)
