"""Shapley values of the fragments of a video."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._coalitions import every, least_squares, paired, shapley
from vxp_explainers._common import check_at_least, check_one_of
from vxp_explainers._fragments import EXPLANANDA, saying

PURPOSE = "fragment-shap@1"


def _passes(*, samples: int, explanandum: str, fill: str) -> int:
    return samples


@explainer("fragment-shap", signed=True, resample="fragment", target_specific=False, passes=_passes, family="perturbation",
           kinds=("temporal",), outputs=("sequence",), explanandum="explanandum",
           source="Lundberg and Lee 2017, theorem 2; sampling in pairs by Covert and Lee 2021, section 4.1")
@torch.no_grad()
def fragment_shap(
    model: nn.Module, batch: Batch, *, samples: int = 1024, explanandum: str = "rank-order", fill: str = "zero",
) -> Tensor:
    """Shapley values of the fragments of a video: what a fragment adds when it is kept and not removed, averaged over all
    orders in which the fragments may come.

    explanandum is what they add to: `rank-order`, tau_b between the scores of the whole video and those of the perturbed one;
    or `mean-score`, the mean of the scores. The values sum to what the whole says less what is said where every fragment went,
    exactly; of `rank-order` to 1, since no order is left then. Where a video has so few fragments that 2^S <= samples, all
    coalitions are asked and the values are those of the definition. Otherwise they are the least squares of `kernel-shap`: two
    samples are the whole and the empty video, the others pairs of a coalition, its size drawn by the Shapley kernel, and what
    it leaves out, drawn per item. fill is any fill of sequences. Passes are at most `samples`. Returns [B, S] float32. Raises
    VxpError for unknown words, samples below 2, and items that are not divided into fragments.
    """
    check_at_least("fragment-shap", 2, samples=samples)
    check_one_of("fragment-shap", "explanandum", explanandum, EXPLANANDA)
    fragments = batch.count_of("fragment")
    exact = 1 << fragments <= samples
    found = []
    with evaluating(model):
        say = saying(model, batch, fill, explanandum)
        for i in range(len(batch)):
            kept = every(fragments, batch.inputs.device) if exact else paired(batch, i, PURPOSE, samples, fragments)
            said = say(i, ~kept)
            found.append(shapley(said, fragments) if exact else least_squares(kept, said))
    return torch.stack(found).float()
