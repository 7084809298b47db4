"""What explainers of prototypes share."""

from __future__ import annotations

from torch import nn
from vxp.core import VxpError
from vxp.kinds import KindId
from vxp.models.protopnet import ProtoPNet

KINDS: tuple[KindId, ...] = ("prototypes",)
SIDE = 16
"""Rows and columns of the grid of references, as of the network of the task figures-prototypes."""


def network(explainer: str, model: nn.Module) -> ProtoPNet:
    """The model, which is a prototype network; VxpError for another one."""
    if not isinstance(model, ProtoPNet):
        raise VxpError(f"explainer {explainer!r} reads the prototypes of a prototype network, got a {type(model).__name__}: "
                       "take the model figures-protopnet, or leave the explainer out")
    return model


__all__ = ["KINDS", "SIDE", "network"]
