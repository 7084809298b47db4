"""A small network of graphs that classifies a video by its frames and the objects in them, after ViGAT (Gkalelis, Daskalakis
and Mezaris 2022, doi:10.1109/ACCESS.2022.3213652).

1. A frame is a global feature of F numbers, followed by O features of as many, of the objects that a detector finds in it.
2. A block takes the N nodes of a graph, X [N, F]. E = Q K^T with two linear maps of X; the adjacency is a_ij = E_ij^2 / sum_j
   E_ij^2, so that its rows sum to 1. Two layers X <- ReLU(LayerNorm(A X W)), and the mean over the nodes.
3. One block, with the same weights, is used three times: on the objects of every frame, which gives the frame a local feature;
   on the frames by their local features; and on the frames by their global features.
4. The last two, side by side, go through two linear layers to the logits of the classes.

The weighted in-degree of a node, the sum of its column of the adjacency, is what the network itself says of it. Weights are
random until they are trained: there are none in this package.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vxp.core import VxpError


class GraphBlock(nn.Module):
    """Nodes [..., N, F] to one feature [..., F]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(features, features), nn.Linear(features, features)
        self.layers = nn.ModuleList(nn.Linear(features, features, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(features) for _ in range(2))

    def forward(self, nodes: Tensor) -> Tensor:
        adjacency = self.adjacency(nodes)
        for weigh, norm in zip(self.layers, self.norms, strict=True):
            nodes = norm(adjacency @ weigh(nodes)).relu()
        return nodes.mean(-2)

    def adjacency(self, nodes: Tensor) -> Tensor:
        """[..., N, N]: how much every node (row) draws from every node (column); rows sum to 1."""
        squares = (self.query(nodes) @ self.key(nodes).transpose(-1, -2)).square()
        found: Tensor = F.normalize(squares, p=1, dim=-1)  # a row of zeros stays one
        return found


class GraphNet(nn.Module):
    """Videos [B, D, n] of n frames, D = F*(1 + objects), to logits [B, classes]; of any number n."""

    def __init__(self, features: int, objects: int, classes: int) -> None:
        super().__init__()
        self.features, self.objects = features, objects
        self.block = GraphBlock(features)
        graphs = 2 if objects else 1
        self.head = nn.Sequential(nn.Linear(graphs * features, features), nn.ReLU(), nn.Linear(features, classes))

    def forward(self, videos: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.cat([self.block(frames) for frames in self._graphs(videos).values()], dim=-1))
        return logits

    def adjacencies(self, videos: Tensor) -> dict[str, Tensor]:
        """Between the frames of a video, [B, n, n]: `local`, by the objects in them, where there are objects, and `global`."""
        return {name: self.block.adjacency(frames) for name, frames in self._graphs(videos).items()}

    def object_degrees(self, videos: Tensor) -> Tensor:
        """The weighted in-degree [B, n, objects] of every object in its frame."""
        return self.block.adjacency(self._nodes(videos)[:, :, 1:]).sum(-2)

    def _graphs(self, videos: Tensor) -> dict[str, Tensor]:
        nodes = self._nodes(videos)
        local = {"local": self.block(nodes[:, :, 1:])} if self.objects else {}
        return {**local, "global": nodes[:, :, 0]}

    def _nodes(self, videos: Tensor) -> Tensor:
        """[B, n, 1 + objects, F]."""
        expected = self.features * (1 + self.objects)
        if videos.ndim != 3 or videos.shape[1] != expected:
            raise VxpError(f"the network was given {tuple(videos.shape)}, expected [B, {expected}, n]: {self.features} numbers "
                           f"of the frame and of each of its {self.objects} objects")
        found: Tensor = videos.transpose(1, 2).unflatten(2, (1 + self.objects, self.features))
        return found


__all__ = ["GraphBlock", "GraphNet"]
