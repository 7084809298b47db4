"""What callers have in their hands: arrays, precisions, channels, other libraries' objects; and what is said of it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import captum.attr
import numpy as np
import pytest
import torch
import vxp
from torch import Tensor, nn
from vxp.core import doubts
from vxp.kinds import HEATMAP2D
from vxp.metrics import of_kind
from vxp.models import own, randomised

if TYPE_CHECKING:
    from conftest import Toy

QUICK: dict[str, Any] = {"steps": 4, "samples": 2, "stages": 2}
EVERYTHING = [(n, {k: v for k, v in QUICK.items() if k in m.parameters}) for n, m in of_kind(HEATMAP2D.id).items()]
PLAIN = ["deletion|steps:4", "gini"]


def same(one: vxp.Scores, other: vxp.Scores) -> None:
    assert list(one) == list(other)
    for name in one:
        assert one[name].status == other[name].status, name
        assert torch.equal(one[name].values.nan_to_num(), other[name].values.nan_to_num()), name


def scored(toy: Toy, metrics: Any = PLAIN, **changes: Any) -> vxp.Scores:
    given = {"model": toy.model, "inputs": toy.inputs, "attributions": toy.maps["random"], "metrics": metrics}
    return vxp.score(**given | toy.arguments() | changes)


# ------------------------------------------------------------------------------------------------------------ precisions


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_metric_takes_images_of_any_precision_as_float32(toy: Toy, dtype: torch.dtype) -> None:
    """They passed the check and died inside of aopc, noise, ROAD and nli."""
    narrow = toy.inputs.to(dtype)
    metrics = [*EVERYTHING, "deletion|steps:4|fill:noise", "deletion|steps:4|fill:nli", "deletion|steps:4|fill:blur"]
    same(scored(toy, metrics, inputs=narrow), scored(toy, metrics, inputs=narrow.float()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_of_another_type_gets_its_own_type_and_is_left_as_it_was(toy: Toy, dtype: torch.dtype) -> None:
    from conftest import small_cnn

    model = small_cnn().to(dtype)
    found = scored(toy, [*PLAIN, "mprt|stages:2", "max-sensitivity|samples:1"], model=model,
                   explainer=lambda module, batch: (module(batch.inputs)[:, :1, None] * batch.inputs.sum(1)).detach())
    assert {s for score in found.values() for s in score.status} == {"ok"}
    assert float(found["deletion"].values[0]) == pytest.approx(float(scored(toy)["deletion"].values[0]), abs=0.02)
    assert not model._forward_pre_hooks
    assert all(p.dtype == dtype for p in model.parameters())


@pytest.mark.parametrize(("change", "says"), [
    ({"inputs": torch.zeros(0, 3, 24, 32), "targets": None}, "no item at all"),
    ({"inputs": torch.zeros(3, 3, 24, 32, dtype=torch.uint8)}, r"got \(3, 3, 24, 32\) uint8.*images.float\(\) / 255"),
    ({"inputs": torch.rand(3, 24, 32)}, r"inputs\[None\]"),
    ({"inputs": torch.rand(3, 24, 32, 3)}, "channels before height"),
    ({"inputs": [1, 2]}, "got list"),
    ({"attributions": np.zeros((2, 24, 32))}, r"got \(2, 24, 32\) float64, expected \[3, h, w\]"),
    ({"attributions": torch.rand(3, 3, 24, 32)}, "pass pool='sum'"),
    ({"attributions": torch.rand(3, 3, 24, 32), "pool": "abssum"}, "did you mean 'abs-sum'"),
    ({"targets": torch.full((3, 5), 0.2)}, "not one-hot"),
    ({"targets": "cat"}, "got str"),
    ({"targets": torch.tensor([0.0, 1.0, 2.0])}, "float32"),
    ({"truth": torch.zeros(3, 2, 4)}, r"truth={'boxes'"),
    ({"truth": {"boxes": torch.zeros(3, 5)}}, r"boxes \[3, N, 4\]"),
])
def test_what_cannot_be_meant_is_refused_in_a_sentence(toy: Toy, change: dict[str, Any], says: str) -> None:
    with pytest.raises(vxp.VxpError, match=says):
        scored(toy, **change)


def test_five_channels_are_named_where_noise_is_drawn(toy: Toy) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(5 * 64, 3))
    given = (model, torch.rand(2, 5, 8, 8), torch.rand(2, 8, 8))
    assert vxp.score(*given, metrics=PLAIN)["gini"].status == ("ok", "ok")
    with pytest.raises(vxp.VxpError, match="inputs have 5 channels, expected 1 to 4"):
        vxp.score(*given, metrics=["deletion|steps:2|fill:noise"])


# --------------------------------------------------------------------------------------------------------- other shapes


def test_arrays_and_single_channels_and_one_hot_rows_score_like_tensors(toy: Toy) -> None:
    metrics = [*PLAIN, "pointing-game", "max-box-acc-v2|thresholds:10"]
    first = toy.truth["boxes"][:, 0]
    expected = scored(toy, metrics, truth={"mask": toy.truth["mask"], "boxes": first[:, None]})
    hot = torch.nn.functional.one_hot(toy.targets, 5)
    tensors = {"inputs": toy.inputs, "attributions": toy.maps["random"][:, None], "targets": hot,
               "truth": {"mask": toy.truth["mask"][:, None], "boxes": first}}
    same(scored(toy, metrics, **tensors), expected)
    arrays = {k: {n: t.numpy() for n, t in v.items()} if isinstance(v, dict) else v.numpy() for k, v in tensors.items()}
    same(scored(toy, metrics, **arrays), expected)
    same(scored(toy, metrics, **arrays | {"targets": hot.float().numpy(), "attributions": toy.maps["random"].numpy()[::1]}),
         expected)


@pytest.mark.parametrize(("pool", "one"), [
    ("sum", lambda v: v.double().sum(1).float()), ("abs-sum", lambda v: v.double().abs().sum(1).float()),
    ("max-abs", lambda v: v.abs().amax(1))])
def test_channels_are_pooled_as_asked(toy: Toy, pool: str, one: Callable[[Tensor], Tensor]) -> None:
    values = torch.randn(3, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    same(scored(toy, attributions=values, pool=pool), scored(toy, attributions=one(values)))


def test_a_layer_may_be_the_module_itself(toy: Toy) -> None:
    named = vxp.explain(toy.model, toy.inputs, "grad-cam", layer="3", normalization=toy.normalization)
    layer = toy.model[3]  # type: ignore[index]
    assert torch.equal(vxp.explain(toy.model, toy.inputs, "grad-cam", layer=layer, normalization=toy.normalization), named)
    with pytest.raises(vxp.VxpError, match="a Conv2d that is no part of the model") as caught:
        vxp.explain(toy.model, toy.inputs, "grad-cam", layer=nn.Conv2d(3, 3, 1))
    assert len(str(caught.value)) < 150


# ------------------------------------------------------------------------------------------------------ other libraries


def test_objects_of_captum_explain_and_explain_again(toy: Toy) -> None:
    x = toy.inputs.clone().requires_grad_()
    values = captum.attr.InputXGradient(toy.model).attribute(x, target=toy.targets).detach()
    tool = captum.attr.InputXGradient(toy.model)
    given = {"targets": toy.targets, "normalization": toy.normalization}
    maps = vxp.explain(toy.model, toy.inputs, tool, pool="sum", **given)
    torch.testing.assert_close(maps, values.sum(1), atol=1e-6, rtol=0)
    with pytest.raises(vxp.VxpError, match=r"the maps of InputXGradient: got .*pass pool='sum'"):
        vxp.explain(toy.model, toy.inputs, tool, **given)
    layer = captum.attr.LayerGradCam(toy.model, toy.model[3])  # type: ignore[index]
    assert vxp.explain(toy.model, toy.inputs, layer, **given).shape == (3, 6, 8)  # from [3, 1, 6, 8]


def by_hand(module: nn.Module, batch: vxp.Batch) -> Tensor:
    x = batch.inputs.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(x).gather(1, batch.targets[:, None]).sum(), x)
    return (gradient * x).detach().double().sum(1).float()


def test_an_object_of_captum_is_asked_of_the_randomised_model(toy: Toy) -> None:
    """It holds the model that it was made for, and would explain that one for ever."""
    maps = vxp.explain(toy.model, toy.inputs, by_hand, targets=toy.targets, normalization=toy.normalization)
    metrics = ["mprt|stages:2", "random-logit", "max-sensitivity|samples:1"]
    own_ = scored(toy, metrics, attributions=maps, explainer=by_hand)
    for tool in (captum.attr.InputXGradient(toy.model), captum.attr.InputXGradient(toy.model.forward)):
        found = scored(toy, metrics, attributions=maps, explainer=tool, pool="sum")
        for name in own_:
            assert found[name].values.tolist() == pytest.approx(own_[name].values.tolist(), abs=1e-5), name
    around = captum.attr.InputXGradient(lambda x: toy.model(x))
    with pytest.raises(vxp.VxpError, match="asked another model"):
        scored(toy, metrics, attributions=maps, explainer=around, pool="sum")



def test_objects_of_pytorch_grad_cam_explain_and_are_left_as_they_were(toy: Toy) -> None:
    grad_cam = pytest.importorskip("pytorch_grad_cam", reason="a peer, not installed")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    layer = toy.model[3]  # type: ignore[index]
    tool = grad_cam.GradCAM(toy.model, [layer])
    expected = tool(input_tensor=toy.inputs, targets=[targets(t) for t in toy.targets.tolist()])
    toy.model.zero_grad()  # it went through backward()
    given = {"targets": toy.targets, "normalization": toy.normalization}
    maps = vxp.explain(toy.model, toy.inputs, tool, **given)
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-6)
    hooks, kept = len(layer._forward_hooks), len(tool.activations_and_grads.activations)
    found = scored(toy, ["mprt|stages:1", "deletion|steps:4"], attributions=maps, explainer=tool)
    assert (len(layer._forward_hooks), len(tool.activations_and_grads.activations)) == (hooks, kept)
    assert all(p.grad is None for p in toy.model.parameters())
    other = randomised(toy.model, "mprt@1", toy.seed, mode="cascading", stage=1, stages=1)
    apart = grad_cam.GradCAM(other, [other[3]])(input_tensor=toy.inputs, targets=[targets(t) for t in toy.targets.tolist()])
    from vxp.metrics._similarity import similarities

    by = similarities("spearman", maps, torch.from_numpy(apart)[:, None])[:, 0].tolist()
    good = [i for i, status in enumerate(found["mprt"].status) if status == "ok"]
    assert good
    assert [float(found["mprt"].values[i]) for i in good] == pytest.approx([by[i] for i in good], abs=1e-5)
    with pytest.raises(vxp.VxpError, match="made for another model"):
        vxp.explain(other, toy.inputs, tool, **given)


def test_functions_of_arrays_explain(toy: Toy) -> None:
    def explain_func(model: nn.Module, inputs: Any, targets: Any, **kwargs: Any) -> Any:
        assert isinstance(inputs, np.ndarray)
        return inputs.sum(1, keepdims=True) * (1 + targets[:, None, None, None])

    maps = vxp.explain(toy.model, toy.inputs, explain_func, targets=toy.targets, normalization=toy.normalization)
    torch.testing.assert_close(maps, toy.inputs.sum(1) * (1 + toy.targets[:, None, None]))


# ---------------------------------------------------------------------------------------------------------------- doubts


class Soft(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).softmax(1)  # type: ignore[no-any-return]


def test_probabilities_are_warned_of_once_and_the_advice_mends_it(toy: Toy) -> None:
    with pytest.warns(vxp.VxpWarning, match="look like probabilities") as caught:
        wrong = scored(toy, model=Soft(toy.model))
    assert len(caught) == 1
    assert str(caught[0].filename) == __file__
    mended = scored(toy, model=nn.Sequential(Soft(toy.model), Log()))
    assert mended["deletion"].values.tolist() == pytest.approx(scored(toy)["deletion"].values.tolist(), abs=1e-6)
    assert abs(wrong["deletion"].mean - mended["deletion"].mean) > 0.05


class Log(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.log()


def test_a_model_of_one_logit_is_refused_and_the_recipe_works(toy: Toy) -> None:
    head = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 32, 1))
    with pytest.raises(vxp.VxpError, match=r"one logit per input.*torch.cat\(\[torch.zeros_like\(z\), z\], 1\)"):
        scored(toy, model=head, targets=None)

    class Two(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = head(x)
            return torch.cat([torch.zeros_like(z), z], 1)

    found = scored(toy, model=Two(), targets=None)
    assert found["deletion"].status == ("ok",) * 3


def test_a_file_with_a_model_of_one_logit_is_refused(tmp_path: Any) -> None:
    (tmp_path / "one.py").write_text("from torch import nn\ndef one():\n"
                                     "    return nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), {'input_size': 8}\n")
    with pytest.raises(vxp.VxpError, match=r"one\.py:one: the model returns one logit"):
        own.load(f"{tmp_path / 'one.py'}:one")


@pytest.mark.parametrize(("images", "normalization", "says"), [
    (lambda x: x * 255, None, "divide them by 255"),
    (lambda x: (x - 0.5) / 0.25, None, r"pass normalization=\(mean, std\)"),
    (lambda x: x, ((0.5,) * 3, (0.25,) * 3), None),
    (lambda x: (x - 0.5) / 0.25, ((0.5,) * 3, (0.25,) * 3), None),
    (lambda x: (x - 0.5) / 0.25, ((0.5,) * 3, (0.5,) * 3), "check mean and std"),
    (lambda x: x, None, None),
])
def test_raw_values_outside_of_0_and_1_are_warned_of(images: Any, normalization: Any, says: str | None) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    raw = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    raw[:, :, 0, 0], raw[:, :, 0, 1] = 0, 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vxp.score(model, images(raw), torch.rand(2, 8, 8), normalization=normalization, metrics=PLAIN)
    found = [str(w.message) for w in caught if issubclass(w.category, vxp.VxpWarning)]
    assert len(found) == (0 if says is None else 1)
    assert all(says is not None and re.search(says, words) for words in found)


def test_explaining_without_a_normalization_is_no_reason_to_warn() -> None:
    """A gradient looks at no raw pixels; where a normalization is given it is checked."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    inputs = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vxp.explain(model, inputs, "saliency")
    with pytest.warns(vxp.VxpWarning, match="check mean and std"):
        vxp.explain(model, inputs, "saliency", normalization=((0.5,) * 3, (0.5,) * 3))


def test_outputs_that_are_no_probabilities_are_not_taken_for_them() -> None:
    assert not doubts.of_outputs(torch.tensor([[0.3, 0.7], [2.0, 1.0]]))
    assert not doubts.of_outputs(torch.tensor([[1.5, -0.5]]))
    assert doubts.of_outputs(torch.tensor([[0.3, 0.7], [1.0, 0.0], [float("nan"), 0.0]]))


def test_a_score_that_tells_nothing_apart_says_so(toy: Toy) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 32, 2))
    nn.init.zeros_(flat[1].weight)
    found = scored(toy, model=flat, targets=None)
    assert found["deletion"].tied
    assert not found["gini"].tied
    assert repr(found).splitlines()[1].endswith("(one number for all items)")
    assert not scored(toy)["deletion"].tied
