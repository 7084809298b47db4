"""Models of torchvision and timm by name, and weights from files: what fits is loaded, what does not is named, nothing is
fetched and no code of a file runs."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
import vxp_schemas
from torch import Tensor, nn
from typer.testing import CliRunner
from vxp import models, tasks
from vxp.cli import app
from vxp.core import Normalization, VxpError
from vxp.models import torchvision_models, weights
from vxp.runs.context import Context, Quiet, Settings

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CENTRE = {"op": "crop", "version": 1, "parameters": {"height": 224, "width": 224, "at": "centre"}}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever asks a network fails at once, and the caches are empty ones."""

    def refused(*arguments: object, **others: object) -> None:
        raise AssertionError(f"something asked the network: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def made(builder: str, **arguments: Any) -> nn.Module:
    """A model of torchvision with weights that are not its usual ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module: nn.Module = torchvision.models.get_model(builder, weights=None, **arguments)
    return module.eval()


def cached(monkeypatch: pytest.MonkeyPatch, folder: Path, state: dict[str, Tensor]) -> None:
    """A state dict in torchvision's cache, under the digits that its content gives it."""
    file = folder / "made.pth"
    torch.save(state, file)
    named = file.rename(folder / f"made-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth")
    monkeypatch.setattr(torchvision_models, "checkpoint", lambda chosen: named)


def saved(module: nn.Module, file: Path) -> Path:
    if file.suffix == ".safetensors":
        safetensors.torch.save_file({k: v.contiguous() for k, v in module.state_dict().items()}, file)
    else:
        torch.save(module.state_dict(), file)
    return file


# ------------------------------------------------------------------------------------------------------------- torchvision


def test_every_classifier_of_torchvision_has_a_name() -> None:
    known = torchvision_models.builders()
    assert len(known) >= 80
    assert {"alexnet", "convnext_tiny", "swin_t", "vit_b_32", "efficientnet_v2_s", "regnet_y_400mf", "maxvit_t"} <= set(known)
    assert not any(word in name for name in known for word in ("rcnn", "fcn", "raft", "quantized", "r3d"))


def test_default_and_chosen_weights_and_their_preprocessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = made("mobilenet_v2")
    cached(monkeypatch, tmp_path, module.state_dict())
    default, second, first = (models.load(f"torchvision/mobilenet_v2{choice}")
                              for choice in ("", ":IMAGENET1K_V2", ":IMAGENET1K_V1"))
    assert default.document == second.document
    for model, version, shorter in ((second, "v2", 232), (first, "v1", 256)):
        vxp_schemas.validate(model.document)
        assert model.id == model.document["id"] == f"torchvision-mobilenet-v2-imagenet1k-{version}"
        assert model.document["load_name"] == f"torchvision/mobilenet_v2:IMAGENET1K_{version.upper()}"
        assert model.document["status"] == "unregistered"
        assert (model.input_size, model.normalization, model.class_name(281)) == ((224, 224), IMAGENET, "tabby")
        assert model.document["input"]["preprocessing"] == [
            {"op": "resize", "version": 1, "parameters": {"shorter": shorter, "interpolation": "bilinear"}}, CENTRE]
        assert model.digest == models.state_dict_digest(module)


def test_names_of_the_registry_mean_the_weights_of_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = made("resnet50")
    cached(monkeypatch, tmp_path, module.state_dict())
    plain, chosen, id = (models.load(name) for name in (
        "torchvision/resnet50", "torchvision/resnet50:IMAGENET1K_V1", "torchvision-resnet50"))
    assert plain.id == "torchvision/resnet50"
    assert plain.document == chosen.document == id.document
    assert (plain.document["id"], plain.document["load_name"]) == ("torchvision-resnet50", "torchvision/resnet50")
    assert "preprocessing" not in plain.document["input"]
    other = models.load("torchvision/resnet50:IMAGENET1K_V2")
    assert (other.document["id"], other.document["status"]) == ("torchvision-resnet50-imagenet1k-v2", "unregistered")


def test_googlenet_turns_its_input_as_its_weights_want(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = made("googlenet", transform_input=True, aux_logits=True, init_weights=False)
    with torch.no_grad():  # or logits of random weights hardly depend on the input
        published.fc.weight.mul_(1e5)
    cached(monkeypatch, tmp_path, published.state_dict())
    model, inputs = models.load("torchvision/googlenet"), torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = published(inputs)
        torch.testing.assert_close(model.module(inputs), expected, atol=1e-3, rtol=1e-3)
        published.transform_input = False
        assert not torch.allclose(published(inputs), expected, atol=0.1)
    assert not any(key.startswith("aux") for key in model.module.state_dict())


def test_vision_transformers_of_another_input_size() -> None:
    swag = torchvision.models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1
    assert torchvision_models._arguments("vit_b_16", swag) == {"image_size": 384}
    assert torchvision_models.preprocessing(swag) == ((384, 384), IMAGENET)


def test_densenets_published_keys_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = made("densenet121")
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", k): v for k, v in module.state_dict().items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    cached(monkeypatch, tmp_path, old)
    assert models.load("torchvision/densenet121").digest == models.state_dict_digest(module)


def test_absent_weights_say_what_to_put_where() -> None:
    with pytest.raises(VxpError) as error:
        models.load("torchvision/squeezenet1_1")
    file = "squeezenet1_1-b8a52dc0.pth"
    for words in (f"https://download.pytorch.org/models/{file}", f"hub/checkpoints/{file}",
                  "weights='IMAGENET1K_V1'", "torchvision/squeezenet1_1@FILE"):
        assert words in str(error.value)


@pytest.mark.parametrize(("name", "words"), [
    ("torchvision/resnet81", r"no classifier 'resnet81'; did you mean 'resnet18'"),
    ("torchvision/fcn_resnet50", "no classifier 'fcn_resnet50'"),
    ("torchvision/resnet50:IMAGENET1K_V3", "no weights 'IMAGENET1K_V3'; did you mean 'IMAGENET1K_V[12]'.*IMAGENET1K_V2"),
    ("torchvision/vgg16:IMAGENET1K_FEATURES", "no classifier's.*one of IMAGENET1K_V1"),
    ("torchvison/resnet18", "did you mean 'torchvision/resnet18'"),
    ("resnet18", "did you mean 'torchvision/resnet18'"),
    ("weights.safetensors", "torchvision/NAME, timm/NAME or file.py:factory"),
    ("shapes-cnn@weights.pth", "shapes-cnn has its own weights"),
    ("model.py:factory@", "expected file.py:factory or file.py:factory@FILE"),
])
def test_a_wrong_name_gets_the_nearest(name: str, words: str) -> None:
    with pytest.raises(VxpError, match=words):
        models.load(name)


# ------------------------------------------------------------------------------------------------------ weights from files


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_with_another_number_of_classes(tmp_path: Path, suffix: str) -> None:
    module = made("squeezenet1_1", num_classes=7)
    file = saved(module, tmp_path / f"My birds{suffix}")
    model = models.load(f"torchvision/squeezenet1_1@{file}")
    vxp_schemas.validate(model.document)
    assert model.digest == models.state_dict_digest(module)
    assert (model.input_size, model.normalization, model.class_names) == ((224, 224), IMAGENET, ())
    assert (model.id, model.document["classes"], model.document["license"]) == (
        "torchvision-squeezenet1-1-my-birds", {"count": 7}, "not stated")
    assert str(tmp_path) not in str(model.document), "a result holds no path of the machine"
    task = tasks.load("shapes", model=f"torchvision/squeezenet1_1@{file}")
    context = Context(task, model, (), Settings(), tmp_path, Quiet())
    assert context.division == "open"


def test_a_module_that_asks_for_its_version_is_loaded_from_safetensors(tmp_path: Path) -> None:
    """MNASNet refuses a state dict without versions, which safetensors does not store."""
    module = made("mnasnet0_5")
    model = models.load(f"torchvision/mnasnet0_5@{saved(module, tmp_path / 'w.safetensors')}")
    assert model.digest == models.state_dict_digest(module)


def test_old_keys_that_a_module_understands_are_no_fault() -> None:
    """The published vision transformers call their MLP's layers linear_1 and linear_2."""
    module = torchvision.models.VisionTransformer(image_size=32, patch_size=8, num_layers=1, num_heads=2, hidden_dim=16,
                                                  mlp_dim=32, num_classes=4)
    state = OrderedDict((k.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."), v)
                        for k, v in module.state_dict().items())
    assert any("linear_2" in key for key in state)
    weights.put(module, state, "vit")


def small() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                             nn.Linear(4, 5)).eval()


@pytest.mark.parametrize("wrap", [
    lambda state: {"state_dict": state, "epoch": 7},
    lambda state: {"model": state, "args": {"lr": 0.1}},
    lambda state: {f"module.{k}": v for k, v in state.items()},
    lambda state: {"model_state_dict": {f"_orig_mod.{k}": v for k, v in state.items()}},
    lambda state: {k: v for k, v in state.items() if "num_batches_tracked" not in k},
    lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
])
def test_checkpoints_as_training_leaves_them(wrap: Any, tmp_path: Path) -> None:
    module, file = small(), tmp_path / "checkpoint.pt"
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())
    torch.save(wrap(dict(module.state_dict())), file)
    loaded = small()
    with torch.no_grad():
        loaded[0].weight.zero_()
    weights.put(loaded, weights.read(file, "model"), "model")
    assert models.state_dict_digest(loaded) == models.state_dict_digest(module)


def without(state: dict[str, Tensor], *keys: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k not in keys}


@pytest.mark.parametrize(("change", "words"), [
    (lambda s: without(s, "0.weight", "5.bias"), r"2 keys missing \(0.weight, 5.bias\)$"),
    (lambda s: s | {f"extra.{i}": torch.zeros(1) for i in range(7)},
     r"7 keys unexpected \(extra.0, extra.1, extra.2, extra.3, extra.4 and 2 more\)$"),
    (lambda s: without(s, "0.bias") | {"5.weight": torch.zeros(9, 4)},
     r"1 key missing \(0.bias\); 1 key of another shape \(5.weight \(9, 4\) instead of \(5, 4\)\); .*build as many"),
    (lambda s: s | {"0.bias": torch.tensor([0, 1, torch.nan, 3])}, "1 tensor of the weights with NaN or infinity: 0.bias"),
])
def test_what_does_not_fit_is_counted_and_named(change: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef factory():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), "
        "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)), {'input_size': 8}\n")
    for suffix in (".safetensors", ".pth"):
        file = tmp_path / f"w{suffix}"
        state = change(dict(small().state_dict()))
        safetensors.torch.save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
        with pytest.raises(VxpError, match=words) as error:
            models.load(f"{tmp_path}/net.py:factory@{file}")
        assert str(error.value).startswith(f"{tmp_path}/net.py:factory@{file}")


def test_ones_own_factory_with_weights_of_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "me@home"
    folder.mkdir()
    (folder / "net.py").write_text(
        "from torch import nn\ndef factory():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), "
        "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)), {'input_size': 8}\n")
    model = models.load(f"{folder}/net.py:factory@{saved(small(), folder / 'w.safetensors')}")
    assert model.digest == models.state_dict_digest(small())
    assert (model.id, model.document["title"]) == ("own-net-w", "factory of net.py, weights of w.safetensors")
    assert models.load(f"{folder}/net.py:factory").digest != model.digest


class Harmful:
    """Unpickled, it writes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("archive", [True, False])
def test_code_of_a_pickle_does_not_run(archive: bool, tmp_path: Path) -> None:
    file, proof = tmp_path / "w.pth", tmp_path / "it ran"
    torch.save({"state_dict": small().state_dict(), "hook": Harmful(proof)}, file, _use_new_zipfile_serialization=archive)
    with pytest.raises(VxpError, match=r"w\.pth holds posix\.system, and only tensors are read.*state dict alone"):
        models.load(f"torchvision/squeezenet1_1@{file}")
    assert not proof.exists()


@pytest.mark.parametrize(("name", "content", "words"), [
    ("w.safetensors", b"", "no safetensors file, or damaged"),
    ("w.safetensors", b"\xff" * 64, "no safetensors file, or damaged"),
    ("w.pth", b"", "no file of torch.save, or damaged"),
    ("w.pth", b"half a download", "no file of torch.save, or damaged"),
    ("w.pth", b"PK\x03\x04" + b"\0" * 64, "no file of torch.save, or damaged"),
    ("w.npz", b"", r"ends in '\.npz', expected \.safetensors"),
])
def test_damaged_files_are_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VxpError, match=words):
        models.load(f"torchvision/squeezenet1_1@{tmp_path / name}")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_cut_short_is_damaged(suffix: str, tmp_path: Path) -> None:
    file = saved(small(), tmp_path / f"w{suffix}")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(VxpError, match="damaged"):
        weights.read(file, "model")


@pytest.mark.parametrize(("content", "words"), [
    (torch.zeros(3), "holds a Tensor, expected a state dict"),
    ({}, "holds nothing, expected"),
    ({"epoch": 3, "weight": torch.zeros(3)}, "holds epoch, expected a state dict"),
])
def test_what_is_no_state_dict_is_refused(content: object, words: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(VxpError, match=words):
        weights.read(tmp_path / "w.pth", "model")


# -------------------------------------------------------------------------------------------------------------------- timm


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip("timm", reason="needs vxp[timm]")


@pytest.fixture
def hub(timm: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the Hugging Face libraries."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "huggingface"))
    return tmp_path / "huggingface"


def fetched(hub: Path, repository: str, file: str = "model.safetensors") -> Path:
    """Where a file of a repository lies once it was fetched."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c0ffee")
    (folder / "snapshots" / "c0ffee").mkdir(parents=True)
    return folder / "snapshots" / "c0ffee" / file


def timm_made(timm: Any, name: str, **arguments: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module: nn.Module = timm.create_model(name, pretrained=False, **arguments)
    return module.eval()


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_timms_weights_of_the_cache(timm: Any, hub: Path, file: str) -> None:
    module = timm_made(timm, "test_vit")
    saved(module, fetched(hub, "timm/test_vit.r160_in1k", file))
    model, tagged = models.load("timm/test_vit"), models.load("timm/test_vit.r160_in1k")
    assert model.document == tagged.document
    vxp_schemas.validate(model.document)
    assert model.digest == models.state_dict_digest(module)
    assert (model.id, model.document["load_name"], model.document["status"], model.document["license"]) == (
        "timm-test-vit.r160-in1k", "timm/test_vit.r160_in1k", "unregistered", "apache-2.0")
    # as timm's pretrained_cfg: 160 pixels, half and half, crop_pct 0.95
    assert (model.input_size, model.normalization) == ((160, 160), Normalization((0.5,) * 3, (0.5,) * 3))
    assert model.document["input"]["preprocessing"][0]["parameters"] == {"shorter": 168, "interpolation": "bicubic"}
    assert (len(model.class_names), model.class_name(281)) == (1000, "tabby")


def test_timm_with_nothing_in_the_cache_says_what_to_fetch(hub: Path) -> None:
    with pytest.raises(VxpError) as error:
        models.load("timm/test_efficientnet")
    for words in ("nothing is fetched at run time", str(hub / "models--timm--test_efficientnet.r160_in1k"),
                  "timm.create_model('test_efficientnet', pretrained=True)", "timm/test_efficientnet@FILE",
                  "https://huggingface.co/timm/test_efficientnet.r160_in1k/resolve/main/model.safetensors"):
        assert words in str(error.value)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_resnet"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_timm_with_weights_of_a_file(timm: Any, hub: Path, name: str, suffix: str, tmp_path: Path) -> None:
    module = timm_made(timm, name, num_classes=3)
    model = models.load(f"timm/{name}@{saved(module, tmp_path / f'birds{suffix}')}")
    vxp_schemas.validate(model.document)
    assert model.digest == models.state_dict_digest(module)
    assert (model.document["classes"], model.class_names) == ({"count": 3}, ())
    assert model.id == f"timm-{name.replace('_', '-')}-birds"
    entry = module.pretrained_cfg
    assert (model.input_size, model.normalization.mean) == ((160, 160), entry["mean"])


def test_keys_of_another_age_go_through_timms_own_conversion(timm: Any, hub: Path, tmp_path: Path) -> None:
    """ConvNeXt as its authors named it."""
    module = timm_made(timm, "test_convnext")
    renames = [(r"^stem\.", "downsample_layers.0."), (r"^stages\.(\d)\.blocks\.(\d)", r"stages.\1.\2"), ("conv_dw", "dwconv"),
               (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."), (r"mlp\.fc", "pwconv"), (r"^head\.norm", "norm"),
               (r"^head\.fc", "head")]
    state = dict(module.state_dict())
    for old, new in renames:
        state = {re.sub(old, new, key): value for key, value in state.items()}
    torch.save(state, tmp_path / "w.pth")
    model = models.load(f"timm/test_convnext@{tmp_path / 'w.pth'}")
    assert model.digest == models.state_dict_digest(module)
    assert "state_dict" not in model.module.pretrained_cfg


def test_a_tensor_that_timm_would_leave_to_chance_is_missing(timm: Any, hub: Path, tmp_path: Path) -> None:
    """timm does not ask its DLA for every key."""
    state = without(dict(timm_made(timm, "dla46_c", num_classes=3).state_dict()), "base_layer.0.weight")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(VxpError, match=r"1 key missing \(base_layer\.0\.weight\)"):
        models.load(f"timm/dla46_c@{tmp_path / 'w.pth'}")


def test_a_file_of_another_resolution_is_not_resampled(timm: Any, hub: Path, tmp_path: Path) -> None:
    file = saved(timm_made(timm, "test_vit", img_size=192), tmp_path / "w.safetensors")
    with pytest.raises(VxpError, match=r"1 key of another shape \(pos_embed \(1, 145, 64\) instead of \(1, 101, 64\)\)"):
        models.load(f"timm/test_vit@{file}")


@pytest.mark.parametrize(("name", "words"), [
    ("timm/tset_vit", "no model 'tset_vit'; did you mean 'test_vit'"),
    ("timm/test_vit.r160_in2k", "no weights 'r160_in2k'; did you mean 'r160_in1k'"),
    ("timm/hf-hub:someone/model", "no model 'hf-hub:someone/model'"),
    ("timm/botnet50ts_256", "timm has no weights for it"),
    ("timm/vit_small_patch14_dinov2", "end in features, expected a classifier's"),
])
def test_what_timm_does_not_have_is_named(hub: Path, name: str, words: str) -> None:
    with pytest.raises(VxpError, match=words):
        models.load(name)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(VxpError, match=re.escape("pip install 'vxp[timm]'")):
        models.load("timm/resnet18")


# ----------------------------------------------------------------------------------------------------------------- the list


def test_the_list_shows_families_and_not_their_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["list", "models"]).output
    assert len(shown.splitlines()) < 24
    for words in ("efficientnet-lite0", "torchvision/NAME", "timm/NAME", "vxp[timm]", "file.py:factory", "@FILE"):
        assert words in shown
