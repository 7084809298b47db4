"""How a model takes clips, behind its name: `NAME|frames:16|layout:btchw|fusion:mean`, what the options --frames, --layout and
--fusion say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vxp.catalogue import nearest, split
from vxp.core import VxpError
from vxp.models.clips import FUSIONS, FramesFirst, Fusion, LateFusion, misfit
from vxp.models.identity import Card, More, Takes, described
from vxp.models.loaded import Model, document_id

FRAMES = 16
"""Of a clip, where neither the model nor the user says how many."""
FUSION: Fusion = "log-mean-exp"
PARAMETERS = ("frames", "layout", "fusion")
Layout = Literal["bcthw", "btchw"]
LAYOUTS: tuple[Layout, ...] = ("bcthw", "btchw")


@dataclass(frozen=True)
class Form:
    """What a name says: frames of a clip, the order of the axes that the module takes clips in, how the logits of frames become
    those of a clip. None is what is not said."""

    frames: int | None = None
    layout: Layout | None = None
    fusion: Fusion | None = None

    @property
    def said(self) -> bool:
        return self != Form()


def parted(name: str) -> tuple[str, Form]:
    """A model's name and the form behind it; VxpError for a parameter or value that there is not."""
    head, given = split(name, "model")
    for key in given:
        if key not in PARAMETERS:
            raise VxpError(f"model {name}: no parameter {key!r}{nearest(key, PARAMETERS)}; expected any of "
                           f"{', '.join(PARAMETERS)}")
    frames, layout, fusion = given.get("frames"), given.get("layout"), given.get("fusion")
    if frames is not None and not re.fullmatch("[1-9][0-9]{0,5}", frames):
        raise VxpError(f"model {name}: got frames {frames!r}, expected a number of frames, from 1 on")
    for what, value, known in (("layout", layout, LAYOUTS), ("fusion", fusion, tuple(FUSIONS))):
        if value is not None and value not in known:
            raise VxpError(f"model {name}: no {what} is called {value!r}{nearest(value, known)}; expected one of "
                           f"{', '.join(known)}")
    return head, Form(None if frames is None else int(frames), next((one for one in LAYOUTS if one == layout), None),
                      next((one for one in FUSIONS if one == fusion), None))


def named(name: str, *, frames: int | None = None, layout: str | None = None, fusion: str | None = None) -> str:
    """The name with what is given here; what is not given stays as the name has it."""
    head, form = parted(name)
    said = {"frames": frames or form.frames, "layout": layout or form.layout, "fusion": fusion or form.fusion}
    return "|".join([head, *(f"{key}:{value}" for key, value in said.items() if value is not None)])


def settled(name: str, model: Model) -> str:
    """The name under which this very model of clips is loaded again, whatever was left to be chosen."""
    return named(name, frames=model.input_size[0], fusion=model.document.get("fusion"))


def of_clips(model: Model, form: Form = Form()) -> Model:
    """A model of clips: as it is, at another number of frames, or a model of images whose logits of the frames are fused.

    VxpError for a fusion of a model that takes clips by itself, for a layout of a model of images, and where the model cannot
    take so many frames.
    """
    size = model.input_size
    if len(size) == 3:
        if form.fusion is not None:
            raise VxpError(f"model {model.id} takes clips by itself, got the fusion {form.fusion!r}, which makes a clip model "
                           "of one of images: leave it out")
        if form.frames in (None, size[0]):
            return model
        return _again(model, model.module, (form.frames or size[0], *size[1:]), {})
    if form.layout is not None:
        raise VxpError(f"model {model.id} takes images, got the layout {form.layout!r}, which says how a model takes clips: "
                       "leave it out")
    fusion = form.fusion or FUSION
    return _again(model, LateFusion(model.module, fusion), (form.frames or FRAMES, *size), {"fusion": fusion})


def _again(model: Model, module: nn.Module, size: tuple[int, ...], more: More) -> Model:
    """The model as this module at this size, with a document of its own."""
    document = model.document
    classes(module, size, f"model {model.id}")
    made = described(module,
                     Card(id=document_id(model.id, more.get("fusion", f"{size[0]}-frames")), title=document["title"],
                          license=document["license"], symbol=document["architecture"]["symbol"], status="unregistered"),
                     Takes(size, model.normalization, document["classes"]["count"]),
                     {"input": {**document["input"], "size": list(size)}, **more})
    return Model(made["id"], module, model.normalization, size, model.class_names, made)


def first(module: nn.Module, layout: str | None) -> nn.Module:
    """The module as one that takes [B, C, T, H, W]."""
    return FramesFirst(module) if layout == "btchw" else module


def classes(module: nn.Module, size: Sequence[int], what: str) -> int:
    """How many logits a module returns for one input [1, 3, *size]; VxpError where it fails or returns something else."""
    inputs = torch.zeros(1, 3, *size)
    try:
        with torch.no_grad():
            out = module(inputs)
    except Exception as error:  # whatever somebody's code does
        failed = f"the model fails on an input {tuple(inputs.shape)}: {type(error).__name__}: {error}"
        raise VxpError(f"{what}: {misfit(module, inputs) or failed}") from error
    if not isinstance(out, torch.Tensor) or out.ndim != 2:
        got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise VxpError(f"{what}: the model returned {got} for an input {tuple(inputs.shape)}, expected logits [1, K]")
    return out.shape[1]


__all__ = ["FRAMES", "FUSION", "LAYOUTS", "Form", "classes", "first", "named", "of_clips", "parted", "settled"]
