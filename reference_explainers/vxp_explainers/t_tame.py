"""Trainable attention over the tokens of a vision transformer."""

from __future__ import annotations

from torch import Tensor, nn
from vxp import models
from vxp.core import Batch, explainer

from vxp_explainers import _attention
from vxp_explainers._attention import AUTO, Design, Recipe, published_layers

LAYERS = {"vit": tuple(f"encoder.layers.encoder_layer_{i}.ln_1" for i in (9, 10, 11))}
"""The layer norm before the attention of the last three blocks of torchvision's ViT-B/16."""
BLOCKS = 3
RECIPES = {"vit": Recipe(rate=1e-3, bias_rate=1.0, mask_space="normalized"),
           "other": Recipe(rate=1e-3, bias_rate=1.0, flip=False)}


def _layers(model: nn.Module, inputs: Tensor) -> tuple[str, ...]:
    """The published layers, else the first norm of each of the last three blocks that hold an attention."""
    found = published_layers(model, LAYERS)
    if found:
        return found
    blocks = [name for name, module in model.named_modules() if any(map(_attends, module.children()))]
    norms = [next((f"{block}.{name}" for name, child in models.find_layer(model, block).named_children()
                   if isinstance(child, nn.LayerNorm)), block) for block in blocks]
    return tuple(norms[-BLOCKS:]) or (models.last_spatial_layer(model, inputs),)


def _attends(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention) or type(module).__name__ == "Attention"


DESIGN = Design("t-tame", "tame", _layers)


@explainer("t-tame", signed=False, resample="bilinear", needs=("activations", "layer", "training_data"), passes=1,
           family="attention", source="Ntrougkas et al. 2024",
           training=_attention.training(DESIGN, RECIPES))
def t_tame(model: nn.Module, batch: Batch, *, weights: str = AUTO) -> Tensor:
    """TAME for vision transformers: the tokens of a layer [B, 1 + h*w, D], without the class token, are feature maps
    [B, D, h, w].

    By default the layers are the norms before the attention of the last three blocks, as published. The mask multiplies the
    normalised image for a ViT (what is removed gets the mean colour) and the image in [0, 1] for others. Classes are what the
    model predicts for the image as it is shown. weights, result and errors as for `tame`.
    """
    return _attention.explained(DESIGN.id, model, batch, weights)
