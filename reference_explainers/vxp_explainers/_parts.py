"""The parts that a task divides its images into, with scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, VxpError
from vxp.core.case import sums_of_labels
from vxp.core.perturb import redrawn
from vxp.kinds import KindId, painted
from vxp.metrics._claims import WITHOUT

from vxp_explainers._common import read, rows

KINDS: tuple[KindId, ...] = ("regions",)
PART = "part"


def parts(batch: Batch, scores: Tensor) -> Tensor:
    """Scores [B, K] of the parts of every item as regions [B, 2, H, W]."""
    return painted(batch.parts_of(PART).view(len(batch), *batch.space), scores)


def areas(batch: Batch) -> Tensor:
    """How many positions every part has, float64 [B, K]."""
    return sums(batch, torch.ones(batch.positions, dtype=torch.float64, device=batch.inputs.device))


def sums(batch: Batch, values: Tensor) -> Tensor:
    """The sum over the positions of every part, float64 [B, K], of values [P]."""
    of = batch.parts_of(PART)
    return sums_of_labels(values.expand(of.shape), of)


def losses(explainer: str, model: nn.Module, batch: Batch, readout: str) -> Tensor:
    """What the target's logit or probability loses without each part, float64 [B, K], by the renderings of the truth `without`.
    VxpError where the items have none, or not one for each part."""
    K, drawn = batch.count_of(PART), batch.truth.get(WITHOUT)
    if drawn is None or drawn.shape[1] != K:
        raise VxpError(f"explainer {explainer!r} needs the items rendered without each of {K} parts, the truth 'without': "
                       "leave it out, or take a task that has it")
    return torch.stack([losses_of(model, batch, i, drawn[i], readout) for i in range(len(batch))])


def losses_of(model: nn.Module, batch: Batch, i: int, drawn: Tensor, readout: str) -> Tensor:
    """The same of item i, float64 [K], by its renderings uint8 [K, C, H, W]."""
    image = batch.inputs[i]
    shown = torch.stack([image, *(redrawn(image, one, batch.normalization) for one in drawn)])
    said = torch.cat([read(model, shown[part], batch.targets[i], readout) for part in rows(len(shown), batch.space)])
    return said[0] - said[1:]


__all__ = ["KINDS", "PART", "areas", "losses", "losses_of", "parts", "sums"]
