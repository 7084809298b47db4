"""Learned class activation maps: one convolution, trained by masking the image."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer

from vxp_explainers import _attention
from vxp_explainers._attention import AUTO, Design
from vxp_explainers._l_cam import RECIPES, layers

DESIGN = Design("l-cam-img", "l-cam", layers, masked="image")


@explainer("l-cam-img", signed=False, resample="bilinear", needs=("activations", "layer", "training_data"), passes=1,
           family="attention", source="Gkartzonika et al. 2022, L-CAM-Img",
           training=_attention.training(DESIGN, RECIPES))
def l_cam_img(model: nn.Module, batch: Batch, *, weights: str = AUTO) -> Tensor:
    """The target's channel of a 1x1 convolution from the last features to one map per class, min-maxed per map.

    The convolution was trained so that the model keeps its class where the sigmoid of the map, enlarged to the image
    (bilinear), multiplies the image in [0, 1]. weights: the name of weights of this package, or a file that `vxp fit` wrote;
    by default the package's for this architecture. One forward pass gives the maps of all classes. Returns
    [B, h, w] float32 in [0, 1] on the layer's grid. Raises VxpError where there are no weights for the model, and gives
    `failed:untrained-class` to items of classes that were not trained.
    """
    return _attention.explained(DESIGN.id, model, batch, weights)
