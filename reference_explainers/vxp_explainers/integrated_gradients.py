"""Gradients along the way from a baseline."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers._common import at_once, check_at_least, leaf

METHOD = "gausslegendre"
"""The quadrature along the way: exact for polynomials up to degree 2*steps - 1."""


def _passes(*, steps: int, baseline: str) -> int:
    return 2 * steps


@explainer("integrated-gradients", signed=True, resample="none", needs=("gradients",), passes=_passes,
           family="gradient", kinds=MAPS, source="Sundararajan et al. 2017, eq. 1 (captum)")
def integrated_gradients(model: nn.Module, batch: Batch, *, steps: int = 50, baseline: str = "black") -> Tensor:
    """The gradient of the target's logit, integrated on the straight way from the baseline to the input, times their
    difference, summed over channels: the sum over positions is the difference of the logits.

    baseline names a fill (black, mean, blur, noise): Sundararajan et al. take the black image. Returns [B, H, W]
    float32. Raises VxpError for an unknown baseline and for steps below 1.
    """
    from captum.attr import IntegratedGradients  # not above: its import takes half a second

    check_at_least("integrated-gradients", 1, steps=steps)
    with evaluating(model):
        # at least one row per item, which is what captum asks for: the steps are then run one after the other
        product: Tensor = IntegratedGradients(model).attribute(
            leaf(batch.inputs), baselines=batch.fill_image(baseline).detach(), target=batch.targets, n_steps=steps,
            method=METHOD, internal_batch_size=max(at_once(batch.space), len(batch)),
        )
    return product.detach().sum(1).float()
