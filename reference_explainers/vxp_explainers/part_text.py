"""What a heat map says of the parts of an image, in words."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from vxp.core import Batch, Explainer, VxpError, explainer
from vxp.kinds import HEATMAP2D, encoded

from vxp_explainers import _sentences
from vxp_explainers._common import check_at_least, check_one_of
from vxp_explainers._parts import PART
from vxp_explainers.grad_cam import grad_cam
from vxp_explainers.input_x_gradient import input_x_gradient
from vxp_explainers.integrated_gradients import integrated_gradients
from vxp_explainers.occlusion import occlusion
from vxp_explainers.saliency import saliency

MAPS: Mapping[str, Explainer] = {one.id: one for one in (grad_cam, saliency, input_x_gradient, integrated_gradients, occlusion)}


def _passes(*, by: str, k: int) -> int:
    chosen = MAPS.get(by, grad_cam)
    return chosen.nominal(chosen.parameters)


@explainer("part-text", signed=False, resample="none", passes=_passes, needs=("gradients", "activations"), family="other",
           kinds=("text",), source="VXP")
def part_text(model: nn.Module, batch: Batch, *, by: str = "grad-cam", k: int = 2) -> Tensor:
    """The k parts of an image on which a heat map is largest, told in a sentence and claimed to be causes.

    by: the explainer that makes the map, with its defaults: `grad-cam`, `saliency`, `input-x-gradient`, `integrated-gradients`
    or `occlusion`. A part counts by the mean of the map over the pixels that show it, of equal ones the earlier; a part that is
    not seen is not told. The sentence is made from a template. Where parts are, and what they are called, is known of the items
    (`batch.parts`, `batch.concepts`). Passes are those of the map. Returns uint8 [B, 8192]. Raises VxpError for unknown words,
    a k below 1, and items of which it is not known where their parts are.
    """
    check_one_of("part-text", "by", by, tuple(MAPS))
    check_at_least("part-text", 1, k=k)
    names = batch.concepts
    if PART not in batch.parts or not names:
        raise VxpError("explainer 'part-text' tells of parts of images, and it is not known where these items have them: take "
                       "a task whose card names the parts")
    chosen = MAPS[by]
    made = chosen.explain(model, batch, **chosen.parameters).detach()
    maps = HEATMAP2D.resampled(made, batch.space, chosen.resample)
    return encoded([_sentences.of_parts([names[part] for part in _ranked(one.flatten(), of, len(names))[:k]])
                    for one, of in zip(maps, batch.parts[PART], strict=True)])


def _ranked(values: Tensor, of: Tensor, n: int) -> list[int]:
    """The parts that are seen, by the mean of the values over them."""
    seen = [part for part in range(n) if bool((of == part).any())]
    means = torch.stack([values[of.to(values.device) == part].double().mean() for part in seen]) if seen else torch.empty(0)
    return [seen[place] for place in means.argsort(descending=True, stable=True).tolist()]
