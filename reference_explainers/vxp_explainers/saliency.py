"""Vanilla gradients."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers._common import leaf, scalar


@explainer("saliency", signed=False, resample="none", needs=("gradients",), passes=2, family="gradient",
           kinds=MAPS, outputs=("classes", "sequence"), source="Simonyan et al. 2014, section 3.1 (captum)")
def saliency(model: nn.Module, batch: Batch) -> Tensor:
    """The absolute gradient of the target's logit by the input, its maximum over channels; of a model that scores the frames of
    clips that of their mean score.

    Returns [B, *space] float32, at least 0.
    """
    from captum.attr import Saliency  # not above: its import takes half a second

    said, targets = scalar(model, batch)
    with evaluating(model):
        gradient: Tensor = Saliency(said).attribute(leaf(batch.inputs), target=targets, abs=True)
    return gradient.detach().amax(1).float()
