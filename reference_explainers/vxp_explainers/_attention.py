"""What L-CAM, TAME, T-TAME and P-TAME share: class maps from features, trained on masked images while the model is frozen.

A small network turns features of the model into a stack C [B, K, h, w], one map for each of K classes (Gkartzonika et al.
2022; Ntrougkas et al. 2022). It is trained so that the model still predicts class y from what A = sigmoid(C_y) leaves of
the image, with two terms that keep A small and smooth. One forward pass then gives the maps of all classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from vxp import models
from vxp.core import Batch, NotExplainedError, Training
from vxp.core.perturb import minmax

from vxp_explainers import _weights
from vxp_explainers._class_maps import Design, Recipe, backbone, published_layers, reader_of
from vxp_explainers._common import observed
from vxp_explainers._training import fit
from vxp_explainers._weights import AUTO, Weights


def training(design: Design, recipes: Mapping[str, Recipe]) -> Training:
    """How a design is trained and its weights are found."""
    return Training(
        partial(fit, design=design), recipes, lambda model: found if (found := backbone(model)) in recipes else "other",
        partial(_weights.resolve, design.id), partial(_weights.components, design.id))


@torch.no_grad()
def class_maps(model: nn.Module, batch: Batch, weights: Weights) -> Tensor:
    """The maps of all classes [B, K, *grid] before the sigmoid, in one forward pass."""
    reader = reader_of(weights.card["features"])
    with models.evaluating(model):
        if reader is None:
            _, features, _ = observed(model, weights.card["layers"], batch)
        else:
            _, features, _ = observed(reader.module, weights.card["layers"], reader.batch(batch))
    network = weights.network.to(batch.inputs.device)
    out: Tensor = network([f.float() for f in features])
    return out


def explained(design: str, model: nn.Module, batch: Batch, weights: str) -> Tensor:
    """The targets' maps [B, *grid] in [0, 1], min-maxed each on its own grid; NotExplainedError for classes not trained."""
    found = _weights.find(design, model, weights)
    trained = found.card["trained_classes"]
    unknown = sorted({int(t) for t in batch.targets if str(int(t)) not in trained})
    if unknown:
        raise NotExplainedError("untrained-class", f"{found.card['name']} was not trained for the classes {unknown[:5]}")
    maps = class_maps(model, batch, found)[torch.arange(len(batch)), batch.targets].double()
    return minmax(maps).float()


__all__ = ["AUTO", "Design", "Recipe", "class_maps", "explained", "published_layers", "training"]
