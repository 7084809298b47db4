"""Counterfactuals: known answers of their metrics, explainers that reach their foil, what is refused, and the way from a run to
a verified bundle and its report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from bundle_tools import Broken, sealed
from safetensors.numpy import load_file
from torch import Tensor, nn
from vxp import explainers, models, report, tasks
from vxp.core import Bank, Batch, Case, Normalization, VxpError, perturb
from vxp.engine import Engine, Job
from vxp.kinds import COUNTERFACTUAL
from vxp.metrics import bind, catalogue, of_kind
from vxp.report import counterfactuals as pictures
from vxp.runs import run
from vxp.runs.context import Context, Settings
from vxp.runs.foils import FILE
from vxp.validation import validate

if TYPE_CHECKING:
    from conftest import Vxp

METRICS = tuple(of_kind("counterfactual"))
METHODS = ("wachter|steps:30", "pgd", "nearest-unlike")
NORM = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


class Brightness(nn.Module):
    """Class 1 as soon as the mean of the first channel is above a half, class 0 below it, and never class 2."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x[:, 0].mean((1, 2)) * NORM.std[0] + NORM.mean[0]
        return torch.stack([0.5 - mean, mean - 0.5, mean * 0 - 9], 1) * 40


def batch_of(levels: Tensor, foils: list[int], **truth: Tensor) -> Batch:
    """A batch of images uint8 [B, 3, H, W] of class 0."""
    n = len(levels)
    return Batch(tuple(f"item-{i}" for i in range(n)), NORM.to_inputs(levels.float() / 255), torch.zeros(n, dtype=torch.int64),
                 NORM, 3, truth, tuple(map(str, range(n))), labels=torch.zeros(n, 1, dtype=torch.int64),
                 foils=torch.tensor(foils))


def scores(batch: Batch, made: Tensor, *names: str, model: nn.Module | None = None) -> dict[str, Any]:
    """Values and statuses by metric."""
    wanted = tuple(bind(name) for name in names)
    case = Case(batch, made, "none", signed=False, explained=COUNTERFACTUAL)
    found = Engine(model or Brightness()).score(Job(case, wanted))
    return {name: ([round(v, 9) for v in found[b.signature].values.tolist()], found[b.signature].status)
            for name, b in zip(names, wanted, strict=True)}


@pytest.fixture
def dark() -> Tensor:
    """Two images uint8 [2, 3, 8, 10] with a mean of the first channel of about .4."""
    return torch.randint(60, 145, (2, 3, 8, 10), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


# -------------------------------------------------------------------------------------------------------- known answers


def test_a_change_of_one_channel_at_some_positions(dark: Tensor) -> None:
    made = dark.clone()
    made[0, 1, :2] += 30  # 20 of 80 positions, in a channel that the model does not see
    made[1, 0] += 51  # every position, by a fifth
    found = scores(batch_of(dark, [1, 1]), made, "cf-validity", "cf-proximity", "cf-sparsity", "cf-sparsity|eps:30")
    assert found["cf-validity"] == ([0, 1], ("ok", "ok"))
    assert found["cf-proximity"][0] == pytest.approx([30 / 255 * 20 / 240, 0.2 / 3])
    assert found["cf-sparsity"][0] == [0.25, 1]
    assert found["cf-sparsity|eps:30"][0] == [0, 1]


def test_a_foil_that_is_there_and_an_item_that_comes_back(dark: Tensor) -> None:
    classes = dark[:, None].repeat(1, 3, 1, 1, 1)
    classes[:, 1:] += 40
    batch = batch_of(dark, [0, 1], classes=classes, class_masks=torch.ones(2, 3, 8, 10, dtype=torch.bool))
    made = dark.clone()
    made[0] += 1
    found = scores(batch, made, *METRICS)
    assert found["cf-validity"][1] == ("undefined:already-there", "ok")
    assert found["cf-validity"][0][1] == 0
    for name in ("cf-proximity", "cf-sparsity", "cout", "cf-collateral"):
        assert found[name][1] == ("ok", "undefined:unchanged")
    assert found["cf-semantic"] == ([1, 0], ("ok", "ok"))  # nearest to the class 0 that both are


def test_cout_is_one_less_two_ends_where_the_first_positions_decide(dark: Tensor) -> None:
    """Of 80 positions and 80 steps the answer flips, whole, with the first: f is -1 at the item and 1 from then on."""
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            flipped = (x[:, :, 0, 0] * NORM.std[0] + NORM.mean[0])[:, 0] > 0.9
            return torch.stack([~flipped, flipped, flipped & ~flipped], 1).float() * 200

    made = dark + 1
    made[:, 0, 0, 0] = 255
    found = scores(batch_of(dark, [1, 1]), made, "cout|steps:80", "cout|steps:1", model=First())
    assert found["cout|steps:80"][0] == pytest.approx([1 - 1 / 80] * 2)  # the first trapezoid goes from -1 to 1, and counts 0
    assert found["cout|steps:1"][0] == pytest.approx([0, 0])


def test_equal_changes_are_inserted_by_index(dark: Tensor) -> None:
    """All positions change alike, so the upper half is there half-way: only it counts for this model."""
    class Upper(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Brightness().forward(x[:, :, :4])

    made = dark.clone()
    made[:, 0] += 100
    (values, _), = scores(batch_of(dark, [1, 1]), made, "cout|steps:2", model=Upper()).values()
    ends = [Upper()(NORM.to_inputs(images.float() / 255)).double().softmax(1) for images in (dark, made)]
    low, high = (p[:, 1] - p[:, 0] for p in ends)
    assert values == pytest.approx(((low + high) / 4 + high / 2).tolist(), abs=1e-6)


def test_semantic_takes_the_nearest_and_of_ties_the_first(dark: Tensor) -> None:
    classes = torch.stack([dark, dark + 20, dark + 40], 1)
    batch = batch_of(dark, [1, 2], classes=classes)
    assert scores(batch, dark + 30, "cf-semantic")["cf-semantic"][0] == [1, 0]  # as far from class 1 as from class 2
    assert scores(batch, dark + 31, "cf-semantic")["cf-semantic"][0] == [0, 1]


def test_collateral_is_the_share_outside_the_two_objects(dark: Tensor) -> None:
    masks = torch.zeros(2, 3, 8, 10, dtype=torch.bool)
    masks[:, 0, 0], masks[:, 1, 1], masks[:, 2] = True, True, True
    made = dark.clone()
    made[0, 0, :2] += 10  # inside both objects: 2 rows of 10 positions
    made[0, 2, 7] += 20  # outside, 10 positions
    batch = batch_of(dark, [1, 2], class_masks=masks)
    made[1, :, 5:] += 3  # the object of class 2 is everywhere
    assert scores(batch, made, "cf-collateral")["cf-collateral"][0] == [pytest.approx(4000 / 6000), 0]
    known = replace(batch, labels=torch.tensor([[-1], [0]]))
    assert scores(known, made, "cf-collateral")["cf-collateral"][1] == ("undefined:no-label", "ok")


@pytest.mark.parametrize("name", METRICS)
def test_metric_equals_its_oracle(name: str) -> None:
    """On random items of a random network, among them one with few changes and one between levels."""
    draw = torch.Generator().manual_seed(4)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(60, 4))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4, generator=draw)
    raw = torch.rand(4, 3, 8, 10, generator=draw)
    raw[:3] = perturb.levels(raw[:3]).float() / 255
    own = perturb.levels(raw.double())
    classes = torch.randint(0, 256, (4, 4, 3, 8, 10), generator=draw, dtype=torch.uint8)
    masks = torch.rand(4, 4, 8, 10, generator=draw) < 0.4
    made = (own.int() + torch.randint(-60, 60, own.shape, generator=draw)).clamp(0, 255).to(torch.uint8)
    made[1, :, 2:] = own[1, :, 2:]
    inputs = NORM.to_inputs(raw)
    predicted = model(inputs).argmax(1)
    batch = Batch(("a", "b", "c", "d"), inputs, predicted, NORM, 0, {"classes": classes, "class_masks": masks},
                  labels=predicted[:, None], foils=(predicted + 1) % 4)
    for variant in [{}, *getattr(import_module(f"oracles.{name.replace('-', '_')}"), "VARIANTS", [])]:
        wanted = bind((name, ({"steps": 9} if "steps" in catalogue()[name].parameters else {}) | variant))
        case = Case(batch, made, "none", signed=False, explained=COUNTERFACTUAL)
        found = Engine(model, batch_size=3).score(Job(case, (wanted,)))[wanted.signature]
        for i in range(4):
            assert found.status[i] == "ok"
            assert float(found.values[i]) == pytest.approx(oracled(name, batch, made, i, model, wanted.parameters), abs=1e-6)


def oracled(name: str, batch: Batch, made: Tensor, i: int, model: nn.Module, parameters: Mapping[str, Any]) -> float:
    oracle: Callable[..., float] = getattr(import_module(f"oracles.{name.replace('-', '_')}"), name.replace("-", "_"))
    assert batch.foils is not None
    assert batch.labels is not None
    sample = {
        "model": lambda image: model(torch.from_numpy(np.asarray(image, np.float32))[None])[0].detach().double().numpy(),
        "image": batch.inputs[i].double().numpy(), "payload": made[i].numpy(), "target": int(batch.targets[i]),
        "foil": int(batch.foils[i]), "labels": batch.labels[i].tolist(), "mean": NORM.mean, "std": NORM.std,
        "truths": {key: value[i].numpy() for key, value in batch.truth.items()},
    }
    needs = [p.name for p in signature(oracle).parameters.values() if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    return oracle(*[sample[need] for need in needs], **parameters)


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("name", METRICS)
def test_items_without_a_foil_or_truth_are_refused_in_words(dark: Tensor, name: str) -> None:
    batch = batch_of(dark, [1, 1])
    if catalogue()[name].truth:
        with pytest.raises(VxpError, match=f"metric '{name}' needs the truth {catalogue()[name].truth[0]}"):
            scores(batch, dark + 1, name)
        key = catalogue()[name].truth[0]
        with pytest.raises(VxpError, match=r"the foil is class 1, and the truth .* has 1 classes"):
            scores(replace(batch, truth={key: dark[:, None]}), dark + 1, name)
    elif name not in ("cf-proximity", "cf-sparsity"):  # which need neither
        with pytest.raises(VxpError, match=f"metric '{name}' needs the class that a counterfactual is to reach"):
            scores(replace(batch, foils=None), dark + 1, name)


def test_floats_and_other_sizes_are_no_counterfactuals(dark: Tensor) -> None:
    batch = batch_of(dark, [1, 1])
    for made, said in ((batch.raw(), "of float32, expected uint8: .*Round raw pixels"),
                       (dark[:, :, :4], r"returned \(2, 3, 4, 10\), expected \(2, 3, 8, 10\)"),
                       (dark[:, 0], r"expected a tensor \[2, channels, h, w\]")):
        bound = explainers.bind(lambda model, batch, made=made: made).on(COUNTERFACTUAL)
        with pytest.raises(VxpError, match=said):
            bound(Brightness(), batch)


def test_maps_are_not_counterfactuals() -> None:
    with pytest.raises(VxpError, match="'saliency' makes heatmap2d, heatmap3d, and images need counterfactual"):
        explainers.bind("saliency").on(COUNTERFACTUAL)
    assert bind("deletion").undefined_for("counterfactual", Engine(Brightness()).output) == "kind"
    assert bind("cout").undefined_for("heatmap2d", Engine(Brightness()).output) == "kind"


# ----------------------------------------------------------------------------------------------------------- explainers


@pytest.fixture(scope="module")
def few() -> tuple[models.Model, Batch]:
    """The shapes classifier and four items of its task."""
    task = tasks.load("shapes-foils")
    model = models.load(task.model)
    batch = task.batch(0, 4, model)
    assert batch.bank is not None
    bank = Bank(batch.bank.names, batch.bank.on[:, :20], batch.bank.off[:, :20])  # enough, and quicker
    return model, replace(batch, bank=bank)


@pytest.mark.parametrize("name", METHODS)
def test_explainers_reach_their_foil_one_by_one_and_alike(few: tuple[models.Model, Batch], name: str) -> None:
    model, batch = few
    bound = explainers.bind(name).on(COUNTERFACTUAL)
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    made = bound(model.module, batch)
    assert (made.dtype, made.shape) == (torch.uint8, batch.inputs.shape)
    assert batch.foils is not None
    shown = torch.stack([perturb.redrawn(x, image, batch.normalization) for x, image in zip(batch.inputs, made, strict=True)])
    assert torch.equal(models.predict(model.module, shown).argmax(1), batch.foils)
    assert torch.equal(bound(model.module, batch.select([2]))[0], made[2])  # whatever its neighbours
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())
    other = replace(batch, foils=(batch.foils + 1) % 8).select([0])
    assert not torch.equal(bound(model.module, other)[0], made[0])


@pytest.mark.parametrize("name", ["wachter|steps:7", "pgd|steps:5", "nearest-unlike"])
def test_nominal_passes_are_the_rows_that_run(few: tuple[models.Model, Batch], name: str) -> None:
    model, batch = few
    bound = explainers.bind(name).on(COUNTERFACTUAL)
    with models.Passes(model.module) as passes:
        bound(model.module, batch)
    assert batch.bank is not None
    pool = len(batch.bank.names) * 20 * 2
    assert passes.forward + passes.backward == (pool if name == "nearest-unlike" else 4 * bound.passes)


def test_pgd_stays_in_its_ball_and_a_wider_one_changes_more(few: tuple[models.Model, Batch]) -> None:
    model, batch = few
    own = perturb.levels(batch.raw().double()).int()
    for radius in (1, 3):
        change = explainers.bind(f"pgd|radius:{radius}|steps:4").on(COUNTERFACTUAL)(model.module, batch).int() - own
        assert int(change.abs().max()) == radius


def test_wachter_takes_less_of_a_change_the_more_it_weighs(few: tuple[models.Model, Batch]) -> None:
    model, batch = few
    own = perturb.levels(batch.raw().double()).int()
    sizes = [float((explainers.bind(f"wachter|weight:{weight}|steps:60").on(COUNTERFACTUAL)(model.module, batch).int() - own)
                   .abs().float().mean()) for weight in (1, 100)]
    assert sizes[1] < sizes[0]


def test_nearest_unlike_is_one_of_the_examples(few: tuple[models.Model, Batch]) -> None:
    model, batch = few
    made = explainers.bind("nearest-unlike").on(COUNTERFACTUAL)(model.module, batch)
    assert batch.bank is not None
    pool = perturb.levels(batch.to_raw(torch.cat([batch.bank.on, batch.bank.off]).flatten(0, 1).double()))
    assert all(bool((pool == image).flatten(1).all(1).any()) for image in made)
    with pytest.raises(VxpError, match="'nearest-unlike' looks among example images, and the items have none"):
        explainers.bind("nearest-unlike").on(COUNTERFACTUAL)(model.module, replace(batch, bank=None))


def test_the_references_are_the_truth_and_noise_as_strong(few: tuple[models.Model, Batch]) -> None:
    model, batch = few
    assert batch.foils is not None
    true = explainers.bind("rerendered").on(COUNTERFACTUAL)(model.module, batch)
    assert torch.equal(true, batch.truth["classes"][torch.arange(4), batch.foils])
    own = perturb.levels(batch.raw().double()).int()
    noise = explainers.bind("noise-equal").on(COUNTERFACTUAL)(model.module, batch).int() - own
    strength = [change.square().flatten(1).float().mean(1).sqrt() for change in (true.int() - own, noise)]
    assert (strength[1] / strength[0]).tolist() == pytest.approx([1] * 4, abs=0.12)  # what is cut off at black and white
    blind = replace(batch, truth={})
    change = explainers.bind("noise-equal").on(COUNTERFACTUAL)(model.module, blind).int() - own
    assert math.sqrt(change.square().float().mean()) == pytest.approx(0.08 * 255, rel=0.12)
    with pytest.raises(VxpError, match="'rerendered' needs the truth 'classes', the batch has none"):
        explainers.bind("rerendered").on(COUNTERFACTUAL)(model.module, blind)
    assert explainers.references(("classes",), "counterfactual") == ["noise-equal", "rerendered"]
    assert explainers.references(("mask",), "counterfactual") == ["noise-equal"]


# ---------------------------------------------------------------------------------------- from a run to a verified bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four items of the task by an attack."""
    out = tmp_path_factory.mktemp("foils") / "run"
    task = tasks.load("shapes-foils")
    context = Context.of(task, models.load(task.model), out, Settings(batch_size=16, threads=1, limit=4), task.metrics)
    run.run(context, [explainers.bind("pgd")])
    return out


def test_the_truth_is_first_where_it_is_known_and_an_attack_where_it_is_not(folder: Path) -> None:
    means = {}
    for path in folder.glob("results/*/result.json"):
        document = json.loads(path.read_text())
        means[document["explainer"]["id"]] = {s["metric"]["id"]: s["mean"] for s in document["scores"]}
    assert set(means["pgd"]) == set(METRICS)
    assert (means["rerendered"]["cf-semantic"], means["rerendered"]["cf-collateral"]) == (1, 0)
    assert means["pgd"]["cf-semantic"] == means["noise-equal"]["cf-semantic"] == 0
    assert means["pgd"]["cf-collateral"] > 0.5
    assert means["pgd"]["cf-validity"] == 1
    assert means["pgd"]["cf-proximity"] < means["rerendered"]["cf-proximity"] < means["noise-equal"]["cf-proximity"]


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    return sealed(folder, folder.parent / "bundle", "pgd")


def test_a_run_is_sealed_validated_and_verified(bundle: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    assert [f for f in validate(bundle).findings if f["severity"] == "error"] == []
    said = run_vxp("verify", str(bundle), "--regenerate", "pgd", "--out", str(tmp_path / "audit.json"), "--threads", "1")
    assert "evidence E3" in said.stdout, said.stdout + said.stderr


@pytest.mark.parametrize(("code", "said", "made"), [
    ("VXP-C001", "of U8", lambda values: values.astype(np.float32)),
    ("VXP-C015", "[3, 64, 64]", lambda values: values[:, :, :32]),
    ("VXP-C015", "[3, 64, 64]", lambda values: values[:, :1])], ids=["floats", "a half", "one channel"])
def test_a_payload_that_is_no_image_of_the_input_is_found(
    bundle: Path, tmp_path: Path, code: str, said: str, made: Callable[[Any], Any]
) -> None:
    broken = Broken(bundle, tmp_path / "broken")
    broken.tensors("shard", lambda tensors: tensors.__setitem__("values", made(tensors["values"]).copy()))
    values = load_file(broken.path("shard"))["values"]
    dtype = "U8" if values.dtype == np.uint8 else "F32"
    broken.json("set", lambda d: d["shards"][0]["tensors"]["values"].update(shape=list(values.shape), dtype=dtype))
    broken.seal()
    found = [f for f in validate(broken.folder).findings if f["code"] == code]
    assert any(said in json.dumps(f) for f in found), found


def test_the_gallery_shows_images_changes_and_what_the_model_says(folder: Path) -> None:
    said = json.loads((folder / "gallery" / FILE).read_text())
    assert [entry["row"] for entry in said] == [0, 1, 2, 3]
    html = report.write(folder).read_text()
    assert html.count("counterfactual of factors-") == html.count("change of factors-") == 4 * 3
    for entry in said:
        assert f"<strong>{entry['foil']}</strong>" in html
        (rerendered,) = (answer for of_set, answer in entry["sets"].items() if "rerendered" in of_set)
        assert f"{rerendered['name']}, {100 * rerendered['probability']:.0f} %" in html
    assert "noise-equal, noise as strong as the true change, is the floor" in html


def test_the_picture_of_a_change_is_grey_where_there_is_none() -> None:
    item = np.full((3, 4, 4), 100, np.uint8)
    made = item.copy()
    made[1, 0, 0], made[2, 3, 3] = 110, 95
    cell = pictures.cell("mine", item, made, "ok", (pictures.Said("ring", 0.876), "ring"))
    assert (cell.gain, cell.said, cell.reached) == ("13", "ring, 88 %", True)
    assert pictures.cell("mine", item, item, "ok", (None, "ring")).gain == ""
    assert pictures.cell("mine", item, item, "failed:explainer-error", (None, "ring")).words == "failed: explainer error"


def test_the_explainer_of_the_howto_reaches_the_foil(few: tuple[models.Model, Batch]) -> None:
    model, batch = few
    bound = explainers.bind(f"{Path(__file__).parent / 'howto' / 'blend.py'}:blend").on(COUNTERFACTUAL)
    shown = model.normalization.to_inputs(bound(model.module, batch).float() / 255)
    assert batch.foils is not None
    assert torch.equal(models.predict(model.module, shown).argmax(1), batch.foils)
    assert batch.bank is not None
    half = explainers.bind(f"{Path(__file__).parent / 'howto' / 'blend.py'}:blend|steps:1").on(COUNTERFACTUAL)
    whole = perturb.levels(batch.to_raw(torch.cat([batch.bank.on, batch.bank.off]).flatten(0, 1).double()))
    assert all(bool((whole == image).flatten(1).all(1).any()) for image in half(model.module, batch))
