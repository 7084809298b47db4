"""Trainable attention over features of several layers."""

from __future__ import annotations

from torch import Tensor, nn
from vxp import models
from vxp.core import Batch, explainer
from vxp.kinds import MAPS

from vxp_explainers import _attention
from vxp_explainers._attention import AUTO, Design, Recipe, published_layers

LAYERS = {"vgg16": ("features.16", "features.23", "features.30"), "resnet50": ("layer2", "layer3", "layer4")}
"""The last three poolings of VGG-16, and the last three stages of ResNet-50."""
RECIPES = {"vgg16": Recipe(rate=1e-3, epochs=8), "resnet50": Recipe(rate=1e-4, epochs=4), "other": Recipe(rate=1e-3, epochs=8)}


def _layers(model: nn.Module, inputs: Tensor) -> tuple[str, ...]:
    """The published layers, else the last layer of each of the three coarsest grids."""
    return published_layers(model, LAYERS) or tuple(models.spatial_layers(model, inputs)[-3:])


DESIGN = Design("tame", "tame", _layers)


@explainer("tame", signed=False, resample="bilinear", needs=("activations", "layer", "training_data"), passes=1,
           family="attention", kinds=MAPS, source="Ntrougkas et al. 2022",
           training=_attention.training(DESIGN, RECIPES))
def tame(model: nn.Module, batch: Batch, *, weights: str = AUTO) -> Tensor:
    """The target's channel of an attention network over features of one to four layers, min-maxed per map.

    In a branch for each layer a 1x1 convolution, batch norm, the feature map itself added, ReLU and upsampling to the grid
    of the first; then one 1x1 convolution of all to a map per class (`_class_maps.Tame`). Trained so that the model keeps its
    class where the sigmoid of the map multiplies the image in [0, 1]. Unlike the authors' code the model stays in eval mode
    meanwhile, with its own batch statistics. weights: the name of weights of this package, or a file that `vxp fit` wrote;
    by default the package's for this architecture. Of clips the network has a time axis as well, and the mask multiplies the
    clip; for a model of motion such a mask can be the motion itself. One forward pass gives the maps of all classes. Returns
    [B, h, w] float32 in [0, 1] on the grid of the first layer, [B, t, h, w] of clips. Raises VxpError where there are no
    weights for the model, and gives `failed:untrained-class` to items of classes that were not trained.
    """
    return _attention.explained(DESIGN.id, model, batch, weights)
