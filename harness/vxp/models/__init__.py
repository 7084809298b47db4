"""Models: loaded by name with their preprocessing, looked into by layer, identified by content."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vxp import outputs
from vxp.core import VxpError
from vxp.models.clips import misfit
from vxp.models.forms import named, of_clips, settled
from vxp.models.identity import Card, Takes, described, state_dict_digest
from vxp.models.layers import find_layer, last_linear_input, last_spatial_layer, spatial_layers, token_grid, token_place
from vxp.models.loaded import Model
from vxp.models.loading import lies_channels_last, load, model_names, relabelled
from vxp.models.own import from_file
from vxp.models.passes import Passes
from vxp.models.randomise import compensated, randomised
from vxp.models.torchvision_models import templates
from vxp.models.volumes import channels_first, token_volume

__all__ = [
    "Card", "Model", "Passes", "Takes", "channels_first", "check_some_finite", "compensated",
    "described", "evaluating", "find_layer", "from_file", "last_linear_input", "last_spatial_layer", "lies_channels_last",
    "load", "model_names", "named", "of_clips", "predict", "randomised", "relabelled", "settled", "spatial_layers",
    "state_dict_digest", "templates", "token_grid", "token_place", "token_volume",
]


def predict(model: nn.Module, inputs: Tensor, batch_size: int = 16) -> Tensor:
    """What the model says [B, K], logits or scores, without gradients; VxpError for a wrong shape, and where no item has finite
    ones."""
    try:
        with torch.no_grad():
            logits = torch.cat([outputs.of(model).checked(model(x), x).float() for x in inputs.split(batch_size)])
    except (RuntimeError, ValueError) as error:
        if said := "" if isinstance(error, VxpError) else misfit(model, inputs):
            raise VxpError(said) from error
        raise
    check_some_finite(logits)
    return logits


def check_some_finite(logits: Tensor) -> None:
    """VxpError where no item has finite logits [B, K]: then it is the model, and no item of its own."""
    if not torch.isfinite(logits).all(1).any():
        raise VxpError(f"the model returned NaN or infinite logits for all {len(logits)} items, expected finite ones: check "
                       "its weights, its normalization and the inputs")


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode, every submodule's mode as it was afterwards."""
    modes = {name: module.training for name, module in model.named_modules()}
    model.eval()
    try:
        yield model
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]
