"""What models say, a file each: logits of classes, logits of frames, scores of the steps of a sequence."""

from collections.abc import Mapping

from torch import nn

from vxp.outputs._types import Output, Says
from vxp.outputs.classes import CLASSES
from vxp.outputs.events import EVENTS
from vxp.outputs.sequence import SEQUENCE

OUTPUTS: Mapping[str, Output] = {output.id: output for output in (CLASSES, EVENTS, SEQUENCE)}
"""All of them by id."""


IDS = tuple(output.id for output in OUTPUTS.values())


def of(module: nn.Module) -> Output:
    """The output of a module: logits of classes, unless it says otherwise."""
    return OUTPUTS[module.says] if isinstance(module, Says) else CLASSES


__all__ = ["CLASSES", "EVENTS", "IDS", "OUTPUTS", "SEQUENCE", "Output", "Says", "of"]
