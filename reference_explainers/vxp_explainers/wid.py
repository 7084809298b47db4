"""What a network of graphs says of its own frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, VxpError, explainer
from vxp.models import evaluating

from vxp_explainers._common import check_one_of

READS = ("mean", "local", "global")


@explainer("wid", signed=False, resample="frame", target_specific=False, needs=("activations",), passes=1, family="attention",
           kinds=("temporal",),
           source="Gkalelis, Daskalakis and Mezaris 2022 (ViGAT), doi:10.1109/ACCESS.2022.3213652, section III-C")
@torch.no_grad()
def wid(model: nn.Module, batch: Batch, *, read: str = "mean") -> Tensor:
    """The weighted in-degree of every frame in the graph of frames: the sum of its column of the adjacency matrix, how much all
    frames draw from it; it does not know the class.

    For models of classes over features that have a method `adjacencies(inputs)`, which gives matrices [B, n, n] by name, rows
    summing to 1, as `vxp.models.graph_net.GraphNet` has. `read` takes one of them, `local`, of frames by the objects in them,
    or `global`, of frames by themselves; or the `mean` over all, as the authors do. One pass, of the graphs alone. Returns [B,
    n] float32 by frame, at least 0; the scores of a video sum to n. Raises VxpError for a model without such a method or
    without the matrix that is read, and for an unknown word.
    """
    check_one_of("wid", "read", read, READS)
    with evaluating(model):
        adjacencies = _adjacencies(model, batch)
    if read != "mean" and read not in adjacencies:
        graphs = ", ".join(map(repr, adjacencies))
        raise VxpError(f"explainer 'wid': read is {read!r}, and the model has the graphs {graphs}: read one of them, or their "
                       "mean")
    chosen = list(adjacencies.values()) if read == "mean" else [adjacencies[read]]
    return torch.stack([found.double().sum(1) for found in chosen]).mean(0).float()


def _adjacencies(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    method, n = getattr(model, "adjacencies", None), batch.space[0]
    if not callable(method):
        raise VxpError(f"explainer 'wid' needs a model with a method `adjacencies(inputs)`, got a {type(model).__name__}: "
                       "leave it out of models that are no network of graphs")
    found: dict[str, Tensor] = dict(method(batch.inputs.detach()))
    for name, matrix in found.items():
        if tuple(matrix.shape) != (len(batch), n, n):
            raise VxpError(f"explainer 'wid': the model's adjacency {name!r} is {tuple(matrix.shape)}, expected "
                           f"[{len(batch)}, {n}, {n}]: a row and a column for every frame")
    if not found:
        raise VxpError("explainer 'wid': the model's `adjacencies` gave no matrix, expected one at least")
    return found
