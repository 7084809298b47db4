"""L-CAM, TAME, T-TAME and P-TAME: networks, losses and training by hand; what is kept, refused and counted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import vxp_explainers._attention as attention
import vxp_explainers._class_maps as class_maps
import vxp_explainers._training as training
import vxp_explainers._weights as weights
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import datasets, explainers, models
from vxp.core import Batch, Normalization, NotExplainedError, VxpError
from vxp.runs import fitting
from vxp.runs.context import Quiet
from vxp_explainers import _l_cam, l_cam_fm, l_cam_img, p_tame, t_tame, tame
from vxp_explainers._class_maps import Recipe, Tame
from vxp_explainers._common import observed
from vxp_explainers._training import area, regularised_maps, variation

NORMALIZATION = Normalization((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


class Tiny(nn.Module):
    """Two grids, a batch norm, and one ReLU that is used twice, the second time for the features of the head."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.second = nn.Conv2d(5, 6, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.first(x)))
        out: Tensor = self.head(self.act(self.second(y)).mean((2, 3)))
        return out


@pytest.fixture
def model() -> Tiny:
    torch.manual_seed(0)
    made = Tiny().eval()
    made.norm.running_mean.uniform_(-0.2, 0.2)
    with torch.no_grad():
        made.head.weight.mul_(8)
    return made


def images(n: int = 12, side: int = 16, model: nn.Module | None = None) -> fitting.Images:
    """Made images with the classes that the model predicts."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (n, 3, side, side), generator=generator, dtype=torch.uint8)
    source = datasets.Source("made", 1, lambda item: datasets.Sample(pixels[item.recipe["i"]]), lambda: None, "CC0", "made")
    items = tuple(datasets.Item(f"i{i}", f"i{i}", {"i": i}) for i in range(n))
    inputs = NORMALIZATION.to_inputs(pixels.float() / 255)
    with torch.no_grad():
        targets = torch.zeros(n, dtype=torch.long) if model is None else model(inputs).argmax(1)
    return fitting.Images(source, items, targets, NORMALIZATION, {"dataset": "made@1", "images": n})


def session(**changes: Any) -> fitting.Session:
    given: dict[str, Any] = {"model": {"id": "tiny"}, "seed": 3, "device": "cpu", "precision": "fp32"}
    return fitting.Session(**(given | changes))


QUICK = Recipe(epochs=2, batch=4, rate=0.05)


def trained(design: class_maps.Design, model: nn.Module, tmp_path: Path, recipe: Recipe = QUICK) -> Path:
    """Weights on disk, as `vxp fit` writes them."""
    out = tmp_path / f"{design.id}.safetensors"
    document = {"id": "tiny", "version": 1}
    wrapped = models.Model("tiny", model, NORMALIZATION, (16, 16), (), document | {
        "state_dict_digest": models.state_dict_digest(model)})
    fitting.fit(explainers.catalogue()[design.id], recipe, wrapped, images(model=model),
                fitting.Terms(3, "cpu", "fp32", 1, Quiet()), out)
    return out


# --------------------------------------------------------------------------------------------------------- architecture


def network_of(design: class_maps.Design, model: nn.Module, side: int = 224) -> tuple[nn.Module, list[Tensor]]:
    """The network that training would build for a model, and the features it would read; on the meta device, so that only
    shapes are computed."""
    with torch.device("meta"):
        inputs = torch.zeros(1, 3, side, side)
        batch = Batch(("a",), inputs, torch.zeros(1, dtype=torch.long))
        layers = design.layers(model, inputs)
        logits, features, _ = observed(model, layers, batch)
        facts = {"kind": design.kind, "channels": [f.shape[1] for f in features], "classes": logits.shape[1], "skip": True,
                 "norm": True, "activation": "relu", "fuser_bias": design.fuser_bias}
        return class_maps.built(facts), features


ARCHITECTURES = [
    (l_cam_img.DESIGN, "vgg16", 513_000, (14, 14)),
    (l_cam_fm.DESIGN, "vgg16", 513_000, (14, 14)),
    (l_cam_img.DESIGN, "resnet50", 2_049_000, (7, 7)),
    (tame.DESIGN, "vgg16", 1_874_664, (28, 28)),
    (tame.DESIGN, "resnet50", 9_100_776, (28, 28)),
    (t_tame.DESIGN, "vit_b_16", 4_081_384, (14, 14)),
]


@pytest.mark.parametrize(("design", "name", "parameters", "grid"), ARCHITECTURES,
                         ids=[f"{d.id}-{name}" for d, name, *_ in ARCHITECTURES])
def test_published_sizes(design: class_maps.Design, name: str, parameters: int, grid: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None).eval()
    network, features = network_of(design, model)
    assert sum(p.numel() for p in network.parameters()) == parameters
    with torch.device("meta"), torch.no_grad():
        assert network.eval()(features).shape == (1, 1000, *grid)


def test_the_seven_by_seven_variant_of_vgg() -> None:
    with torch.device("meta"):
        model = torchvision.models.vgg16(weights=None).eval()
    _, features = network_of(replace(l_cam_img.DESIGN, layers=lambda m, x: ("features.30",)), model)
    assert features[0].shape == (1, 512, 7, 7)


def test_published_recipes() -> None:
    vgg, resnet = _l_cam.RECIPES["vgg16"], _l_cam.RECIPES["resnet50"]
    assert (vgg.rate, vgg.bias_rate, vgg.gamma, vgg.epochs, vgg.batch, vgg.decay_biases) == (1e-2, 2.0, 0.75, 8, 64, True)
    assert (resnet.rate, resnet.gamma, resnet.epochs, resnet.batch) == (1e-4, 0.95, 26, 64)
    assert (tame.RECIPES["vgg16"].rate, tame.RECIPES["vgg16"].epochs, tame.RECIPES["vgg16"].batch) == (1e-3, 8, 32)
    assert (tame.RECIPES["resnet50"].rate, tame.RECIPES["resnet50"].epochs) == (1e-4, 4)
    assert (t_tame.RECIPES["vit"].bias_rate, t_tame.RECIPES["vit"].mask_space) == (1.0, "normalized")
    assert (p_tame.RECIPES["vgg16"].cross_entropy, p_tame.RECIPES["vit"].area_power) == (0.07278, 0.5)
    for found in (vgg, resnet, tame.RECIPES["vgg16"], t_tame.RECIPES["vit"]):
        assert (found.cross_entropy, found.area, found.variation, found.area_power) == (1.5, 2.0, 0.01, 0.3)
        assert (found.momentum, found.decay, found.regularised) == (0.9, 5e-4, "batch")


@torch.no_grad()
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_tame_by_its_formula(skip: bool, norm: bool, activation: str) -> None:
    torch.manual_seed(0)
    network = Tame([2, 3], 4, skip=skip, norm=norm, activation=activation).eval()
    for found in network.norms:
        if norm:
            found.running_mean.uniform_(-1, 1)
            found.running_var.uniform_(0.5, 2)
            found.weight.uniform_(0.5, 2)
            found.bias.uniform_(-1, 1)
    features = [torch.randn(1, 2, 4, 4), torch.randn(1, 3, 2, 2)]
    parts = []
    for feature, convolution, found in zip(features, network.branches, network.norms, strict=True):
        z = torch.zeros_like(feature)
        for c in range(len(convolution.weight)):
            row = convolution.weight[c, :, 0, 0]
            z[0, c] = convolution.bias[c] + sum(w * f for w, f in zip(row, feature[0], strict=True))
            if norm:
                z[0, c] = (z[0, c] - found.running_mean[c]) / (found.running_var[c] + 1e-5).sqrt()
                z[0, c] = z[0, c] * found.weight[c] + found.bias[c]
        z = z + feature if skip else z
        z = z.clamp(min=0) if activation == "relu" else 1 / (1 + (-z).exp())
        parts.append(F.interpolate(z, size=(4, 4), mode="bilinear", align_corners=False))
    everything = torch.cat(parts, 1)[0]
    for k in range(4):
        expected = network.fuser.bias[k] + sum(network.fuser.weight[k, d, 0, 0] * everything[d] for d in range(5))
        torch.testing.assert_close(network(features)[0, k], expected, atol=1e-5, rtol=1e-5)


def test_maps_are_no_finer_than_56() -> None:
    assert Tame([2], 3).eval()([torch.zeros(1, 2, 112, 60)]).shape == (1, 3, 56, 56)


# ------------------------------------------------------------------------------------------------------------- the loss


def test_area_by_hand() -> None:
    maps = torch.tensor([[[0.0, 1.0], [0.25, 0.5]]], dtype=torch.float64)
    expected = sum((a + 0.0005) ** 0.3 for a in (0.0, 1.0, 0.25, 0.5)) / 4
    assert float(area(maps)) == pytest.approx(expected, abs=1e-12)
    leaf = torch.zeros(1, 2, 2, requires_grad=True)
    area(leaf).backward()
    assert float(leaf.grad[0, 0, 0]) == pytest.approx(0.3 * 0.0005**-0.7 / 4, rel=1e-5)  # finite at 0


def test_variation_by_hand() -> None:
    """[[1, 3], [2, 7]]: down 1 + 16, across 4 + 25; every pixel is a corner and lies on two border lines: 2*(1+9+4+49)."""
    maps = torch.tensor([[[1.0, 3.0], [2.0, 7.0]]])
    assert float(variation(maps, 1)) == pytest.approx((1 + 16 + 4 + 25 + 0.3 * 126) / 2)
    inner = torch.zeros(1, 3, 3)
    inner[0, 1, 1] = 2.0  # not on the border: four neighbours
    assert float(variation(inner, 4)) == pytest.approx(4 * 4 / 8)
    assert float(variation(torch.cat([maps, maps]), 2)) == pytest.approx(float(variation(maps, 1)))


def test_which_maps_enter_the_regularisers() -> None:
    """The published code takes the classes of the whole batch for every image: B*B maps, their mean for the area and their
    sum over B for the variation."""
    stack = torch.rand(3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([4, 0, 4])
    own, batch = regularised_maps(stack, labels, "own"), regularised_maps(stack, labels, "batch")
    assert own.shape == (3, 4, 4)
    assert torch.equal(own, torch.stack([stack[0, 4], stack[1, 0], stack[2, 4]]))
    assert batch.shape == (9, 4, 4)
    assert torch.equal(batch, torch.stack([stack[i, k] for i in range(3) for k in (4, 0, 4)]))
    one = stack[:1, :1].expand(3, 5, 4, 4)  # the same map everywhere: three times as large a variation, the same area
    ratio = variation(regularised_maps(one, labels, "batch"), 3) / variation(regularised_maps(one, labels, "own"), 3)
    assert float(ratio) == pytest.approx(3)
    assert float(area(regularised_maps(one, labels, "batch"))) == pytest.approx(float(area(one[:, 0])))


def first_step(
    model: nn.Module, design: class_maps.Design, recipe: Recipe, data: fitting.Images,
) -> tuple[Any, dict[str, float]]:
    with training.frozen(model), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = training._Training(model, data, session(), recipe, design)
        before = {k: v.clone() for k, v in made.network.state_dict().items()}
        terms = made._step(data.batch(range(4)))
        made.network.load_state_dict(before)
    return made, terms


@pytest.mark.parametrize("rule", ["own", "batch"])
@pytest.mark.parametrize("space", ["raw", "normalized"])
def test_the_terms_of_a_step_for_the_image(model: Tiny, rule: str, space: str) -> None:
    data = images(4, model=model)
    recipe = replace(QUICK, layers="act", regularised=rule, mask_space=space, flip=False)
    made, terms = first_step(model, l_cam_img.DESIGN, recipe, data)
    batch = data.batch(range(4))
    with torch.no_grad():
        features = model.act(model.second(model.act(model.norm(model.first(batch.inputs)))))
        stack = made.network([features]).sigmoid()
        labels = model(batch.inputs).argmax(1)
        own = torch.stack([stack[i, k] for i, k in enumerate(labels)])
        large = F.interpolate(own[:, None], size=(16, 16), mode="bilinear", align_corners=False)
        shown = large * batch.inputs if space == "normalized" else NORMALIZATION.to_inputs(large * batch.raw())
        loss = -torch.stack([model(shown).log_softmax(1)[i, k] for i, k in enumerate(labels)]).mean()
        maps = own if rule == "own" else torch.stack([stack[i, k] for i in range(4) for k in labels])
    assert terms["cross_entropy"] == pytest.approx(float(loss), rel=1e-5)
    assert terms["area"] == pytest.approx(float(area(maps)), rel=1e-5)
    assert terms["variation"] == pytest.approx(float(variation(maps, 4)), rel=1e-5)
    whole = 1.5 * terms["cross_entropy"] + 2 * terms["area"] + 0.01 * terms["variation"]
    assert terms["loss"] == pytest.approx(whole, rel=1e-5)


def test_the_features_are_masked_at_the_last_use_of_their_layer(model: Tiny) -> None:
    data = images(4, model=model)
    made, terms = first_step(model, l_cam_fm.DESIGN, replace(QUICK, layers="act", flip=False), data)
    batch = data.batch(range(4))
    with torch.no_grad():
        features = model.act(model.second(model.act(model.norm(model.first(batch.inputs)))))
        labels = model(batch.inputs).argmax(1)
        own = made.network([features]).sigmoid()[torch.arange(4), labels]
        logits = model.head((features * own[:, None]).mean((2, 3)))
    assert terms["cross_entropy"] == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)


def test_cross_entropy_alone(model: Tiny) -> None:
    data = images(4, model=model)
    recipe = replace(QUICK, layers="act", cross_entropy=1.0, area=0.0, variation=0.0)
    _, terms = first_step(model, l_cam_img.DESIGN, recipe, data)
    assert terms["loss"] == pytest.approx(terms["cross_entropy"])
    assert terms["area"] > 0  # still logged


# --------------------------------------------------------------------------------------------------------- the training


DESIGNS: list[class_maps.Design] = [l_cam_fm.DESIGN, l_cam_img.DESIGN, tame.DESIGN]
every_design = pytest.mark.parametrize("design", DESIGNS, ids=lambda d: d.id)


@every_design
def test_training_leaves_the_model_alone(design: class_maps.Design, model: Tiny) -> None:
    digest, data = models.state_dict_digest(model), images(model=model)
    model.train()
    model.head.weight.requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    outside = torch.random.get_rng_state()
    made = training.fit(model, data, session(), replace(QUICK, flip=False), design)
    assert models.state_dict_digest(model) == digest
    assert model.training
    assert model.norm.training
    assert [p.requires_grad for p in model.parameters()] == flags
    assert torch.equal(torch.random.get_rng_state(), outside)
    log = made.card["log"]
    assert [entry["epoch"] for entry in log] == [0, 1]
    assert {"cross_entropy", "area", "variation", "loss"} <= set(log[0])
    assert made.card["trained_classes"].keys() <= {"0", "1", "2", "3"}
    assert sum(made.card["trained_classes"].values()) == 2 * 12


class Drifting(Tiny):
    """Counts its passes in a buffer, also in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return super().forward(x)


def test_a_model_that_changes_is_found() -> None:
    with pytest.raises(VxpError, match="training l-cam-img changed the model"):
        training.fit(Drifting().eval(), images(), session(), QUICK, l_cam_img.DESIGN)


@every_design
def test_training_lowers_the_loss(design: class_maps.Design, model: Tiny) -> None:
    log = training.fit(model, images(24, model=model), session(), replace(QUICK, epochs=12, flip=False), design).card["log"]
    assert log[-1]["loss"] < log[0]["loss"]


def test_labels_are_predicted_or_given(model: Tiny) -> None:
    data = replace(images(8, model=model), targets=torch.full((8,), 2))
    given = training.fit(model, data, session(), replace(QUICK, labels="given"), tame.DESIGN).card["trained_classes"]
    assert set(given) == {"2"}
    found = training.fit(model, data, session(), replace(QUICK, flip=False), tame.DESIGN).card["trained_classes"]
    predicted = model(data.batch(range(8)).inputs).argmax(1).tolist()
    assert found == {str(k): 2 * predicted.count(k) for k in set(predicted)}


@pytest.mark.parametrize("recipe", [QUICK, replace(QUICK, optimiser="adamw"), replace(QUICK, schedule="epochs", gamma=0.5,
                                                                                      gamma_epochs=1)],
                         ids=["sgd", "adamw", "epochs"])
def test_a_training_that_was_stopped_ends_with_the_same_weights(recipe: Recipe, model: Tiny, tmp_path: Path) -> None:
    data, recipe = images(model=model), replace(recipe, epochs=3)
    whole = training.fit(model, data, session(), recipe, tame.DESIGN)

    class StopError(Exception):
        pass

    class Stopping(fitting.Session):
        def save(self, *arguments: Any) -> None:
            super().save(*arguments)
            if arguments[2]["epochs"] == 2:
                raise StopError

    file = tmp_path / "t.checkpoint"
    with pytest.raises(StopError):
        training.fit(model, data, Stopping({"id": "tiny"}, 3, "cpu", "fp32", file), recipe, tame.DESIGN)
    again = training.fit(model, data, session(checkpoint=file), recipe, tame.DESIGN)
    assert [e["loss"] for e in again.card["log"]] == [e["loss"] for e in whole.card["log"]]
    assert again.card["trained_classes"] == whole.card["trained_classes"]
    for name, value in whole.tensors.items():
        assert torch.equal(again.tensors[name], value), name
    with pytest.raises(VxpError, match="is of another training \\(other recipe\\)"):
        training.fit(model, data, session(checkpoint=file), replace(recipe, rate=0.5), tame.DESIGN)
    file.write_bytes(b"damaged")
    with pytest.raises(VxpError, match="is no checkpoint of vxp fit"):
        training.fit(model, data, session(checkpoint=file), recipe, tame.DESIGN)


def test_bfloat16_trains_in_float32(model: Tiny) -> None:
    made = training.fit(model, images(model=model), session(precision="bf16"), QUICK, tame.DESIGN)
    assert {t.dtype for t in made.tensors.values()} <= {torch.float32, torch.int64}
    assert math.isfinite(made.card["log"][-1]["loss"])


@pytest.mark.parametrize(("change", "says"), [
    ({"regularised": "all"}, "regularised is 'all', expected one of 'own', 'batch'"),
    ({"optimiser": "adam"}, "optimiser is 'adam', expected one of 'sgd', 'adamw'"),
    ({"layers": "lost"}, "no layer 'lost'"),
    ({"layers": "head"}, "layer 'head' gives"),
])
def test_bad_recipes_are_named(change: dict[str, Any], says: str, model: Tiny) -> None:
    with pytest.raises(VxpError, match=says):
        training.fit(model, images(model=model), session(), replace(QUICK, **change), tame.DESIGN)


# ------------------------------------------------------------------------------------------------- the weights, the maps


def batch_of(model: nn.Module, n: int = 3) -> Batch:
    data = images(n, model=model)
    return data.batch(range(n))


@every_design
def test_one_pass_gives_the_maps_of_all_classes(design: class_maps.Design, model: Tiny, tmp_path: Path) -> None:
    file = trained(design, model, tmp_path)
    batch = batch_of(model)
    found = weights.opened(file)
    rows: list[int] = []
    handle = model.register_forward_hook(lambda _m, _i, out: rows.append(len(out)))
    stack = attention.class_maps(model, batch, found)
    handle.remove()
    assert rows == [3]
    assert stack.shape[:2] == (3, 4)
    bound = explainers.bind(f"{design.id}|weights:{file}")
    known = [int(k) for k in found.card["trained_classes"]]
    for k in known:
        got = bound(model, replace(batch, targets=torch.full((3,), k)))
        low, high = stack[:, k].amin((1, 2), keepdim=True), stack[:, k].amax((1, 2), keepdim=True)
        torch.testing.assert_close(got, (stack[:, k] - low) / (high - low))
    assert float(got.min()) == 0
    assert float(got.max()) == 1


@every_design
def test_a_class_that_was_not_trained_has_no_map(design: class_maps.Design, model: Tiny, tmp_path: Path) -> None:
    file = trained(design, model, tmp_path)
    unknown = next(k for k in range(5) if str(k) not in weights.opened(file).card["trained_classes"])
    with pytest.raises(NotExplainedError, match="was not trained for the classes") as raised:
        explainers.bind(f"{design.id}|weights:{file}")(model, replace(batch_of(model), targets=torch.full((3,), unknown)))
    assert raised.value.code == "untrained-class"


def test_weights_belong_to_a_model(model: Tiny, tmp_path: Path) -> None:
    file = trained(tame.DESIGN, model, tmp_path)
    bound = explainers.bind(f"tame|weights:{file}")
    assert bound.resolved(model).parameters["weights"] == str(file)
    assert weights.components("tame", weights=str(file))[0]["name"] == "tame"
    other = Tiny().eval()
    with pytest.raises(VxpError, match=r"were trained for tiny with the digest sha256:.* this model of the same architecture"):
        bound.resolved(other)
    known = int(next(iter(weights.opened(file).card["trained_classes"])))
    assert bound(other, replace(batch_of(model), targets=torch.full((3,), known))).shape == (3, 8, 8)  # a randomised copy
    with pytest.raises(VxpError, match="has another architecture"):
        bound.resolved(Tiny(7).eval())
    with pytest.raises(VxpError, match="'tame' has no weights for this model"):
        explainers.bind("tame").resolved(model)
    with pytest.raises(VxpError, match="holds weights of 'tame'"):
        explainers.bind(f"l-cam-fm|weights:{file}").resolved(model)
    with pytest.raises(VxpError, match="no weights are called 'mine'"):
        explainers.bind("tame|weights:mine").resolved(model)
    with pytest.raises(VxpError, match="no such file"):
        explainers.bind(f"tame|weights:{tmp_path / 'no.safetensors'}").resolved(model)


@pytest.mark.parametrize(("harm", "says"), [
    (lambda f: f.write_bytes(f.read_bytes()[:-1] + b"?"), "it is damaged or was changed"),
    (lambda f: f.with_suffix(".json").unlink(), "no such file, expected the card"),
    (lambda f: f.with_suffix(".json").write_text("{}"), "not weights that vxp fit wrote"),
])
def test_damaged_weights_are_named(harm: Callable[[Path], object], says: str, model: Tiny, tmp_path: Path) -> None:
    file = trained(l_cam_fm.DESIGN, model, tmp_path)
    harm(file)
    with pytest.raises(VxpError, match=says):
        weights.opened(file)


@torch.no_grad()
def test_t_tame_reads_the_tokens_of_a_transformer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(image_size=16, patch_size=4, num_layers=4, num_heads=2, hidden_dim=12,
                                               mlp_dim=16, num_classes=5).eval()
    vit.heads.head.weight.normal_()
    layers = t_tame.DESIGN.layers(vit, torch.zeros(1, 3, 16, 16))
    assert layers == tuple(f"encoder.layers.encoder_layer_{i}.ln_1" for i in (1, 2, 3))
    batch = batch_of(vit)
    seen: list[Tensor] = []
    handle = vit.encoder.layers.encoder_layer_2.ln_1.register_forward_hook(lambda _m, _i, out: seen.append(out))
    _, features, _ = observed(vit, layers, batch)
    handle.remove()
    for i in range(3):
        for y in range(4):
            for x in range(4):
                assert torch.equal(features[1][i, :, y, x], seen[0][i, 1 + 4 * y + x])
    with torch.enable_grad():
        made = training.fit(vit, images(8, model=vit), session(), replace(QUICK, mask_space="normalized"), t_tame.DESIGN)
    assert made.card["mechanism"]["channels"] == [12, 12, 12]


class Answers(nn.Module):
    """A model known only by its answers; by default they can be differentiated."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_p_tame_explains_a_callable() -> None:
    answers = Answers(lambda x: torch.stack([x[:, 0].mean((1, 2)), x[:, 1, :16].mean((1, 2)), x[:, 2, 8:].mean((1, 2))], 1))
    made = training.fit(answers, images(4, 32, answers), session(), replace(QUICK, epochs=1), p_tame.DESIGN)
    assert made.card["mechanism"]["channels"] == [24, 40, 112, 320]
    assert not made.card["mechanism"]["fuser_bias"]
    assert made.card["features"] == "efficientnet-lite0"
    with pytest.raises(VxpError, match="does not depend on its input by gradients"):
        training.fit(Answers(lambda x: x.detach().mean((2, 3))), images(4, 32), session(), QUICK, p_tame.DESIGN)


# ------------------------------------------------------------------------------------------------------ what is shipped


SHIPPED = weights.shipped()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_weights_are_those_of_their_cards(path: Path) -> None:
    found = weights.opened(path)
    card = found.card
    assert path.stat().st_size < 8_000_000
    assert card["name"] == path.stem
    model = models.load(card["model"]["id"])
    assert card["model"]["state_dict_digest"] == model.digest
    assert card["structure"] == class_maps.structure(model.module)
    assert explainers.bind(card["explainer"]).resolved(model.module).parameters == {"weights": path.stem}
    assert card["num_params"] == sum(p.numel() for p in found.network.parameters())
    assert json.loads(path.with_suffix(".json").read_text())["log"]
