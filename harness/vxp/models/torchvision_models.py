"""Any classifier of torchvision: `torchvision/NAME`, `torchvision/NAME:WEIGHTS`, either with `@FILE`."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import vxp_schemas
from torch import Tensor, nn
from vxp_schemas import typed

from vxp.catalogue import nearest
from vxp.core import Normalization, VxpError
from vxp.models import weights as files
from vxp.models.identity import Card, More, Takes, described
from vxp.models.loaded import Model, document_id, published

REGISTERED = ("torchvision/vgg16", "torchvision/resnet50", "torchvision/vit_b_16")
"""The names that the registry has: their weights are IMAGENET1K_V1, whatever torchvision's default becomes."""
REGISTERED_WEIGHTS = "IMAGENET1K_V1"


def library() -> Any:
    """torchvision.models; it takes a second to import, so nothing does before a model of it is named."""
    import torchvision

    return torchvision.models


def builders() -> list[str]:
    """Every builder of a classifier that this torchvision has."""
    return list(library().list_models(module=library()))


def folder() -> Path:
    """Where torchvision keeps the weights that it fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def load(name: str, file: Path | None = None) -> Model:
    """The model with weights of torchvision's cache, or with those of a file, in the preprocessing of the named weights.

    A file may have another number of classes: the model is built with as many as its head has.
    VxpError for an unknown name or weights, absent or damaged files, and weights that do not fit.
    """
    builder, weights = chosen(name)
    if file is not None:
        return _with_file(name, builder, weights, file)
    classes = weights.meta["categories"]
    if not classes:
        raise VxpError(f"model {name}: these weights are no classifier's (torchvision lists no categories for them), expected "
                       f"one of {', '.join(_classifiers(builder))}")
    module = built(builder, weights, len(classes))
    files.put(module, _named_as_now(builder, cached(name, builder, weights)), f"model {name}")
    size, normalization = preprocessing(weights)
    card, more = _card(builder, weights)
    document = described(module, card, Takes(size, normalization, len(classes)), more)
    id = str(more["load_name"]) if card.status == "active" else card.id  # the registry's go by the name that loads them
    return Model(id, module, normalization, size, tuple(classes), document)


def _card(builder: str, weights: Any) -> tuple[Card, More]:
    """What the model is called, and what its document says besides."""
    name, title, symbol = f"torchvision/{builder}", f"torchvision {builder}, {weights.name}", f"torchvision.models:{builder}"
    if name in REGISTERED and weights.name == REGISTERED_WEIGHTS:
        return Card(document_id(name), title, "BSD-3-Clause", symbol), {"load_name": name}
    name = f"{name}:{weights.name}"
    licence = str(weights.meta.get("license", "BSD-3-Clause"))
    return Card(document_id(name), title, licence, symbol, "unregistered"), {"load_name": name, "input": _input(weights)}


def _with_file(name: str, builder: str, weights: Any, file: Path) -> Model:
    what = f"model {name}@{file}"
    state = _named_as_now(builder, files.read(file, what))
    module = built(builder, weights, CLASSES)
    count = classes(module, state)
    if count != CLASSES:
        module = built(builder, weights, count)
    files.put(module, state, what)
    size, normalization = preprocessing(weights)
    card = Card(document_id("torchvision", builder, file.stem), f"torchvision {builder}, weights of {file.name}", "not stated",
                f"torchvision.models:{builder}", "unregistered")
    document = described(module, card, Takes(size, normalization, count), {"input": _input(weights)})
    return Model(document["id"], module, normalization, size, (), document)


# ------------------------------------------------------------------------------------------------------------ what is named


def chosen(name: str) -> tuple[str, Any]:
    """Builder and weights of a name; VxpError with the nearest for what torchvision does not have."""
    builder, _, choice = name.removeprefix("torchvision/").partition(":")
    if builder not in builders():
        raise VxpError(f"torchvision has no classifier {builder!r}{nearest(builder, builders())}; "
                       f"torchvision.models.list_models(module=torchvision.models) lists all {len(builders())}")
    known = library().get_model_weights(builder).__members__
    choice = choice or (REGISTERED_WEIGHTS if f"torchvision/{builder}" in REGISTERED else "DEFAULT")
    if choice not in known:
        raise VxpError(f"torchvision {builder} has no weights {choice!r}{nearest(choice, list(known))}; expected one of "
                       f"{', '.join(known)}")
    return builder, known[choice]


def _classifiers(builder: str) -> list[str]:
    return [w.name for w in library().get_model_weights(builder) if w.meta["categories"]]


def preprocessing(weights: Any) -> tuple[tuple[int, int], Normalization]:
    """Input size and normalization that the weights were published with."""
    preset = weights.transforms()
    side = int(preset.crop_size[0])
    return (side, side), Normalization(tuple(preset.mean), tuple(preset.std))


def _input(weights: Any) -> typed.ModelInput:
    preset, (size, normalization) = weights.transforms(), preprocessing(weights)
    return published(size=size, normalization=normalization, shorter=int(preset.resize_size[0]),
                     interpolation=str(preset.interpolation.value))


# -------------------------------------------------------------------------------------------------------------- the module


def _arguments(builder: str, weights: Any) -> dict[str, Any]:
    """What torchvision's builders add of themselves when they are given these weights.

    Auxiliary heads are left out: only training runs them.
    """
    if builder in ("googlenet", "inception_v3"):
        return {"transform_input": True, "aux_logits": False, "init_weights": False}
    if builder.startswith("vit_"):
        return {"image_size": weights.meta["min_size"][0]}
    if builder.startswith("maxvit_"):
        return {"input_size": weights.meta["min_size"]}
    return {}


def built(builder: str, weights: Any, classes: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        module: nn.Module = library().get_model(builder, weights=None, num_classes=classes, **_arguments(builder, weights))
    return module.eval()


CLASSES = 1000
"""What every builder makes of itself."""


def classes(module: nn.Module, state: Mapping[str, Tensor], known: int = CLASSES) -> int:
    """As many classes as the head of a state dict has; those of the module, which are known, where it has no head of the
    module's name."""
    head = [key for key, value in module.state_dict().items() if value.ndim > 1 and len(value) == known][-1]
    return len(state[head]) if head in state and state[head].ndim > 1 else known


AUXILIARY = re.compile(r"^(aux[12]|AuxLogits)\.")
OLD_DENSE = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")
"""The keys of DenseNet's published weights: `norm.1.weight` is `norm1.weight` today."""


def _named_as_now(builder: str, state: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
    """A state dict without auxiliary heads, under the keys that the module has today."""
    for key in list(state):
        if builder.startswith("densenet"):
            state[OLD_DENSE.sub(r"\1\2", key)] = state.pop(key)
        elif builder in ("googlenet", "inception_v3") and AUXILIARY.match(key):
            del state[key]
    return state


def checkpoint(weights: Any) -> Path:
    """The file that torchvision's own cache has once the weights were fetched."""
    return folder() / str(weights.url).rsplit("/", 1)[-1]


def cached(name: str, builder: str, weights: Any) -> OrderedDict[str, Tensor]:
    """The state dict in torchvision's cache; VxpError where it is absent or not what its name promises."""
    url, file = str(weights.url), checkpoint(weights)
    if not file.exists():
        raise VxpError(f"model {name}: its weights are not on this machine, and nothing is fetched at run time. Put "
                       f"{url} at {file} (on a machine with a network: python -c \"import torchvision; "
                       f"torchvision.models.get_model('{builder}', weights='{weights.name}')\"), or give weights of your own: "
                       f"{name}@FILE")
    # torchvision names its files after the first digits of their SHA-256
    expected = file.stem.rpartition("-")[2]
    got = vxp_schemas.file_digest(file).removeprefix("sha256:")[: len(expected)]
    if got != expected:
        raise VxpError(f"model {name}: {file} has a SHA-256 that starts with {got}, expected {expected} by its name: it is "
                       f"damaged; delete it and put {url} there again")
    return files.read(file, f"model {name}")


# ----------------------------------------------------------------------------------------------------------- the templates


def templates() -> dict[str, typed.Model]:
    """The documents, by id, of models whose weights the registry does not have: what torchvision says about them.

    Only documents that `load` fills from the user's copy, with digest and probe, may stand in a result.
    """
    return {document_id(name): _template(name) for name in REGISTERED}


def _template(name: str) -> typed.Model:
    builder, weights = chosen(name)
    size, normalization = preprocessing(weights)
    url, meta = str(weights.url), weights.meta
    return {
        "type": "https://vxp.example/model/v1", "spec_version": vxp_schemas.SPEC_VERSION, "extensions": {},
        "id": document_id(name), "version": 1, "title": f"torchvision {builder}, {weights.name}", "status": "template",
        "license": "BSD-3-Clause", "load_name": name,
        "architecture": {"package": "torchvision", "symbol": f"torchvision.models:{builder}"},
        "weights": {"path": url.rsplit("/", 1)[-1], "locations": [url]},
        "num_params": int(meta["num_params"]), "eval_mode": True,
        "input": {"size": list(size), "channels": "rgb",
                  "normalization": {"mean": list(normalization.mean), "std": list(normalization.std)}},
        "classes": {"count": len(meta["categories"]), "digest": vxp_schemas.digest(list(meta["categories"]))},
        "accuracy": {"top1": round(meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 5), "n": 50_000,
                     "data": "ImageNet validation", "source": "torchvision"},
    }
