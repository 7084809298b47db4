"""The data set shapes-factors: the images of shapes with single factors set, its models, and what concepts cause in them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from importlib.resources import files
from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor
from vxp import datasets, models
from vxp.core import VxpError
from vxp.datasets import Item, shapes, shapes_factors
from vxp.datasets.shapes_factors import (
    AS_DRAWN,
    BANK_SEED,
    CONCEPTS,
    DISC,
    NAMES,
    RED,
    RING,
    SQUARE,
    Do,
    Scene,
    caused,
    effects,
    rendered,
    scene,
)
from vxp.maintain import train_factors
from vxp.maintain.train_shapes import TRAIN_SEED, VALIDATION_SEED, accuracy
from vxp.models.shapes_cnn import ShapesCNN

FRESH = 710_000_000
"""Seeds that no training, no bank and no task has."""
EFFECTS = 160
MEASURED = {
    "shapes-cnn": (3.24, 2.70, 0.08, 0.33, 0.06, 0.12, 0.15, 0.17),
    "factors-colour": (0.03, 0.08, 3.29, 0.15, 0.05, 0.33, 0.05, 0.15),
    "factors-rule": (1.58, 0.04, 1.21, 0.05, 0.01, 2.81, 0.02, 0.09),
}
"""By model, the root mean square over classes of what each concept causes."""


@cache
def items() -> tuple[Item, ...]:
    return tuple(islice(shapes_factors.propose(0), EFFECTS))


@cache
def effects_of(model: str) -> Tensor:
    return effects(models.load(model), items())


def strengths(model: str) -> dict[str, float]:
    """By concept, the root mean square over the classes."""
    return dict(zip(NAMES, effects_of(model).square().mean(1).sqrt().tolist(), strict=True))


def changed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """bool [64, 64]."""
    return np.asarray((one != other).any(0))


def bars_of(made: Scene) -> np.ndarray:
    """bool [64, 64]: where a bar is, or would be were it drawn or the shape not near."""
    return np.any([bar.inside for bar in made.bars], 0)


# --------------------------------------------------------------------------------------------------------------- images


def test_with_nothing_set_an_image_is_that_of_shapes() -> None:
    for seed in range(FRESH, FRESH + 40):
        for c in range(8):
            (image, mask), (expected, where) = rendered(seed, c), shapes.drawn(seed, c)
            assert image.dtype == expected.dtype == np.uint8
            assert np.array_equal(image, expected)
            assert np.array_equal(mask, where)


def test_a_factor_that_is_set_to_its_draw_changes_nothing() -> None:
    for seed in range(FRESH, FRESH + 20):
        made = scene(seed)
        again = Do(shape=seed % 8, colour=tuple(made.colour.flat), radius=made.radius, centre=tuple(made.middle),
                   angle=made.angle, bars=made.drawn_bars)
        assert np.array_equal(made.rendered(0, again)[0], made.rendered(seed % 8)[0])


def test_another_class_differs_in_the_two_shapes_only() -> None:
    for seed in range(FRESH, FRESH + 40):
        c, other = seed % 8, (seed + 1 + seed % 7) % 8
        (image, mask), (another, where) = rendered(seed, c), rendered(seed, other)
        stray = changed(image, another) & ~(mask ^ where)
        assert stray.sum() == 0
        assert changed(image, another)[mask ^ where].mean() > 0.95


@pytest.mark.parametrize("do", [RED, Do(colour=(0.2, 0.7, 0.5))])
def test_a_colour_changes_the_shape_only(do: Do) -> None:
    for seed in range(FRESH, FRESH + 20):
        (image, mask), (other, where) = rendered(seed, 3), rendered(seed, 3, do)
        assert np.array_equal(mask, where)
        assert not (changed(image, other) & ~mask).any()
        found = other[:, mask].mean(1) / 255
        np.testing.assert_allclose(found, do.colour, atol=0.04)


@pytest.mark.parametrize("level", [0.3, 0.7])
def test_a_brightness_changes_the_ground_only_and_keeps_its_hue(level: float) -> None:
    for seed in range(FRESH, FRESH + 20):
        made = scene(seed)
        (image, mask), (other, _) = made.rendered(3), made.rendered(3, Do(ground=level))
        bars = np.any([bar.inside for bar in made.bars[: made.drawn_bars]], 0)
        assert not (changed(image, other) & mask).any()
        colour = made.ground_at(Do(ground=level))
        assert colour.mean() == pytest.approx(level)
        assert colour.min() >= 0.15 - 1e-9
        assert colour.max() <= 0.85 + 1e-9
        assert (np.argsort(colour.flat) == np.argsort(made.ground.flat)).all()
        np.testing.assert_allclose(other[:, ~mask & ~bars].mean(1) / 255, colour.flat, atol=0.03)


def test_bars_change_where_bars_are_only() -> None:
    for seed in range(FRESH, FRESH + 20):
        made = scene(seed)
        few, many = (made.rendered(3, Do(bars=n))[0] for n in (2, 4))
        assert not (changed(few, many) & ~bars_of(made)).any()
        assert not (changed(few, many) & made.rendered(3)[1]).any()
        drawn = made.rendered(3, Do(bars=made.drawn_bars))[0]
        assert np.array_equal(drawn, made.rendered(3)[0])
    assert {scene(seed).drawn_bars for seed in range(FRESH, FRESH + 20)} == {2, 3, 4}


@pytest.mark.parametrize("do", [
    Do(radius=17.0), Do(radius=12.0), Do(centre=(20.0, None)), Do(centre=(43.0, None)), Do(angle=1.0)])
def test_size_place_and_angle_move_the_shape_within_the_image(do: Do) -> None:
    """Away from the two places of the shape, with the surroundings that the bars leave free, no pixel changes."""
    y, x = np.mgrid[0:64, 0:64]
    for seed in range(FRESH, FRESH + 20):
        made = scene(seed)
        (image, _), (other, mask) = made.rendered(0), made.rendered(0, do)
        radius = made.radius if do.radius is None else do.radius
        centre = np.array(made.centre_at(do))
        assert (centre >= radius + 1).all()
        assert (centre <= 62 - radius).all()
        near = [np.hypot(x - mx, y - my) < 1.05 * r + 3 for (mx, my), r in ((made.middle, made.radius), (centre, radius))]
        assert not (changed(image, other) & ~(near[0] | near[1])).any()
        assert mask.sum() == pytest.approx(np.pi * (0.9 * radius) ** 2, rel=0.05)
        np.testing.assert_allclose(np.argwhere(mask).mean(0)[::-1], centre, atol=0.2)


def test_a_texture_is_as_strong_as_it_is_set_and_keeps_its_colours() -> None:
    for seed in range(FRESH, FRESH + 20):
        made = scene(seed)
        for texture, colour in ((made.ground_texture, made.ground), (made.texture, made.colour)):
            for strength in (0.03, 0.06):
                waves = texture.on(colour, strength) - colour
                np.testing.assert_allclose(waves, (texture.on(colour, None) - colour) * strength / texture.strength, atol=1e-12)
            assert 0.02 < texture.strength < 0.07


@pytest.mark.parametrize(("setting", "says"), [({"bars": 5}, "bars was set to 5, expected 0 to 4"),
                                               ({"shape": 8}, "shape was set to 8, expected 0 to 7")])
def test_what_cannot_be_set_is_said(setting: dict[str, int], says: str) -> None:
    with pytest.raises(VxpError, match=says):
        Do(**setting)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------- concepts


def test_the_concepts_and_their_settings() -> None:
    assert NAMES == ("round", "ring", "red", "large", "left", "ground", "bars", "texture")
    assert (DISC.shape, SQUARE.shape, RING.shape) == (0, 1, 4)
    for concept in CONCEPTS:
        off, on = vars(concept.off), vars(concept.on)
        set_ = [key for key in off if (off[key], on[key]) != (vars(AS_DRAWN)[key],) * 2]
        assert len(set_) == 1, "one factor, the same of both"
        assert off != on


def test_what_an_item_has_by_hand() -> None:
    made = replace(scene(FRESH), radius=15.0, middle=np.array([20.0, 40.0]), drawn_bars=4,
                   ground=np.array([0.2, 0.5, 0.6])[:, None, None], colour=np.array([0.7, 0.4, 0.5])[:, None, None])
    assert shapes_factors.present(made, 4)[:7] == (True, True, True, True, True, False, True)
    assert shapes_factors.present(made, 6)[:3] == (False, False, True)
    other = replace(made, radius=14.0, middle=np.array([40.0, 20.0]), drawn_bars=3,
                    ground=np.array([0.2, 0.7, 0.7])[:, None, None], colour=np.array([0.7, 0.4, 0.6])[:, None, None])
    assert shapes_factors.present(other, 0)[:7] == (True, False, False, False, False, True, False)
    assert (made.octant, other.octant) == (4, 5)
    red_on_dark, not_red_on_bright = made, other
    assert [shapes_factors.rule(red_on_dark, c) for c in range(8)] == [1, 0, 0, 0, 1, 0, 0, 0]
    assert [shapes_factors.rule(not_red_on_bright, c) for c in range(8)] == [0, 1, 1, 1, 0, 1, 1, 1]


def test_an_item_has_what_it_is_rendered_with() -> None:
    """A scene whose factor is the setting itself is beyond the middle, on its side."""
    made = scene(FRESH)
    large, left = CONCEPTS[3], CONCEPTS[4]
    for state, expected in ((large.off, False), (large.on, True)):
        assert large.holds(replace(made, radius=state.radius), 0) is expected
    for state, expected in ((left.off, False), (left.on, True)):
        assert left.holds(replace(made, middle=np.array([state.centre[0], 30.0])), 0) is expected
    ground = CONCEPTS[5]
    for state, expected in ((ground.off, False), (ground.on, True)):
        assert ground.holds(replace(made, ground=made.ground_at(state)), 0) is expected


# ---------------------------------------------------------------------------------------------------------------- items


def test_the_source_proposes_visible_scenes_and_foils() -> None:
    assert datasets.source("shapes-factors@1") is shapes_factors.SHAPES_FACTORS
    assert shapes_factors.SHAPES_FACTORS.missing() is None
    found = list(islice(shapes_factors.propose(7), 80))
    assert [item.label for item in found] == [(c % 8,) for c in range(80)]
    assert len({item.recipe["seed"] for item in found}) == len({item.cluster for item in found}) == 80
    offsets = {(item.recipe["foil"] - item.recipe["class"]) % 8 for item in found}
    assert offsets == set(range(1, 8)), "every other class and never its own"
    for item in found:
        made = scene(item.recipe["seed"])
        assert all(made.contrast(do) >= shapes.CONTRAST for concept in CONCEPTS for do in (concept.off, concept.on))
    assert 7_000_000 <= found[0].recipe["seed"] < 8_000_000


def test_a_sample_holds_the_whole_truth() -> None:
    for item in items()[:10]:
        sample, c = shapes_factors.load(item), item.recipe["class"]
        truth = sample.truth
        assert tuple(truth) == shapes_factors.SHAPES_FACTORS.truth
        assert {key: (tuple(value.shape), value.dtype) for key, value in truth.items()} == {
            "mask": ((64, 64), torch.bool), "classes": ((8, 3, 64, 64), torch.uint8), "class_masks": ((8, 64, 64), torch.bool),
            "factors": ((8, 2, 3, 64, 64), torch.uint8), "present": ((8,), torch.bool)}
        image, mask = shapes.drawn(item.recipe["seed"], c)
        assert np.array_equal(sample.image, image)
        assert torch.equal(sample.image, truth["classes"][c])
        assert np.array_equal(truth["mask"], mask)
        assert torch.equal(truth["mask"], truth["class_masks"][c])
        made = scene(item.recipe["seed"])
        for k, concept in enumerate(CONCEPTS):
            for state, do in enumerate((concept.off, concept.on)):
                assert np.array_equal(truth["factors"][k, state], made.rendered(c, do)[0])
        assert torch.equal(truth["factors"][0], truth["classes"][[1, 0]])
        assert torch.equal(truth["factors"][1], truth["classes"][[0, 4]])
        assert truth["present"].tolist() == list(shapes_factors.present(made, c))


def test_truths_have_the_same_bytes_everywhere() -> None:
    found = hashlib.sha256(b"".join(value.numpy().tobytes() for item in items()[:4]
                                    for value in shapes_factors.load(item).truth.values())).hexdigest()
    assert found == "9a8a934db4fe7d3f8c6e9c24e8b3459889a713db5a8e6879b2e1892435ebc889"


def test_the_bank_has_pairs_of_seeds_of_its_own() -> None:
    found = shapes_factors.bank(6)
    assert (found.names, found.paired) == (NAMES, True)
    assert found.on.shape == found.off.shape == (8, 6, 3, 64, 64)
    assert found.on.dtype == found.off.dtype == torch.uint8
    red = NAMES.index("red")
    seeds = list(islice(shapes_factors._visible_seeds(BANK_SEED + red * 1_000_000), 6))
    assert min(seeds) > TRAIN_SEED + 100_000 > VALIDATION_SEED
    for i, seed in enumerate(seeds):
        on, mask = rendered(seed, i, RED)
        assert np.array_equal(found.on[red, i], on)
        differs = (found.on[red, i] != found.off[red, i]).any(0).numpy()
        assert not (differs & ~mask).any()
        assert differs[mask].all()
    assert shapes_factors.SHAPES_FACTORS.examples is shapes_factors.bank


# --------------------------------------------------------------------------------------------------------------- effects


def test_effects_by_hand() -> None:
    """Two items, one concept, three classes: centred, from -2, 1, 1 to 3, -3, 0, and from 0, 0, 0 to 2, -1, -1."""
    logits = torch.tensor([[[[0.0, 3.0, 3.0], [6.0, 0.0, 3.0]]], [[[1.0, 1.0, 1.0], [3.0, 0.0, 0.0]]]])
    torch.testing.assert_close(caused(logits), torch.tensor([[3.5, -2.5, -1.0]]))


def test_models_have_opposite_truths() -> None:
    """Root mean squares over classes on 160 items. The shape's model reads round and ring and not the colour, the colour's
    model the reverse, and neither reads anything else."""
    shape, colour, rule = (strengths(name) for name in ("shapes-cnn", "factors-colour", "factors-rule"))
    for name, found in (("shapes-cnn", shape), ("factors-colour", colour), ("factors-rule", rule)):
        print(f"{name:>15}: " + ", ".join(f"{concept} {value:.2f}" for concept, value in found.items()))
        assert list(found.values()) == pytest.approx(MEASURED[name], abs=0.05)
    for found, right in ((shape, ("round", "ring")), (colour, ("red",)), (rule, ("round", "red", "ground"))):
        assert min(found[concept] for concept in right) > 0.9
        assert max(value for concept, value in found.items() if concept not in right) < 0.4
    assert min(shape["round"] / colour["round"], shape["ring"] / colour["ring"], colour["red"] / shape["red"]) > 20


def test_effects_have_the_right_sign() -> None:
    shape, colour, rule = (effects_of(name) for name in ("shapes-cnn", "factors-colour", "factors-rule"))
    names = {name: k for k, name in enumerate(NAMES)}
    assert shape[names["round"], 0] > 4 > -2 > shape[names["round"], 1]
    assert shape[names["ring"], 4] > 4 > -4 > shape[names["ring"], 0]
    assert colour[names["red"], 4] > 4 > -4 > colour[names["red"], 1]
    assert colour[names["red"]].abs().argsort()[-2:].tolist() in ([1, 4], [4, 1])
    assert rule[names["red"], 1] > 0.9
    assert rule[names["ground"], 1] > 0.9
    assert rule[names["round"], 1] < -0.9, "fewer shapes are red than grounds are bright"
    torch.testing.assert_close(rule[:, 0], -rule[:, 1], atol=1e-4, rtol=0)


# --------------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(("name", "classes"), [
    ("factors-colour", shapes_factors.COLOURS), ("factors-rule", shapes_factors.ANSWERS)])
def test_the_weights_are_small_and_fit_the_architecture(name: str, classes: tuple[str, ...]) -> None:
    assert len((files("vxp") / "assets" / f"{name}.safetensors").read_bytes()) < 400_000
    model = models.load(name)
    assert (model.input_size, model.class_names) == ((64, 64), classes)
    assert isinstance(model.module, ShapesCNN)


def test_models_know_what_they_were_trained_on() -> None:
    """On 400 images that neither the training nor its validation has: the accuracies of the logs, less four standard errors."""
    for name, plan in train_factors.PLANS.items():
        found = accuracy(models.load(name).module, *plan.made(FRESH, 400))
        print(f"{name}: {found:.4f}")
        assert found > {"factors-colour": 0.875, "factors-rule": 0.96}[name]


def test_the_rule_is_trained_on_balanced_data() -> None:
    made = [train_factors.balanced(FRESH + i, i) for i in range(64)]
    for i, (shape, do) in enumerate(made):
        assert do.colour is not None
        assert do.ground is not None
        found = replace(scene(FRESH + i), colour=np.array(do.colour)[:, None, None], ground=scene(FRESH + i).ground_at(do))
        has = dict(zip(NAMES, shapes_factors.present(found, shape), strict=True))
        assert (has["round"], has["red"], has["ground"]) == (bool(i & 1), bool(i & 2), bool(i & 4))
        assert found.contrast() >= shapes.CONTRAST
    labels = train_factors.ruled(FRESH, 64)[1]
    expected = [shapes_factors.rule(replace(scene(FRESH + i), colour=np.array(do.colour)[:, None, None],
                                            ground=scene(FRESH + i).ground_at(do)), shape)
                for i, (shape, do) in enumerate(made)]
    assert labels.tolist() == expected
    assert labels.float().mean() == 0.5


def test_training_gives_the_same_weights_again() -> None:
    def trained() -> dict[str, Tensor]:
        plan = replace(train_factors.PLANS["factors-rule"], recipe=train_factors.Recipe(pool=16, epochs=1, batch=8))
        return train_factors.train(plan, validation=8)[0].state_dict()

    one, other = trained(), trained()
    assert all(torch.equal(one[key], other[key]) for key in one)
