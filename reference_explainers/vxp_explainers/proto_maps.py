"""What a prototype network itself says: where its prototypes are, and what they add."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating
from vxp.models.protopnet import similarity

from vxp_explainers._prototypes import KINDS, network


@explainer("proto-maps", signed=True, resample="none", family="prototype", kinds=KINDS,
           source="Chen et al. 2019, arXiv:1806.10574, section 2.1")
@torch.no_grad()
def proto_maps(model: nn.Module, batch: Batch) -> Tensor:
    """The similarity of every cell to each prototype times the weight of the prototype for the target.

    The logit is the sum over prototypes of the largest value of each plane, so that the explanation is a part of the
    computation and of nothing else; what a cell sees beyond its middle is not said. Returns [B, P, h, w] float32, of all
    prototypes of the network, those of other classes included. Raises VxpError for a model that is no prototype network.
    """
    net, seen = network("proto-maps", model), list[Tensor]()
    handle = net.features.register_forward_hook(lambda module, inputs, z: seen.append(z))
    try:
        with evaluating(model):
            model(batch.inputs)  # a whole pass, which is counted
    finally:
        handle.remove()
    return similarity(net.distances_of(seen[-1])) * net.head.weight[batch.targets][:, :, None, None]
