"""What the model says of the counterfactuals of the gallery, kept beside its images for the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor
from torch.nn import functional as F

from vxp.core import perturb
from vxp.documents import store
from vxp.kinds import COUNTERFACTUAL
from vxp.runs import explanations, result
from vxp.runs.context import Context

FILE = "said.json"
"""Its name in the folder of the gallery."""


class Said(TypedDict):
    """The predicted class and its probability."""

    name: str
    probability: float


class Foil(TypedDict):
    """Of an image of the gallery the class that its counterfactuals are to reach, and what the model says: of the image, and of
    its counterfactual of every set, by the set's id."""

    row: int
    foil: str
    item: Said
    sets: dict[str, Said]


def keep(context: Context, sets: Sequence[str]) -> None:
    """Ask the model of the counterfactuals of the gallery's images, where explanations are some."""
    folder = context.out / "gallery"
    if COUNTERFACTUAL not in context.task.kinds:
        return
    rows = [int(entry["row"]) for entry in json.loads((folder / "index.json").read_text())]
    found = [said for row in rows if (said := _said(context, sets, row)) is not None]
    store.write_bytes(folder / FILE, result.plain_json(found))


def _said(context: Context, sets: Sequence[str], row: int) -> Foil | None:
    loaded = context.task.load(row, row + 1, context.model)
    if loaded.foils is None:
        return None
    image = loaded.inputs[0]
    start, stop = next((a, b) for a, b in context.ranges() if a <= row < b)
    shown = [perturb.redrawn(image, explanations.read(context, of_set, start, stop)[0][row - start], loaded.normalization)
             for of_set in sets]
    logits = context.engine.predict_all(torch.stack([image, *shown]).to(context.settings.device)).cpu()
    item, *others = (_answer(context, one) for one in logits)
    return {"row": row, "foil": context.model.class_name(int(loaded.foils[0])), "item": item,
            "sets": dict(zip(sets, others, strict=True))}


def _answer(context: Context, logits: Tensor) -> Said:
    said = F.log_softmax(logits.double(), dim=0).exp()
    return {"name": context.model.class_name(int(said.argmax())), "probability": round(float(said.max()), 4)}
