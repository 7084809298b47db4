"""The notebook's calls, and what they say of bad input."""

import json
import math

import pytest
import torch
import vxp
from torch import Tensor, nn


class Tiny(nn.Module):
    """A small convolutional classifier with fixed random weights."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1),
                                      nn.ReLU())
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


@pytest.fixture
def model() -> nn.Module:
    return Tiny().train()


@pytest.fixture
def inputs() -> Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def maps() -> Tensor:
    return torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_explain_then_score(model: nn.Module, inputs: Tensor) -> None:
    assert vxp.explain(model, inputs, explainer="grad-cam").shape == (3, 16, 16)
    maps = vxp.explain(model, inputs, explainer="saliency")
    assert maps.shape == (3, 32, 32)
    scores = vxp.score(model, inputs, maps, metrics=("deletion|steps:8", ("insertion", {"steps": 8})))
    assert list(scores) == ["deletion@1|steps:8|fill:mean", "insertion@1|steps:8|fill:blur"]
    found = scores["deletion"]
    assert found.values.dtype == torch.float64
    assert found.values.shape == (3,)
    assert found.status == ("ok",) * 3
    assert found.signature == "deletion@1|steps:8|fill:mean"
    assert found.mean == pytest.approx(float(found.values.mean()))
    assert scores["deletion|steps:8"] is found
    assert scores[found.signature] is found
    assert "deletion@1|steps:8|fill:mean" in repr(scores)
    assert json.loads(json.dumps(scores.to_dict()))[found.signature]["status"] == ["ok"] * 3


def test_the_model_is_left_as_it_was(model: nn.Module, inputs: Tensor, maps: Tensor) -> None:
    before = {k: v.clone() for k, v in model.state_dict().items()}
    vxp.score(model, inputs, maps, metrics=("deletion|steps:4",))
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_targets_default_to_the_predictions(model: nn.Module, inputs: Tensor, maps: Tensor) -> None:
    with torch.no_grad():
        predicted = model.eval()(inputs).argmax(1)
    own = vxp.score(model, inputs, maps, metrics=("deletion|steps:4",))
    given = vxp.score(model, inputs, maps, targets=predicted, metrics=("deletion|steps:4",))
    other = vxp.score(model, inputs, maps, targets=(predicted + 1) % 5, metrics=("deletion|steps:4",))
    assert torch.equal(own["deletion"].values, given["deletion"].values)
    assert not torch.equal(own["deletion"].values, other["deletion"].values)


def test_normalization_fixes_what_black_is(model: nn.Module, inputs: Tensor, maps: Tensor) -> None:
    """Scores of a model on raw pixels equal those of the same model behind a normalization."""
    mean, std = (0.3, 0.4, 0.5), (0.2, 0.3, 0.4)
    m, s = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    class Behind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model(x * s + m)

    wanted = ("deletion|steps:4|fill:black", "average-drop|keep:50", "insertion|steps:4")
    raw = vxp.score(model, inputs, maps, metrics=wanted)
    normalized = vxp.score(Behind(), (inputs - m) / s, maps, metrics=wanted, normalization=(mean, std))
    for name in raw:
        torch.testing.assert_close(raw[name].values, normalized[name].values, atol=1e-5, rtol=0)


def test_statuses_of_bad_maps_leave_the_others_alone(model: nn.Module, inputs: Tensor, maps: Tensor) -> None:
    wanted = ("deletion|steps:4", "entropy", "gini")
    clean = vxp.score(model, inputs, maps, metrics=wanted)
    bad = maps.clone()
    bad[0] = float("nan")
    bad[1] = 0.0
    scores = vxp.score(model, inputs, bad, metrics=wanted)
    assert scores["deletion"].status == ("undefined:non-finite-map", "undefined:constant-map", "ok")
    assert scores["entropy"].status == ("undefined:non-finite-map", "undefined:zero-map", "ok")
    for name in clean:
        assert scores[name].values[2] == clean[name].values[2]
        assert math.isnan(scores[name].values[0])
    assert scores["deletion"].mean == clean["deletion"].values[2]


def test_ambiguous_names(model: nn.Module, inputs: Tensor, maps: Tensor) -> None:
    scores = vxp.score(model, inputs, maps, metrics=("deletion|steps:4", "deletion|steps:8"))
    with pytest.raises(KeyError, match="ambiguous"):
        scores["deletion"]
    assert scores["deletion|steps:8"].signature == "deletion@1|steps:8|fill:mean"
    with pytest.raises(KeyError, match="insertion"):
        scores["insertion"]


def test_aliases(model: nn.Module, inputs: Tensor, maps: Tensor) -> None:
    scores = vxp.score(model, inputs, maps, metrics=("morf|steps:4", "lerf|steps:4", "deletion|steps:4"))
    assert list(scores) == ["deletion@1|steps:4|fill:mean", "insertion@1|steps:4|fill:mean"]
    assert scores["morf|steps:4"].signature == "deletion@1|steps:4|fill:mean"


@pytest.mark.parametrize(("change", "says"), [
    ({"metrics": ("deletoin",)}, "did you mean 'deletion'"),
    ({"metrics": ("deletion|step:4",)}, "did you mean 'steps'"),
    ({"metrics": ("deletion|steps:many",)}, "expected a value of type int"),
    ({"metrics": ("deletion|steps:0",)}, "steps"),
    ({"metrics": ("deletion@2",)}, "has version 1"),
    ({"metrics": ("deletion|fill:blurr",)}, "blur"),
    ({"metrics": ("pointing-game",)}, "needs the truth mask or cells"),
    ({"metrics": ("max-sensitivity",)}, "pass explainer="),
    ({"attributions": torch.rand(2, 8, 8)}, r"got \(2, 8, 8\) float32, expected \[3, h, w\]"),
    ({"attributions": torch.rand(3, 3, 8, 8)}, "channels pooled"),
    ({"targets": [0, 1]}, "expected 3 class indices"),
    ({"targets": [0, 1, 9]}, r"in 0\.\.4"),
    ({"truth": torch.ones(3, 8, 8, dtype=torch.bool)}, r"expected a tensor \(3, 32, 32\)"),
    ({"inputs": torch.rand(3, 32, 32)}, r"expected a float tensor \[B, 3, H, W\]"),
    ({"inputs": torch.full((3, 3, 32, 32), float("nan"))}, "NaN or infinite"),
    ({"normalization": (0.5, 0.5)}, "one number per channel"),
    ({"normalization": ((0, 0, 0), (1, 1, 0))}, "positive deviations"),
    ({"ids": ["a", "a", "b"]}, "2 different"),
    ({"explainer": "grad-cm", "metrics": ("random-logit",)}, "did you mean 'grad-cam'"),
    ({"explainer": "grad-cam|layr:x", "metrics": ("random-logit",)}, "did you mean 'layer'"),
    ({"explainer": "grad-cam|layer:features.33", "metrics": ("random-logit",)}, r"features\.3"),
])
def test_bad_input_is_named(model: nn.Module, inputs: Tensor, maps: Tensor, change: dict, says: str) -> None:
    given = {"inputs": inputs, "attributions": maps, "metrics": ("deletion|steps:2",)} | change
    with pytest.raises(vxp.VxpError, match=says):
        vxp.score(model, given.pop("inputs"), given.pop("attributions"), **given)


@pytest.mark.parametrize(("output", "says"), [
    (lambda x: x, r"\[3, K\]|\[B, K\]|\[1, K\]"),
    (lambda x: x.mean((2, 3)) * float("nan"), "NaN"),
    (lambda x: (x.mean((2, 3)),), "tuple"),
])
def test_a_wrong_model_is_named(inputs: Tensor, maps: Tensor, output: object, says: str) -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> object:
            return output(x)  # type: ignore[operator]

    with pytest.raises(vxp.VxpError, match=says):
        vxp.score(Wrong(), inputs, maps, metrics=("deletion|steps:2",))


def test_a_callable_explainer(model: nn.Module, inputs: Tensor) -> None:
    def brightness(model: nn.Module, batch: vxp.Batch) -> Tensor:
        return batch.raw().mean(1)

    maps = vxp.explain(model, inputs, explainer=brightness)
    torch.testing.assert_close(maps, inputs.mean(1))
    scores = vxp.score(model, inputs, maps, metrics=("max-sensitivity|samples:2", "random-logit"), explainer=brightness)
    assert scores["random-logit"].values.tolist() == pytest.approx([1.0] * 3)
    assert (scores["max-sensitivity"].values > 0).all()
