"""Where a public library gives another number than the definition, shown on a case whose answer is known.

Every test fails if the library changes: then the page docs/differences.md has to change as well. The numbers of the page
are those that are measured here, under library/row/what. Each docstring names the page or clause that the library departs
from. Not every departure is a fault: the page says which is which.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
import vxp
from torch import Tensor, nn
from vxp.kinds import HEATMAP2D

from .conftest import (
    BLACK,
    QUIET,
    SIZE,
    P,
    Setup,
    bright,
    explained,
    gradient,
    gradient_map,
    library,
    linear,
    measured,
    noisy,
)
from .test_agreement import gaze


def scores(setup: Setup, metric: Any, **arguments: Any) -> np.ndarray:
    """Their numbers, flat."""
    return np.ravel(np.array(setup.theirs(metric, **arguments), dtype=float))


def with_maps(setup: Setup, maps: Tensor) -> Setup:
    return Setup(setup.model, setup.inputs, setup.targets, maps, setup.mask)


# ------------------------------------------------------------------------------------------------ quantus: faithfulness


def test_monotonicity_is_true_for_every_explanation(quantus: Any) -> None:
    """spec/metrics/monotonicity.md: a baseline is perturbed with the baseline, so that nothing ever changes."""
    setup = linear()
    noise = with_maps(setup, torch.randn(8, 16, 16, generator=torch.Generator().manual_seed(2)))
    measured("quantus/Monotonicity/theirs", scores(noise, quantus.Monotonicity(features_in_step=16, **BLACK, **QUIET)).mean())
    measured("quantus/Monotonicity/ours", noise.ours("monotonicity|steps:16|fill:black").mean)


def test_sensitivity_n_correlates_over_the_images_of_the_first_batch(quantus: Any) -> None:
    """spec/metrics/sensitivity-n.md: one item over random subsets, so that an exact attribution of a linear model has 1. There
    the attributions of one step meet the drop of all steps so far, over the images of the first batch only."""
    setup = linear()
    found = {size: scores(setup, quantus.SensitivityN(features_in_step=32, n_max_percentage=1.0, **BLACK, **QUIET),
                          batch_size=size) for size in (8, 4, 2)}
    for size, values in found.items():
        assert len(values) == 1
        measured(f"quantus/SensitivityN/batches of {size}", values[0])
    ours = setup.ours("sensitivity-n|samples:20|sizes:3|fill:black").values
    assert ours.tolist() == pytest.approx([1.0] * 8, abs=1e-4)
    measured("quantus/SensitivityN/ours", float(ours.min()))
    with pytest.raises(ValueError, match="at least 2"):
        setup.theirs(quantus.SensitivityN(features_in_step=32, n_max_percentage=1.0, **BLACK, **QUIET), only=slice(0, 1))


def test_faithfulness_correlation_takes_channel_values_for_positions_and_is_not_seeded(quantus: Any) -> None:
    """spec/05-common.md, 5.1.1: a position goes with all its channels; 5.9.1: draws are keyed."""
    setup = linear(channels=3)
    runs = []
    for seed in range(5):
        np.random.seed(seed)
        runs.append(scores(setup, quantus.FaithfulnessCorrelation(nr_runs=100, subset_size=25, return_aggregate=False,
                                                                  **BLACK, **QUIET)))
    measured("quantus/FaithfulnessCorrelation/theirs", float(np.mean(runs)))
    measured("quantus/FaithfulnessCorrelation/spread", float(np.std(np.stack(runs), axis=0).mean()))
    whole = quantus.FaithfulnessCorrelation(nr_runs=100, subset_size=25, return_aggregate=False, **BLACK, **QUIET)(
        model=setup.model, x_batch=setup.inputs.numpy().copy(), y_batch=setup.targets.numpy(), device="cpu",
        a_batch=(setup.inputs * setup.model.w).detach().numpy())  # type: ignore[operator]
    measured("quantus/FaithfulnessCorrelation/attributions per channel", float(np.min(whole)))
    ours = setup.ours("faithfulness-correlation|samples:100|percent:10|fill:black").values
    assert ours.tolist() == pytest.approx([1.0] * 8, abs=1e-4)
    measured("quantus/FaithfulnessCorrelation/ours", float(ours.min()))


def test_infidelity_follows_the_scale_of_the_map_and_its_samples_are_one(quantus: Any, grey: Setup) -> None:
    """spec/metrics/infidelity.md: squares are drawn, and the best scale is fitted. There the patches are removed one after the
    other, always the same, and nothing is fitted."""
    def theirs(factor: float, samples: int) -> np.ndarray:
        metric = quantus.Infidelity(perturb_patch_sizes=[14], n_perturb_samples=samples, **BLACK, **QUIET)
        return scores(grey, metric, maps=grey.maps * factor)

    one, ten = theirs(1.0, 1), theirs(1.0, 10)
    measured("quantus/Infidelity/ten times the map", float((theirs(10.0, 1) / one).mean()))
    measured("quantus/Infidelity/ten samples over one", float((ten / one).mean()))
    ours = [with_maps(grey, grey.maps * factor).ours("infidelity|samples:50|fill:black").values for factor in (1.0, 10.0)]
    assert ours[0].tolist() == pytest.approx(ours[1].tolist(), rel=1e-5)
    measured("quantus/Infidelity/ours", float((ours[1] / ours[0]).mean()))


def blocks(**_: Any) -> np.ndarray:
    """Segments of 14 x 14 positions, in place of superpixels, which depend on scikit-image's version."""
    at = np.arange(SIZE) // 14
    return at[:, None] * 4 + at


def test_irof_depends_on_the_batch_and_rewards_a_map_without_effect(
    quantus: Any, grey: Setup, rgb: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """spec/metrics/irof.md: the fill is the image's own mean, and a curve of ones has no area over it."""
    monkeypatch.setattr(quantus.helpers.utils, "get_superpixel_segments", blocks)
    metric = {"return_aggregate": False, **QUIET}
    shades = torch.tensor([0.3, 1, 3]).view(-1, 1, 1, 1)
    setup = Setup(grey.model, grey.inputs * shades, grey.targets, grey.maps, grey.mask)
    measured("quantus/IROF/in a batch of three", scores(setup, quantus.IROF(**metric), softmax=True)[0])
    measured("quantus/IROF/alone", scores(setup, quantus.IROF(**metric), softmax=True, only=slice(0, 1))[0])
    together, alone = (vxp.score(setup.model, setup.inputs[:n], setup.maps[:n], setup.targets[:n], metrics=["irof"])["irof"]
                       for n in (3, 1))
    assert float(together.values[0]) == pytest.approx(float(alone.values[0]), abs=1e-6)

    class Same(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([1.0, 0.0]).expand(len(x), -1)

    still = Setup(Same().eval(), grey.inputs, torch.zeros(3, dtype=torch.long), grey.maps, grey.mask)
    measured("quantus/IROF/no effect", scores(still, quantus.IROF(**metric))[0])
    none = still.ours("irof").values
    assert none.tolist() == pytest.approx([0.0] * 3, abs=1e-6)
    measured("quantus/IROF/no effect, ours", float(none[0]))
    for channels in (1, 3):
        maps = rgb.maps[:, None].expand(-1, channels, -1, -1).numpy().copy()
        with pytest.raises(AssertionError, match="mask shape"):
            quantus.IROF(**metric)(model=rgb.model, x_batch=rgb.inputs.numpy(), y_batch=rgb.targets.numpy(), a_batch=maps,
                                   softmax=True, device="cpu")


def test_road_does_not_run_on_images_of_three_channels(quantus: Any, rgb: Setup) -> None:
    """spec/metrics/road-morf.md: positions are removed with all their channels."""
    with pytest.raises(IndexError) as caught:
        rgb.theirs(quantus.ROAD(percentages=[50], **QUIET))
    measured("quantus/ROAD/three channels", caught.type.__name__)
    assert rgb.ours("road-morf").status == ("ok",) * 3


def test_road_reports_the_first_batch_only(quantus: Any) -> None:
    """spec/metrics/road-morf.md; spec/05-common.md, 5.8.3: a row does not depend on its batch; all items are scored."""
    setup = bright()
    for size in (6, 2):
        metric = quantus.ROAD(percentages=[10, 20, 30], perturb_func_kwargs={"noise": 0.0}, **QUIET)
        found = float(np.mean(list(setup.theirs(metric, batch_size=size).values())))
        measured(f"quantus/ROAD/batches of {size}", found)
    both = [vxp.score(setup.model, setup.inputs, setup.maps, setup.targets, metrics=["road-morf|readout:class-kept"],
                      batch_size=size)["road-morf"] for size in (6, 2)]
    assert both[0].values.equal(both[1].values)
    curve = both[0].curve
    assert curve is not None
    measured("quantus/ROAD/ours", float(curve[:, :3].mean()))


def test_steps_of_width_one_give_a_curve_of_ones_any_area(quantus: Any) -> None:
    """spec/05-common.md, 5.7.3: a constant curve of one has an area of one, whatever the steps."""
    class Same(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([200.0, 0.0]).expand(len(x), -1)

    setup = linear(items=2)
    setup = Setup(Same().eval(), setup.inputs, setup.targets, setup.maps, setup.mask)
    for steps in (4, 64):
        metric = quantus.PixelFlipping(features_in_step=256 // steps, return_auc_per_sample=True, **BLACK, **QUIET)
        measured(f"quantus/PixelFlipping/{steps} steps", scores(setup, metric, softmax=True)[0])
        ours = float(setup.ours(f"deletion|steps:{steps}|fill:black").values[0])
        assert ours == 1.0
    measured("quantus/PixelFlipping/ours", ours)
    with pytest.raises(AssertionError):  # the share of positions per step has to divide the image
        setup.theirs(quantus.PixelFlipping(features_in_step=5, **BLACK, **QUIET))


def test_sufficiency_knows_the_batch_only(quantus: Any) -> None:
    """spec/metrics/sufficiency.md: all items of the set are compared, whatever the batch."""
    setup = linear(items=12)
    kinds = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(4))
    maps = kinds[[0, 1, 2, 0, 1, 1, 2, 2, 0, 0, 1, 2]]
    setup = Setup(setup.model, setup.inputs * torch.tensor([1.0, -1] * 6).view(-1, 1, 1, 1), setup.targets, maps, setup.mask)
    for size in (12, 4, 1):
        metric = quantus.Sufficiency(threshold=0.6, return_aggregate=False, disable_warnings=True)
        measured(f"quantus/Sufficiency/batches of {size}", scores(setup, metric, batch_size=size).mean())
    ours = [vxp.score(setup.model, setup.inputs, setup.maps, setup.targets, metrics=["sufficiency"], batch_size=size)[
        "sufficiency"].mean for size in (12, 4, 1)]
    assert ours[0] == ours[1] == ours[2]
    measured("quantus/Sufficiency/ours", ours[0])


def test_non_sensitivity_in_steps_of_more_than_one_does_not_run(quantus: Any) -> None:
    """spec/metrics/non-sensitivity.md: whole cells are removed, and their sums are compared."""
    setup = linear()
    with pytest.raises(ValueError, match="broadcast") as caught:
        setup.theirs(quantus.NonSensitivity(features_in_step=4, **BLACK, **QUIET))
    measured("quantus/NonSensitivity/four at a time", caught.type.__name__)
    assert setup.ours("non-sensitivity|fill:black").status == ("ok",) * 8


# ------------------------------------------------------------------------------------------------- quantus: localisation


def test_an_empty_truth_is_a_hit_and_every_tied_maximum_counts(quantus: Any, grey: Setup) -> None:
    """spec/metrics/pointing-game.md: an empty truth is undefined; of tied maxima the first in row-major order counts. There a
    NaN is meant for the empty truth, and is written into an array of booleans."""
    nothing = Setup(grey.model, grey.inputs, grey.targets, grey.maps, torch.zeros_like(grey.mask))
    measured("quantus/PointingGame/empty truth", scores(nothing, quantus.PointingGame(**QUIET), truth=True).mean())
    assert nothing.ours("pointing-game").status == ("undefined:empty-truth",) * 3
    flat = torch.zeros_like(grey.maps)
    flat[:, 0, 0] = flat[:, 35, 35] = 1.0
    tied = with_maps(grey, flat)
    measured("quantus/PointingGame/tied", scores(tied, quantus.PointingGame(**QUIET), truth=True).mean())
    measured("quantus/PointingGame/tied, ours", tied.ours("pointing-game|tolerance:0.001").mean)


def test_relevance_mass_of_a_signed_map_is_no_share(quantus: Any, grey: Setup) -> None:
    """spec/metrics/energy-pointing-game.md: only positive relevance counts."""
    signed = with_maps(grey, grey.maps - 0.55 + 0.5 * grey.mask)
    theirs = scores(signed, quantus.RelevanceMassAccuracy(**QUIET), truth=True)
    ours = signed.ours("energy-pointing-game").values
    assert bool(((ours >= 0) & (ours <= 1)).all())
    positive = scores(with_maps(signed, signed.maps.clamp_min(0)), quantus.RelevanceMassAccuracy(**QUIET), truth=True)
    assert positive.tolist() == pytest.approx(ours.tolist(), abs=1e-6)
    measured("quantus/RelevanceMassAccuracy/theirs", theirs[0])
    measured("quantus/RelevanceMassAccuracy/ours", float(ours[0]))


def test_weighted_attribution_localisation_takes_a_size_of_the_batch(quantus: Any, grey: Setup) -> None:
    """spec/metrics/attribution-localisation.md: the ratio is divided by the object's share of the item's own image. There it is
    multiplied, by the share of the pixels of all images but the first two, `x_batch[2:].size`: a batch of one has none, and a
    batch of three happens to have those of one image."""
    def score(items: int) -> float:
        rows = torch.arange(items) % 3
        many = Setup(grey.model, grey.inputs[rows], grey.targets[rows], grey.maps[rows], grey.mask[rows])
        return float(scores(many, quantus.AttributionLocalisation(weighted=True, **QUIET), truth=True)[0])

    measured("quantus/AttributionLocalisation(weighted=True)/alone", "infinite" if np.isinf(score(1)) else "finite")
    for items in (3, 12):
        measured(f"quantus/AttributionLocalisation(weighted=True)/of {items}", score(items))
    share = float(grey.mask[0].float().mean())
    plain, weighted = (float(grey.ours(f"attribution-localisation|weighting:{how}").values[0]) for how in ("none", "size"))
    assert score(3) == pytest.approx(plain * share, abs=1e-6)
    assert weighted == pytest.approx(plain / share, abs=1e-6)
    measured("quantus/AttributionLocalisation(weighted=True)/ours", weighted)


# ------------------------------------------------------------------------------- quantus: normalisation, complexity, axioms


def test_effective_complexity_depends_on_the_neighbours(quantus: Any) -> None:
    """spec/metrics/effective-complexity.md: each map is judged by its own largest value."""
    maps = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    maps[1] *= 1e5
    setup = with_maps(linear(items=2), maps)
    settings = {"eps": 5e-6, "disable_warnings": True}
    measured("quantus/EffectiveComplexity/beside a larger map", scores(setup, quantus.EffectiveComplexity(**settings))[0])
    measured("quantus/EffectiveComplexity/alone", scores(setup, quantus.EffectiveComplexity(**settings), only=slice(0, 1))[0])
    first = Setup(setup.model, setup.inputs[:1], setup.targets[:1], maps[:1], setup.mask[:1])
    assert float(setup.ours("effective-complexity").values[0]) == float(first.ours("effective-complexity").values[0])


def test_one_nan_in_one_map_takes_every_image_of_the_batch(quantus: Any, grey: Setup) -> None:
    """spec/05-common.md, 5.3.4: a map that is not finite is undefined:non-finite-map, and the others are not touched."""
    broken = with_maps(grey, grey.maps.clone())
    broken.maps[1, 3, 3] = float("nan")
    lost = np.isnan(scores(broken, quantus.Sparseness(disable_warnings=True)))
    measured("quantus/normalise=True/lost to one NaN", float(lost.sum()))
    kept = np.isnan(scores(broken, quantus.Sparseness(**QUIET)))
    measured("quantus/normalise=True/with normalise=False", float(kept.sum()))
    score = broken.ours("gini")
    assert score.status == ("ok", "undefined:non-finite-map", "ok")
    assert score.values[[0, 2]].equal(grey.ours("gini").values[[0, 2]])
    measured("quantus/normalise=True/lost to one NaN, ours", float(score.values.isnan().sum()))


def test_completeness_compares_floats_for_equality(quantus: Any) -> None:
    """spec/metrics/completeness.md: a relative gap; an exact explanation has 0 but for rounding."""
    setup = linear(items=32)
    complete = scores(setup, quantus.Completeness(**BLACK, **QUIET)).mean()
    # how many pass is a matter of the machine's order of summation
    measured("quantus/Completeness/theirs", "not all" if complete < 1 else "all")
    gaps = setup.ours("completeness|fill:black").values
    measured("quantus/Completeness/ours, largest gap", float(gaps.max()))


def test_input_invariance_has_an_absolute_tolerance(quantus: Any) -> None:
    """spec/metrics/input-invariance.md: the change is relative to the map, so that no map is invariant by being small."""
    setup = linear()

    def times_input(scale: float) -> tuple[Any, Any]:
        def explain(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
            found: np.ndarray = scale * gradient(model, inputs, targets) * np.asarray(inputs)
            return found

        return explain, lambda model, batch: torch.from_numpy(explain(model, batch.inputs, batch.targets))[:, 0]

    # the same linear model as a convolution: their shift goes into the bias of the first module, which has to be one
    model = nn.Sequential(nn.Conv2d(1, 2, 16), nn.Flatten()).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.stack([setup.model.w, torch.zeros(1, 16, 16)]))
        model[0].bias.zero_()
    for scale in (1.0, 1e-5):
        explain, explainer = times_input(scale)
        maps = torch.from_numpy(explain(model, setup.inputs, setup.targets))[:, 0]
        one = Setup(model, setup.inputs, setup.targets, maps, setup.mask)
        metric = quantus.InputInvariance(abs=False, normalise=False, input_shift=-1, disable_warnings=True)
        measured(f"quantus/InputInvariance/map times {scale:g}", scores(one, metric, explain_func=explain).mean())
        ours = one.ours("input-invariance", explainer=explainer)
        measured(f"quantus/InputInvariance/map times {scale:g}, ours", ours.mean)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(256, 2)).eval()
    other = Setup(flat, setup.inputs, setup.targets, setup.maps, setup.mask)
    with pytest.raises(AttributeError, match="out_channels"):
        other.theirs(quantus.InputInvariance(abs=False, normalise=False, input_shift=-1, disable_warnings=True),
                     explain_func=gradient)
    assert other.ours("input-invariance", explainer=gradient_map).status == ("ok",) * 8


# ------------------------------------------------------------------------------------------- quantus: robustness, sanity


STABILITIES = [("relative-input-stability", "RelativeInputStability", {}),
               ("relative-output-stability", "RelativeOutputStability", {}),
               ("relative-representation-stability", "RelativeRepresentationStability", {"layer_names": ["5"]})]


@pytest.mark.parametrize(("ours", "name", "settings"), STABILITIES)
def test_a_change_of_class_takes_the_whole_items_score(
    quantus: Any, grey: Setup, ours: str, name: str, settings: dict[str, Any]
) -> None:
    """spec/metrics/relative-input-stability.md: draws that change the class are dropped, the others count."""
    setup = explained(grey)
    draws = iter([setup.inputs.flatten(1).numpy() * factor + 1e-3 for factor in (1, 1, 1, -3)])
    metric = getattr(quantus, name)(nr_samples=4, perturb_func=lambda arr, indices, **_: next(draws), **settings, **QUIET)
    theirs = scores(setup, metric, explain_func=gradient)
    with torch.no_grad():
        changed = (setup.model(-3 * setup.inputs + 1e-3).argmax(1) != setup.targets).numpy()
    assert changed.any()
    assert np.isfinite(theirs[~changed]).all()
    measured("quantus/RelativeInputStability/one draw of four", "NaN" if np.isnan(theirs[changed]).all() else "a number")
    wide = setup.ours(f"{ours}|samples:12|radius:2.0", explainer=gradient_map)
    with torch.no_grad():
        moved = torch.stack([setup.model(torch.from_numpy(row).view_as(setup.inputs)).argmax(1) != setup.targets
                             for row in noisy(setup, 12, 2.0)])
    some = moved.any(0) & ~moved.all(0)
    assert bool(some.any())
    assert bool(wide.values[some].isfinite().all())


@pytest.mark.parametrize(("name", "settings"), [(name, settings) for _, name, settings in STABILITIES])
def test_the_noise_of_relative_stability_only_brightens(
    quantus: Any, grey: Setup, name: str, settings: dict[str, Any]
) -> None:
    """spec/05-common.md, 5.9.11: input noise is symmetric."""
    np.random.seed(0)
    zeros = np.zeros((1, 4096))
    metric = getattr(quantus, name)(nr_samples=1, **settings, **QUIET)
    noise = metric.perturb_func(arr=zeros, indices=np.arange(4096)[None])
    measured("quantus/Relative…Stability, the noise/smallest", float(noise.min()))
    measured("quantus/Relative…Stability, the noise/mean", float(noise.mean()))
    both_ways = {"upper_bound": None, "lower_bound": 0.2}
    metric = getattr(quantus, name)(nr_samples=1, perturb_func_kwargs=both_ways, **settings, **QUIET)
    assert abs(float(metric.perturb_func(arr=zeros, indices=np.arange(4096)[None]).mean())) < 1e-2
    ours = np.stack(noisy(Setup(grey.model, torch.zeros_like(grey.inputs), grey.targets, grey.maps, grey.mask), 4))
    assert abs(float(ours.mean())) < 5e-3
    measured("quantus/Relative…Stability, the noise/smallest, ours", float(ours.min()))


def test_this_quantus_keeps_the_target_when_the_input_is_perturbed(quantus: Any, grey: Setup) -> None:
    """spec/metrics/max-sensitivity.md: the explained class stays that of x. Earlier code asked for the class of the noisy
    input; quantus 0.6.0 does not, and the page says so."""
    setup, asked = explained(grey), []

    def explain(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
        asked.append(np.asarray(targets).copy())
        return gradient(model, inputs, targets)

    for name in ("MaxSensitivity", "AvgSensitivity", "LocalLipschitzEstimate", "RelativeInputStability",
                 "RelativeOutputStability"):
        metric = getattr(quantus, name)(nr_samples=2, perturb_func=lambda arr, indices, **_: arr * -3 + 1e-3, **QUIET)
        setup.theirs(metric, explain_func=explain)
    assert len(asked) == 10
    assert all((targets == setup.targets.numpy()).all() for targets in asked)


def test_the_average_of_mprt_counts_the_model_as_it_is(quantus: Any, grey: Setup) -> None:
    """spec/metrics/mprt.md: the mean is over the randomised models. There the untouched model's 1 is to be left out by the name
    `orig`, and is stored under `original`."""
    setup, alike = explained(grey), quantus.similarity_func.correlation_spearman
    by_layer = setup.theirs(quantus.MPRT(similarity_func=alike, **QUIET), explain_func=gradient)
    assert by_layer.pop("original") == pytest.approx([1.0] * 3)
    metric = quantus.MPRT(similarity_func=alike, return_average_correlation=True, **QUIET)
    average = scores(setup, metric, explain_func=gradient)
    layers = np.mean(list(by_layer.values()), axis=0)
    assert average.tolist() == pytest.approx(((1 + 3 * layers) / 4).tolist(), abs=1e-6)
    measured("quantus/MPRT, average/theirs", average[0])
    measured("quantus/MPRT, average/of the layers", layers[0])


def transformer() -> nn.Module:
    """torchvision's vision transformer in the proportions of ViT-B, twelve blocks, in small."""
    return library("torchvision.models.vision_transformer").VisionTransformer(
        image_size=32, patch_size=8, num_layers=12, num_heads=2, hidden_dim=24, mlp_dim=96, num_classes=10).eval()


def matrices(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if value.ndim == 2}


def test_matrices_of_one_shape_are_randomised_to_twins_and_some_not_at_all(quantus: Any) -> None:
    """spec/metrics/mprt.md, mprt.5: every tensor has its own key, and none is left out."""
    torch.manual_seed(0)
    model = transformer()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = quantus.helpers.model.pytorch_model.PyTorchModel(model, channel_first=True, device="cpu")
    *_, (_, last) = wrapped.get_random_layer_generator("top_down", 42)
    redrawn = {name: value for name, value in matrices(last).items() if not value.equal(before[name])}
    twins = [name for name, value in redrawn.items()
             if any(value.equal(other) for at, other in redrawn.items() if at != name)]
    measured("quantus/MPRT, EfficientMPRT/twins", float(len(twins)))
    measured("quantus/MPRT, EfficientMPRT/matrices", float(len(redrawn)))
    # zeros and ones that are reset to zeros and ones were drawn; weights that keep their random values were not
    kept = [name for name, value in last.state_dict().items() if value.equal(before[name]) and len(value.unique()) > 1]
    numbers = sum(before[name].numel() for name in kept)
    measured("quantus/MPRT, EfficientMPRT/never drawn", 100 * numbers / sum(value.numel() for value in before.values()))
    assert sum("in_proj_weight" in name for name in kept) == 12
    ours = vxp.models.randomised(model, "mprt@1", 42).state_dict()
    drawn = [value for value in ours.values() if value.ndim == 2]
    assert len({tuple(value.flatten()[:4].tolist()) for value in drawn}) == len(drawn)
    assert not any(ours[name].equal(before[name]) for name in kept)


def test_the_similarity_of_flattened_maps_depends_on_how_the_image_lies(quantus: Any) -> None:
    """spec/metrics/random-logit.md: structural similarity is two-dimensional."""
    generator = torch.Generator().manual_seed(12)
    a, b = (torch.rand(32, 32, generator=generator).cumsum(1).numpy() for _ in range(2))
    ssim = quantus.similarity_func.ssim
    measured("quantus/RandomLogit, MPRT with SSIM/upright", float(np.ravel(ssim(a.ravel(), b.ravel()))[0]))
    measured("quantus/RandomLogit, MPRT with SSIM/turned", float(np.ravel(ssim(a.T.ravel(), b.T.ravel()))[0]))
    one, other = (torch.from_numpy(np.stack([v, v.T])).contiguous() for v in (a, b))
    upright, turned = vxp.metrics.random_logit.ssim(one / 32, other / 32, 11, 1.5).tolist()
    assert upright == pytest.approx(turned, abs=1e-9)


def test_random_logit_seeds_numpys_generator_anew(quantus: Any, grey: Setup) -> None:
    """spec/05-common.md, 5.9.1: no global generator is read, seeded or changed."""
    def after(seed: int) -> float:
        np.random.seed(seed)
        explained(grey).theirs(quantus.RandomLogit(num_classes=5, similarity_func=lambda a, b, batched: [0.0] * len(a),
                                                   **QUIET), explain_func=gradient)
        return float(np.random.rand())

    draws = [after(1), after(2)]
    measured("quantus/random numbers/after seeds 1 and 2", "equal" if draws[0] == draws[1] else "different")
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    explained(grey).ours("random-logit", explainer=gradient_map)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


# --------------------------------------------------------------------------------------------- quantus: the library itself


def test_black_is_the_smallest_value_of_the_image(quantus: Any) -> None:
    """spec/05-common.md, 5.6.2: black is raw 0."""
    value = quantus.helpers.utils.get_baseline_value("black", np.full((1, 4), 0.3), return_shape=(1,))
    measured("quantus/perturb_baseline=\"black\"/theirs", float(np.ravel(value)[0]))


def test_one_failing_metric_loses_the_results_of_all(quantus: Any, grey: Setup) -> None:
    """spec/05-common.md, 5.11.3: a failure is a status of its own scores. There the error is printed, and then a KeyError ends
    the call."""
    def fails(**_: Any) -> list[float]:
        raise RuntimeError("no gradient here")

    with pytest.raises(KeyError) as caught:
        quantus.evaluate(metrics={"good": quantus.Sparseness(disable_warnings=True), "bad": fails},
                         xai_methods={"map": grey.maps[:, None].numpy()}, model=grey.model, x_batch=grey.inputs.numpy(),
                         y_batch=grey.targets.numpy(), call_kwargs={"call": {"device": "cpu"}})
    measured("quantus/evaluate/one metric of two fails", caught.type.__name__)

    def broken(model: nn.Module, batch: Any) -> Tensor:
        raise RuntimeError("no gradient here")

    both = vxp.score(grey.model, grey.inputs, grey.maps, grey.targets, metrics=["gini", "max-sensitivity|samples:1"],
                     explainer=broken)
    assert both["gini"].status == ("ok",) * 3
    assert both["max-sensitivity"].status == ("failed:explainer-error",) * 3


def test_input_is_checked_by_assertions(quantus: Any, grey: Setup) -> None:
    """No clause: vxp.VxpError says what was got and what was expected; assertions are gone under `python -O`."""
    half = Setup(grey.model, grey.inputs, grey.targets, grey.maps, grey.mask[:, : SIZE // 2])
    with pytest.raises(AssertionError) as caught:
        half.theirs(quantus.PointingGame(**QUIET), truth=True)
    measured("quantus/input checks/a mask of another size", caught.type.__name__)
    with pytest.raises(vxp.VxpError, match=r"\(3, 28, 56\) bool, expected a tensor \(3, 56, 56\)"):
        half.ours("pointing-game")


def test_names_that_numpy_took_away(quantus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No clause: what the user of NumPy 2.4 meets."""
    monkeypatch.delattr(np, "trapz")
    setup = linear(items=2)
    with pytest.raises(AttributeError, match="trapz"):
        setup.theirs(quantus.PixelFlipping(features_in_step=64, return_auc_per_sample=True, **BLACK, **QUIET))
    metric = quantus.Continuity(nr_steps=2, return_nan_when_prediction_changes=True, disable_warnings=True)
    with pytest.raises(AttributeError, match="NaN"):
        setup.theirs(metric, explain_func=gradient)


# -------------------------------------------------------------------------------------------------------------- grad-cam


def sparse(share: float) -> Tensor:
    """A map as a ReLU leaves it: this share of zeros, the rest distinct."""
    values = torch.randperm(P, generator=torch.Generator().manual_seed(0)).float() - int(share * P)
    return values.clamp_min(0) / P


@pytest.mark.parametrize("which", ["Most", "Least"])
def test_a_percentile_of_a_sparse_map_removes_another_share_than_it_says(rgb: Setup, which: str) -> None:
    """spec/metrics/road-morf.md, road-lerf.md: removal is by rank. A map with 60 % zeros, half of which is to be removed."""
    module = library("pytorch_grad_cam.metrics.perturbation_confidence")
    seen: list[np.ndarray] = []

    def imputer(image: Tensor, mask: Tensor) -> Tensor:
        seen.append(np.asarray(mask))
        return image

    getattr(module, f"Remove{which}RelevantFirst")(percentile=50, imputer=imputer)(rgb.inputs[0], sparse(0.6))
    measured(f"grad-cam/ROADMostRelevantFirst, ROADLeastRelevantFirst/{which.lower()} first",
             float(100 * (seen[0] == 0).mean()))


def test_drop_in_confidence_is_no_share(rgb: Setup) -> None:
    """spec/metrics/average-drop.md: the fall is divided by the probability; grad-cam's is the difference itself."""
    change = library("pytorch_grad_cam.metrics.cam_mult_image")
    softmax = library("pytorch_grad_cam.utils.model_targets").ClassifierOutputSoftmaxTarget
    maps = vxp.core.perturb.minmax(rgb.maps)
    targets = [softmax(int(t)) for t in rgb.targets]
    measured("grad-cam/DropInConfidence/theirs", float(np.mean(change.DropInConfidence()(rgb.inputs, maps.numpy(), targets,
                                                                                         rgb.model))))
    measured("grad-cam/DropInConfidence/ours", rgb.ours("average-drop|fill:mean").mean)


def test_the_maps_of_grad_cams_change_in_confidence_are_taken_as_they_are(rgb: Setup) -> None:
    """spec/metrics/average-drop.md: each map is min-maxed first, so that its scale does not count."""
    change = library("pytorch_grad_cam.metrics.cam_mult_image")
    softmax = library("pytorch_grad_cam.utils.model_targets").ClassifierOutputSoftmaxTarget
    maps, targets = vxp.core.perturb.minmax(rgb.maps), [softmax(int(t)) for t in rgb.targets]
    theirs = [float(np.mean(change.DropInConfidence()(rgb.inputs, (maps * factor).numpy(), targets, rgb.model)))
              for factor in (1.0, 0.1)]
    measured("grad-cam/DropInConfidence/a tenth of the map", theirs[1])
    ours = [with_maps(rgb, maps * factor).ours("average-drop|fill:mean").mean for factor in (1.0, 0.1)]
    assert ours[0] == pytest.approx(ours[1], abs=1e-5)


# ---------------------------------------------------------------------------------------------------------------- captum


def test_captums_infidelity_follows_the_scale_of_the_map_unless_it_is_told(rgb: Setup) -> None:
    """spec/metrics/infidelity.md: the best scale is fitted, which is captum's normalize=True and not its default."""
    infidelity = library("captum.metrics").infidelity
    gone = torch.zeros(3, 1, SIZE, SIZE)
    gone[:, :, 10:30, 15:35] = 1

    def perturbed(inputs: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        away = gone.repeat_interleave(len(inputs) // 3, 0)
        return away.expand(-1, 3, -1, -1), inputs * (1 - away)

    spread = rgb.maps[:, None].expand(-1, 3, -1, -1)
    one, ten = (infidelity(rgb.model, perturbed, rgb.inputs, spread * factor, target=rgb.targets, n_perturb_samples=2).detach()
                for factor in (1.0, 10.0))
    measured("captum/infidelity/ten times the map", float((ten / one).mean()))
    assert inspect.signature(infidelity).parameters["normalize"].default is False


def test_captums_noise_is_the_global_generators_and_its_radius_another(grey: Setup) -> None:
    """spec/metrics/max-sensitivity.md: radius 0.2 and 50 draws, as in the authors' code; 5.9.1: keyed draws."""
    metrics = library("captum.metrics")
    setup = explained(grey)

    def explain(inputs: tuple[Tensor], target: Tensor) -> tuple[Tensor]:
        return (torch.from_numpy(gradient(setup.model, inputs[0], target)),)

    torch.manual_seed(0)
    first, second = (metrics.sensitivity_max(explain, setup.inputs, perturb_radius=0.2, n_perturb_samples=2,
                                             target=setup.targets).detach() for _ in range(2))
    measured("captum/sensitivity_max/two runs", "equal" if first.equal(second) else "different")
    defaults = inspect.signature(metrics.sensitivity_max).parameters
    measured("captum/sensitivity_max/radius", float(defaults["perturb_radius"].default))
    measured("captum/sensitivity_max/draws", float(defaults["n_perturb_samples"].default))
    pair = [setup.ours("max-sensitivity|samples:2", explainer=gradient_map).values for _ in range(2)]
    assert pair[0].equal(pair[1])


def test_captums_sensitivity_wants_a_tuple(grey: Setup) -> None:
    """No clause: with a tensor it takes the items for the parts of one explanation, and gives other numbers."""
    metrics = library("captum.metrics")
    setup = explained(grey)
    rows = torch.from_numpy(np.stack(noisy(setup, 4), axis=1)).view(12, 1, SIZE, SIZE)

    def sensitivity(as_tuple: bool) -> Any:
        def explain(inputs: tuple[Tensor], target: Tensor) -> Any:
            found = torch.from_numpy(gradient(setup.model, inputs[0], target))
            return (found,) if as_tuple else found

        return metrics.sensitivity_max(explain, setup.inputs, perturb_func=lambda *_: (rows,), n_perturb_samples=4,
                                       target=setup.targets)

    right = sensitivity(True).detach()
    try:
        wrong: Any = sensitivity(False).detach()
    except (AssertionError, RuntimeError, IndexError, TypeError) as error:
        wrong = error
    assert isinstance(wrong, Exception) or wrong.shape != right.shape or not torch.allclose(wrong, right)
    measured("captum/sensitivity_max/a tensor", "an error" if isinstance(wrong, Exception) else "other numbers")


# ------------------------------------------------------------------------------------------------------------ pysaliency


def test_the_correlation_with_a_constant_map_is_zero(grey: Setup) -> None:
    """spec/metrics/pcc.md: undefined:constant-map."""
    metrics, truth = library("pysaliency.metrics"), gaze()
    flat = with_maps(grey, torch.full_like(grey.maps, 0.5))
    theirs = metrics.CC(flat.maps[0].double().numpy(), truth["density"][0].double().numpy())
    measured("pysaliency/CC/constant map", float(theirs))
    assert flat.ours("pcc", truth=truth).status == ("undefined:constant-map",) * 3


def test_scanpath_saliency_of_a_constant_map_is_zero(grey: Setup) -> None:
    """spec/metrics/nss.md: undefined:constant-map."""
    metrics, truth = library("pysaliency.metrics"), gaze()
    flat = with_maps(grey, torch.full_like(grey.maps, 0.5))
    theirs = metrics.NSS(flat.maps[0].numpy(), np.array([3, 9]), np.array([4, 30]))
    measured("pysaliency/NSS/constant map", float(theirs.mean()))
    assert flat.ours("nss", truth=truth).status == ("undefined:constant-map",) * 3


def test_the_default_area_counts_the_fixated_pixels_on_both_sides(grey: Setup) -> None:
    """spec/metrics/auc-judd.md: fixated pixels are no negatives. The map of the fixations themselves should have 1."""
    models, datasets, truth = library("pysaliency.saliency_map_models"), library("pysaliency.datasets"), gaze()
    looked = truth["fixations"][0] > 0
    y, x = (v.numpy() for v in torch.where(looked))

    class Perfect(models.SaliencyMapModel):  # type: ignore[name-defined,misc]
        def _saliency_map(self, stimulus: Any) -> np.ndarray:
            found: np.ndarray = looked.double().numpy()
            return found

    stimuli = datasets.Stimuli([np.zeros((SIZE, SIZE), dtype=np.uint8)])
    fixations = datasets.FixationTrains.from_fixation_trains([x], [y], [np.arange(len(x))], [0], [0])
    for kind in ("uniform", "unfixated"):
        measured(f"pysaliency/AUC/{kind}", float(Perfect().AUC(stimuli, fixations, nonfixations=kind)))
    exact = Setup(grey.model, grey.inputs[:1], grey.targets[:1], looked[None].float(), grey.mask[:1])
    ours = exact.ours("auc-judd", truth={"fixations": looked[None].float()})
    measured("pysaliency/AUC/ours", ours.mean)


# -------------------------------------------------------------------------------------------------------------- saliency


def test_the_information_curves_depend_on_qhull_and_on_an_encoder(photos: Setup) -> None:
    """spec/metrics/pic-aic.md: a fan of the shown pixels on one circle, and an entropy that can be counted. The curves agree
    where VXP takes theirs (test_information_curves.py); here is what the two parts are worth."""
    for metric in ("pic-aic", "pic-sic"):
        ours, qhull, webp = (photos.ours(f"{metric}|{rest}").values[:5] for rest in (
            "rows:interpolated", "rows:qhull", "information:webp"))
        measured(f"saliency/compute_pic_metric, triangles/{metric}", float((qhull - ours).abs().max()))
        measured(f"saliency/compute_pic_metric, information/{metric}", float((webp - ours).abs().max()))


def test_the_random_pixels_are_those_of_the_global_generator() -> None:
    """spec/metrics/pic-aic.md: they are keyed by the item, so that all explanations of an image have the same."""
    pic = library("saliency.metrics.pic")
    one, two = (pic.generate_random_mask(56, 56) for _ in range(2))
    measured("saliency/generate_random_mask/two calls", "equal" if np.array_equal(one, two) else "different")


# ------------------------------------------------------------------------------------------------------- what both are given


def test_the_evaluation_map_is_the_map_where_the_grids_are_equal(grey: Setup) -> None:
    """So that no resampling takes part in the comparisons of this folder."""
    assert HEATMAP2D.resampled(grey.maps, (SIZE, SIZE), "bilinear").equal(grey.maps)
