"""The data set figures: exact interventions, its table of classes, and the two models that are trained on it."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from importlib.resources import files
from itertools import combinations, islice

import numpy as np
import pytest
import torch
from torch import Tensor
from vxp import datasets, models, random
from vxp.core import VxpError
from vxp.datasets.figures import CLASSES, SIZE, SLOTS, TABLE, VARIANTS, assembled, render, sufficient
from vxp.maintain import train_figures
from vxp.maintain.train_figures import believed, inputs_of
from vxp.models import loading, protopnet
from vxp.models.protopnet import ProtoPNet, similarity

FRESH, N = 700_000_000, 240
"""Seeds that neither the training nor a task has."""
MODELS = ("figures-cnn", "figures-protopnet")
COUNTS = [len(names) for names in VARIANTS.values()]


@cache
def logits(name: str, *empty: int) -> Tensor:
    """[N, 12]: of fresh figures without the parts of these slots."""
    images = np.stack([render(FRESH + i, i % 12, without=empty).image for i in range(N)])
    return models.predict(models.load(name).module, inputs_of(torch.from_numpy(images)), 120)


def of_class(values: Tensor) -> Tensor:
    """[N]: the value of the figure's own class."""
    return values.gather(1, (torch.arange(N) % 12)[:, None])[:, 0]


# ---------------------------------------------------------------------------------------------------- the table of classes


def test_classes_are_variants_and_two_differ_in_two_slots_at_least() -> None:
    assert (SLOTS, COUNTS) == (("head", "body", "wings", "feet", "tail"), [4, 3, 4, 3, 4])
    assert len(TABLE) == len(CLASSES) == len(set(CLASSES)) == 12
    assert all(sorted({row[slot] for row in TABLE}) == list(range(n)) for slot, n in enumerate(COUNTS))
    apart = [sum(a != b for a, b in zip(*pair, strict=True)) for pair in combinations(TABLE, 2)]
    assert np.bincount(apart).tolist() == [0, 0, 8, 13, 28, 17]


def told(figure: int, slots: tuple[int, ...]) -> bool:
    """Whether no other class has these variants."""
    return [[row[slot] for slot in slots] for row in TABLE].count([TABLE[figure][slot] for slot in slots]) == 1


def test_sufficient_sets_are_those_that_tell_the_class_and_the_smallest() -> None:
    """By brute force: a set tells the class exactly where it contains a minimal set, and no minimal set contains another."""
    for figure in range(12):
        minimal = sufficient(figure)
        assert [len(slots) for slots in minimal] == sorted(len(slots) for slots in minimal)
        for n in range(6):
            for slots in combinations(range(5), n):
                assert told(figure, slots) == any(set(one) <= set(slots) for one in minimal), (figure, slots)
        assert not any(set(a) < set(b) for a in minimal for b in minimal)


def test_sufficient_sets_of_the_table() -> None:
    assert sufficient(0) == ((0,), (1, 2), (2, 4)), "no other class has its head, and its feet are in no set"
    assert sufficient(10) == ((4,), (0, 1)), "no other class has its tail"
    assert {len(slots) for slots in sufficient(5)} == {3}, "no two parts tell it"
    assert sum(len(sufficient(figure)) for figure in range(12)) == 58


def test_any_four_parts_tell_the_class() -> None:
    assert all(told(figure, slots) for figure in range(12) for slots in combinations(range(5), 4))


# ----------------------------------------------------------------------------------------------------------- interventions


def test_figures_have_the_same_bytes_on_every_machine() -> None:
    found = hashlib.sha256()
    for i in range(24):
        made = render(FRESH + i, i % 12)
        found.update(made.image.tobytes() + made.parts.tobytes())
    assert found.hexdigest() == "66aa6d76d88d401ea4d0433a24f5098c91cd8ab422fcbb4a37c5e208b8001d50"


def test_a_part_that_is_left_out_changes_the_pixels_where_it_was_seen_and_no_other() -> None:
    for seed in range(24):
        whole = render(FRESH + seed, seed % 12)
        for slot in range(5):
            less = render(FRESH + seed, seed % 12, without=(slot,))
            assert not (less.parts == slot).any()
            changed = (less.image != whole.image).any(0)
            assert not (changed & (whole.parts != slot)).any()
            assert changed.sum() > 0.9 * (whole.parts == slot).sum()
            others = whole.parts != slot
            assert np.array_equal(less.parts[others], whole.parts[others])


def test_a_part_that_is_exchanged_changes_the_pixels_of_the_two_parts_and_no_other() -> None:
    for seed in range(12):
        whole = render(FRESH + seed, seed)
        for slot, n in enumerate(COUNTS):
            for variant in range(n):
                other = render(FRESH + seed, seed, swap={slot: variant})
                changed = (other.image != whole.image).any(0)
                assert not (changed & (whole.parts != slot) & (other.parts != slot)).any()
                assert changed.any() == (variant != TABLE[seed][slot])


def test_a_figure_whose_parts_are_all_exchanged_is_that_of_the_other_class() -> None:
    for seed in range(12):
        row = dict(enumerate(TABLE[(seed + 5) % 12]))
        assert np.array_equal(render(FRESH + seed, seed, swap=row).image, render(FRESH + seed, (seed + 5) % 12).image)


def test_without_parts_nothing_is_left_of_the_class() -> None:
    for seed in range(6):
        empty = [render(FRESH + seed, figure, without=range(5)) for figure in range(12)]
        assert all(np.array_equal(one.image, empty[0].image) and not one.mask.any() for one in empty)


def test_every_part_is_seen() -> None:
    least = min(int((render(FRESH + i, i % 12).parts == slot).sum()) for i in range(120) for slot in range(5))
    assert least >= 50


def test_removing_and_exchanging_at_once_does_both() -> None:
    made = render(FRESH, 3, without=(1,), swap={0: 0})
    assert np.array_equal(made.image, assembled(FRESH, (0, None, *TABLE[3][2:])).image)


def test_what_is_no_slot_variant_or_class_is_refused() -> None:
    with pytest.raises(VxpError, match="no class 12, expected 0 to 11"):
        render(FRESH, 12)
    with pytest.raises(VxpError, match="no slot 5, expected 0 to 4: head, body"):
        render(FRESH, 0, without=(5,))
    with pytest.raises(VxpError, match="the slot body has no variant 3, expected 0 to 2"):
        render(FRESH, 0, swap={1: 3})


# ------------------------------------------------------------------------------------------------------------------- items


def test_the_source_proposes_figures_without_end_with_a_foil_each() -> None:
    proposed = list(islice(datasets.source("figures").propose(3), 600))
    assert [item.label for item in proposed[:24]] == [(i % 12,) for i in range(24)]
    assert len({item.cluster for item in proposed}) == 600
    foils = [(item.recipe["class"], item.recipe["foil"]) for item in proposed]
    assert set(foils) == {(a, b) for a in range(12) for b in range(12) if a != b}
    drawn = random.integers(random.key(3, "figure-00007", "figures@1", "foil"), 0, 11)
    assert foils[7] == (7, drawn if drawn < 7 else drawn + 1)


def test_a_sample_has_its_parts_and_what_they_would_be() -> None:
    item = next(islice(datasets.source("figures").propose(3), 7, None))
    sample, whole = datasets.source("figures").load(item), render(3_000_007, 7)
    assert np.array_equal(sample.image.numpy(), whole.image)
    assert {key: (tuple(value.shape), value.dtype) for key, value in sample.truth.items()} == {
        "mask": ((SIZE, SIZE), torch.bool), "without": ((5, 3, SIZE, SIZE), torch.uint8),
        "swapped": ((5, 4, 3, SIZE, SIZE), torch.uint8)}
    labels = sample.parts["part"]
    assert labels.unique().tolist() == [-1, 0, 1, 2, 3, 4]
    assert torch.equal(sample.truth["mask"], labels >= 0)
    for slot in range(5):
        assert np.array_equal(sample.truth["without"][slot].numpy(), render(3_000_007, 7, without=(slot,)).image)
        assert torch.equal(sample.truth["swapped"][slot, TABLE[7][slot]], sample.image)
    assert np.array_equal(sample.truth["swapped"][4, 1].numpy(), render(3_000_007, 7, swap={4: 1}).image)
    assert torch.equal(sample.truth["swapped"][1, 3], sample.image), "there is no fourth body"


# ------------------------------------------------------------------------------------------------------------------ models


@pytest.mark.parametrize("name", MODELS)
def test_the_weights_are_small_and_their_document_names_the_classes(name: str) -> None:
    assert len((files("vxp") / "assets" / f"{name}.safetensors").read_bytes()) < 400_000
    model = models.load(name)
    assert (model.input_size, model.class_names) == ((SIZE, SIZE), CLASSES)
    assert model.document["accuracy"]["top1"] >= 0.99


@pytest.mark.parametrize("name", MODELS)
def test_the_class_of_fresh_figures_is_known_also_without_any_one_part(name: str) -> None:
    right = [float((logits(name, *empty).argmax(1) == torch.arange(N) % 12).float().mean())
             for empty in ((), (0,), (1,), (2,), (3,), (4,))]
    print(name, "accuracy whole and without each part:", [round(one, 3) for one in right])
    assert right[0] >= 0.99
    assert min(right) >= 0.95


@pytest.mark.parametrize("name", MODELS)
def test_every_part_that_is_left_out_lowers_the_class(name: str) -> None:
    whole = logits(name)
    lost = [of_class(whole) - of_class(logits(name, slot)) for slot in range(5)]
    needed = torch.tensor([[any(slot in one for one in sufficient(i % 12)) for i in range(N)] for slot in range(5)])
    print(name, "logit lost with each part:", {s: round(float(v.mean()), 2) for s, v in zip(SLOTS, lost, strict=True)},
          "in a minimal set", round(float(torch.stack(lost)[needed].mean()), 2),
          "in none", round(float(torch.stack(lost)[~needed].mean()), 2))
    assert min(float(one.mean()) for one in lost) >= 0.3
    assert float(torch.stack(lost)[needed].mean()) >= 1
    assert float(torch.stack(lost)[needed].mean()) > float(torch.stack(lost)[~needed].mean())


@pytest.mark.parametrize("name", MODELS)
def test_without_all_parts_the_model_does_not_know(name: str) -> None:
    probability = of_class(logits(name, 0, 1, 2, 3, 4).softmax(1))
    assert abs(float(probability.mean()) - 1 / 12) < 0.01


@pytest.mark.parametrize("name", MODELS)
def test_a_part_of_another_class_speaks_for_it(name: str) -> None:
    """Exchanged for the foil's variant, a part raises the foil's logit less the own one."""
    margins = []
    for i in range(60):
        own, foil = i % 12, (i % 12 + 1 + i // 12) % 12
        for slot in range(5):
            if TABLE[own][slot] != TABLE[foil][slot]:
                margins.append((FRESH + i, own, foil, slot))
    images = np.stack([render(seed, own, swap=swap).image for seed, own, foil, slot in margins
                       for swap in ({}, {slot: TABLE[foil][slot]})])
    said = models.predict(models.load(name).module, inputs_of(torch.from_numpy(images)), 120).unflatten(0, (-1, 2))
    own, foil = (torch.tensor([one[k] for one in margins]) for k in (1, 2))
    at = torch.arange(len(margins))
    gained = (said[at, :, foil] - said[at, :, own]).diff(dim=1)
    assert float(gained.mean()) >= 2
    assert float((gained > 0).float().mean()) >= 0.9


# ------------------------------------------------------------------------------------------------------------- prototypes


@cache
def network() -> ProtoPNet:
    return loading.figures_protopnet()


def test_the_similarity_is_that_of_the_paper() -> None:
    """Of a cell and a prototype, in plain loops; it is largest, log(1 / EPS), where they are the same."""
    model = network()
    x = inputs_of(torch.from_numpy(render(FRESH, 0).image)[None])
    with torch.no_grad():
        z, found, prototypes = model.features(x)[0], model.similarities(x), model.prototypes.detach()
    assert found.shape == (1, 36, 16, 16)
    for p, row, column in ((0, 0, 0), (7, 5, 9), (35, 15, 3)):
        d = sum((float(z[k, row, column]) - float(prototypes[p, k])) ** 2 for k in range(len(z)))
        assert float(found[0, p, row, column]) == pytest.approx(math.log((d + 1) / (d + 1e-4)), abs=1e-3)
    assert float(similarity(torch.zeros(()))) == pytest.approx(math.log(1e4), abs=1e-6)


def test_the_logits_are_the_last_layer_of_the_largest_similarities() -> None:
    model = network()
    x = inputs_of(torch.from_numpy(np.stack([render(FRESH + i, i).image for i in range(6)])))
    with torch.no_grad():
        best = model.similarities(x).flatten(2).max(2).values
        assert torch.allclose(model(x), best @ model.head.weight.T, atol=1e-4)


def test_every_prototype_is_what_its_patch_gives() -> None:
    """A training image of its class has the prototype at the cell that the log names, and nothing nearer elsewhere."""
    model, patches = network(), protopnet.patches()
    assert len(patches) == len(model.prototypes) == 36
    assert [patch.figure for patch in patches] == model.of.tolist() == [c for c in range(12) for _ in range(3)]
    assert len({(patch.seed, patch.cell) for patch in patches}) == 36
    assert all((patch.seed - train_figures.TRAIN_SEED) % 12 == patch.figure for patch in patches)
    x = inputs_of(torch.from_numpy(np.stack([render(patch.seed, patch.figure).image for patch in patches])))
    with torch.no_grad():
        distances = model.distances(x)
    at = torch.stack([distances[i, i, *patch.cell] for i, patch in enumerate(patches)])
    assert float(at.max()) < 1e-4
    nearest = torch.stack([distances[i, i].min() for i in range(36)])
    assert float((at - nearest).max()) < 1e-4


def test_a_window_is_what_a_cell_sees() -> None:
    """A pixel beyond it changes nothing, and its corners do: by gradients."""
    x = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0), requires_grad=True)
    z = ProtoPNet(12).eval().features[:-1](x)
    for cell in ((8, 8), (5, 10), (0, 0)):
        (seen,) = torch.autograd.grad(z[0, :, *cell].sum(), x, retain_graph=True)
        rows, columns = (seen[0].abs().sum(0) > 0).nonzero().T
        x0, y0, x1, y1 = protopnet.window(*cell)
        assert (max(x0, 0), max(y0, 0)) == (int(columns.min()), int(rows.min()))
        assert (x1, y1) == (int(columns.max()) + 1, int(rows.max()) + 1)


def test_most_prototypes_are_of_parts() -> None:
    """Few are of the ground; a score of prototypes is to find those."""
    seen = []
    for patch in protopnet.patches():
        x0, y0, x1, y1 = patch.box
        parts = render(patch.seed, patch.figure).parts[max(y0, 0) : y1, max(x0, 0) : x1]
        seen.append(float((parts >= 0).mean()))
    print("share of a prototype's window that is figure:", np.round(sorted(seen), 2).tolist())
    assert np.mean(np.array(seen) > 0.1) >= 0.8


# ---------------------------------------------------------------------------------------------------------------- training


def test_what_is_believed_follows_from_the_table() -> None:
    """Bayes' rule in plain loops, where one part in five is misread as another variant of its slot."""
    for row in (TABLE[0], (None, 1, None, 0, 2), (3, None, None, None, None)):
        likely = []
        for own in TABLE:
            p = 1.0
            for read, true, n in zip(row, own, COUNTS, strict=True):
                if read is not None:
                    p *= 0.8 if read == true else 0.2 / (n - 1)
            likely.append(p)
        assert believed(row).tolist() == pytest.approx([p / sum(likely) for p in likely], abs=1e-6)
    assert believed((None,) * 5).tolist() == pytest.approx([1 / 12] * 12)
    for figure in range(12):
        whole = believed(TABLE[figure])[figure]
        for slot in range(5):
            less = believed([None if s == slot else v for s, v in enumerate(TABLE[figure])])
            assert less[figure] < whole
            assert less.argmax() == figure


def small_network() -> ProtoPNet:
    torch.manual_seed(0)
    return ProtoPNet(12, 2)


def test_the_costs_are_distances_to_the_nearest_prototypes() -> None:
    """In plain loops: cluster of the nearest of the own class, separation of the nearest of another, of whole figures alone."""
    model, (images, beliefs) = small_network(), train_figures.pool(5, 6)
    x, y = train_figures._both(images, beliefs)
    _, cluster, separation = train_figures._costs(model, x, y, 0.0).tolist()
    with torch.no_grad():
        least = model.distances(x).flatten(2).min(2).values
    own = [min(float(least[i, p]) for p in range(24) if p // 2 == i) for i in range(3)]
    other = [min(float(least[i, p]) for p in range(24) if p // 2 != i) for i in range(3)]
    assert (cluster, separation) == (pytest.approx(sum(own) / 3, rel=1e-4), pytest.approx(sum(other) / 3, rel=1e-4))


def test_projection_takes_the_nearest_cells_of_the_class() -> None:
    model, (images, _) = small_network().eval(), train_figures.pool(5, 24)
    before = model.prototypes.detach().clone()
    with torch.no_grad():
        z = model.features(inputs_of(images[:, 0]))
    patches, moved = train_figures.projected(model, images[:, 0])
    far = []
    for p, patch in enumerate(patches):
        cells = z[[p // 2, p // 2 + 12]].permute(0, 2, 3, 1).flatten(0, 2)  # of the two images of its class
        distances = ((cells - before[p]) ** 2).sum(1)
        image, place = patch.seed - train_figures.TRAIN_SEED, patch.cell[0] * 16 + patch.cell[1]
        assert image % 12 == patch.figure == p // 2
        taken = image // 12 * 256 + place
        assert int((distances < distances[taken] - 1e-5).sum()) <= p % 2, "the first prototype may have taken one"
        assert torch.equal(model.prototypes[p], cells[taken])
        far.append(float(distances[taken]))
    assert moved == pytest.approx(sum(far) / len(far), rel=1e-4)


def test_training_gives_the_same_weights_again() -> None:
    recipe, (images, beliefs) = train_figures.Recipe(pool=24, epochs=1, batch=12, smoothing=0.0), train_figures.pool(5, 24)

    def trained() -> dict[str, Tensor]:
        with torch.random.fork_rng(devices=[]):
            model = small_network()
            train_figures._joint(model, images, beliefs, recipe)
            train_figures.projected(model, images[:, 0])
            train_figures._last_layer(model, images, beliefs, recipe, train_figures.Stages(last_epochs=1))
        return model.state_dict()

    one, other = trained(), trained()
    assert all(torch.equal(one[key], other[key]) for key in one)
