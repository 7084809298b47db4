"""A model as it was loaded, and the parts of its document that every family of models shares."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from vxp_schemas import typed

from vxp.core import Normalization, VxpError


@dataclass(frozen=True, eq=False)
class Model:
    """A model in eval mode, with what it takes and what identifies it.

    input_size: (H, W) of images, (T, H, W) of clips, (n, D) of sequences, n being an example. sees: of a model of sequences
    that takes videos, the features [D, n] of frames uint8 [3, T, H, W] and the frames that they are of.
    """

    id: str
    module: nn.Module
    normalization: Normalization
    input_size: tuple[int, ...]
    class_names: tuple[str, ...]
    document: typed.Model
    sees: Callable[[Tensor], tuple[Tensor, tuple[int, ...]]] | None = None

    @property
    def medium(self) -> str:
        """What it takes: the id of a medium."""
        if self.document.get("output") == "sequence" and len(self.input_size) == 2:
            return "sequence"
        return "image" if len(self.input_size) == 2 else "clip"

    @property
    def digest(self) -> str:
        """state_dict_digest: which weights these are (clause 4.1.2)."""
        return str(self.document["state_dict_digest"])

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images that it takes; VxpError for a model of clips."""
        if self.medium == "sequence":
            raise VxpError(f"model {self.id} takes sequences of features, and this takes images: choose a model of images "
                           "(vxp list models)")
        if len(self.input_size) != 2:
            raise VxpError(f"model {self.id} takes clips of {self.input_size[0]} frames, and this takes images: choose a model "
                           "of images (vxp list models)")
        H, W = self.input_size
        return H, W

    def class_name(self, index: int) -> str:
        """The class's name, or its number where the model has none."""
        return self.class_names[index] if index < len(self.class_names) else f"class {index}"


def document_id(*parts: str) -> str:
    """The id of a document: its parts joined, without what ids do not allow, 64 characters at most."""
    return re.sub("[^a-z0-9.]", "-", "-".join(parts).lower())[:64]


def published(
    *, size: tuple[int, int], normalization: Normalization, shorter: int, interpolation: str,
) -> typed.ModelInput:
    """The input of a document with the resize and the centre crop that its weights were published with."""
    return {
        "size": list(size), "channels": "rgb",
        "normalization": {"mean": list(normalization.mean), "std": list(normalization.std)},
        "preprocessing": [
            {"op": "resize", "version": 1, "parameters": {"shorter": shorter, "interpolation": interpolation}},
            {"op": "crop", "version": 1, "parameters": {"height": size[0], "width": size[1], "at": "centre"}},
        ],
    }
