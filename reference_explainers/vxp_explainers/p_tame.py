"""Trainable attention over the features of another network, for a model known only by its answers."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from vxp.core import Batch, explainer

from vxp_explainers import _attention
from vxp_explainers._attention import AUTO, Design, Recipe

FEATURES = "efficientnet-lite0"
"""The network whose features are read (ResNet-18 in the paper)."""
LAYERS = ("_blocks.2", "_blocks.4", "_blocks.10", "_blocks.15")
"""The last blocks at a quarter, an eighth, a sixteenth and a thirty-second of its input."""

_COMMON = Recipe(optimiser="adamw", rate=1e-4, bias_rate=1.0, decay_biases=True, epochs=1, regularised="batch")
RECIPES = {
    "vgg16": replace(_COMMON, cross_entropy=0.07278, area=0.977712, variation=1e-4, decay=0.13324),
    "resnet50": replace(_COMMON, cross_entropy=0.16143, area=0.83857, variation=0.0, decay=2.4267e-4),
    "vit": replace(_COMMON, cross_entropy=0.13129, area=0.83857, variation=0.0, area_power=0.5, decay=1.331e-4),
    "other": replace(_COMMON, cross_entropy=0.16143, area=0.83857, variation=0.0, decay=2.4267e-4),
}


def _layers(_features: nn.Module, _inputs: Tensor) -> tuple[str, ...]:
    return LAYERS


DESIGN = Design("p-tame", "tame", _layers, features=FEATURES, fuser_bias=False)


@explainer("p-tame", signed=False, resample="bilinear", needs=("training_data",), passes=1,
           family="attention", source="Ntrougkas et al. 2025",
           training=_attention.training(DESIGN, RECIPES))
def p_tame(model: nn.Module, batch: Batch, *, weights: str = AUTO) -> Tensor:
    """TAME over the features of another, frozen network: nothing but the model's answers is used, so that any callable that
    is wrapped in a module can be explained. Training still needs gradients of these answers by the image.

    The features are those of EfficientNet-Lite0 (in the paper ResNet-18) at four grids, and the last convolution has no bias.
    The model itself does not run when it is explained: the pass is that of the other network. weights, result and errors as
    for `tame`.
    """
    return _attention.explained(DESIGN.id, model, batch, weights)
