"""What L-CAM-Fm and L-CAM-Img share: their layer and the recipes they were published with."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from vxp import models

from vxp_explainers._attention import Recipe, published_layers

LAYERS = {"vgg16": ("features.29",), "resnet50": ("layer4",)}
"""Before the last pooling of VGG-16 (14x14; features.30 is the 7x7 variant), and the last stage of ResNet-50."""

_COMMON = Recipe(schedule="epochs", decay_biases=True, batch=64)
RECIPES = {
    "vgg16": replace(_COMMON, rate=1e-2, gamma=0.75, gamma_epochs=22, epochs=8),
    "resnet50": replace(_COMMON, rate=1e-4, gamma=0.95, gamma_epochs=12, epochs=26),
    "other": replace(_COMMON, rate=1e-2, gamma=0.75, gamma_epochs=22, epochs=8),
}


def layers(model: nn.Module, inputs: Tensor) -> tuple[str, ...]:
    """The published layer, else the last one with a grid."""
    return published_layers(model, LAYERS) or (models.last_spatial_layer(model, inputs),)
