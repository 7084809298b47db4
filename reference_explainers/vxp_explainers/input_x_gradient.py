"""The gradient times what it was taken by."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers._common import leaf, scalar


@explainer("input-x-gradient", signed=True, resample="none", needs=("gradients",), passes=2, family="gradient",
           kinds=MAPS, outputs=("classes", "sequence"), source="Shrikumar et al. 2016 (captum)")
def input_x_gradient(model: nn.Module, batch: Batch) -> Tensor:
    """The gradient of the target's logit by the model's input times that input, summed over channels; of a model that scores
    the frames of clips that of their mean score.

    Returns [B, *space] float32. The input is the normalised one that the model takes: its zero is the preprocessing mean.
    """
    from captum.attr import InputXGradient  # not above: its import takes half a second

    said, targets = scalar(model, batch)
    with evaluating(model):
        product: Tensor = InputXGradient(said).attribute(leaf(batch.inputs), target=targets)
    return product.detach().sum(1).float()
