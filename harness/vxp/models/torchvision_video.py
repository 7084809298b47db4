"""Any classifier of clips of torchvision: `torchvision/r3d_18`, `torchvision/NAME:WEIGHTS`, either with `@FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vxp_schemas import typed

from vxp.catalogue import nearest
from vxp.core import Normalization, VxpError
from vxp.models import forms, torchvision_models
from vxp.models import weights as files
from vxp.models.identity import Card, More, Takes, described
from vxp.models.loaded import Model, document_id

CLASSES = 400
"""What every builder makes of itself: those of Kinetics."""


def builders() -> list[str]:
    """Every builder of a classifier of clips that this torchvision has."""
    library = torchvision_models.library()
    return list(library.list_models(module=library.video))


def known(name: str) -> bool:
    """Whether a name is of torchvision's models of clips."""
    family, _, builder = name.partition("/")
    return family == "torchvision" and builder.partition(":")[0] in builders()


def load(name: str, file: Path | None = None, frames: int | None = None) -> Model:
    """The model with weights of torchvision's cache, or with those of a file, in the preprocessing of the named weights, for
    clips of so many frames (forms.FRAMES by default).

    A file may have another number of classes: the model is built with as many as its head has. VxpError for unknown weights,
    absent or damaged files, weights that do not fit, and a number of frames that the model does not take.
    """
    builder, weights = _chosen(name)
    own = file is not None
    what = f"model {name}" + (f"@{file}" if own else "")
    state = files.read(file, what) if file is not None else torchvision_models.cached(name, builder, weights)
    module = torchvision_models.built(builder, weights, CLASSES)
    count = torchvision_models.classes(module, state, CLASSES)
    if count != CLASSES:
        module = torchvision_models.built(builder, weights, count)
    files.put(module, state, what)
    preset, (size, normalization) = weights.transforms(), _preprocessing(weights, frames)
    forms.classes(module, size, what)
    names = () if own else tuple(weights.meta["categories"])
    called = file.stem if file is not None else weights.name
    card = Card(document_id("torchvision", builder, called),
                f"torchvision {builder}, {f'weights of {file.name}' if file is not None else weights.name}",
                "not stated" if own else str(weights.meta.get("license", "BSD-3-Clause")),
                f"torchvision.models.video:{builder}", "unregistered")
    more: More = {"input": _input(preset, size, normalization)}
    if not own:
        more["load_name"] = f"{name}:{weights.name}"
    document = described(module, card, Takes(size, normalization, count), more)
    return Model(document["id"], module, normalization, size, names, document)


def _chosen(name: str) -> tuple[str, Any]:
    builder, _, choice = name.removeprefix("torchvision/").partition(":")
    there = torchvision_models.library().get_model_weights(builder).__members__
    choice = choice or "DEFAULT"
    if choice not in there:
        raise VxpError(f"torchvision {builder} has no weights {choice!r}{nearest(choice, list(there))}; expected one of "
                       f"{', '.join(there)}")
    return builder, there[choice]


def _preprocessing(weights: Any, frames: int | None) -> tuple[tuple[int, ...], Normalization]:
    """Frames, height and width of the input, and the normalization that the weights were published with."""
    preset = weights.transforms()
    H, W = (int(side) for side in preset.crop_size)
    return (frames or forms.FRAMES, H, W), Normalization(tuple(preset.mean), tuple(preset.std))


def _input(preset: Any, size: tuple[int, ...], normalization: Normalization) -> typed.ModelInput:
    """The input of the document, with the resize and the crop that the weights were published with."""
    sides = [int(side) for side in preset.resize_size]
    to = {"height": sides[0], "width": sides[1]} if len(sides) == 2 else {"shorter": sides[0]}
    return {
        "size": list(size), "channels": "rgb",
        "normalization": {"mean": list(normalization.mean), "std": list(normalization.std)},
        "preprocessing": [
            {"op": "resize", "version": 1, "parameters": {**to, "interpolation": str(preset.interpolation.value)}},
            {"op": "crop", "version": 1, "parameters": {"height": size[1], "width": size[2], "at": "centre"}},
        ],
    }


__all__ = ["builders", "known", "load"]
