"""A small video summariser: one layer of self-attention that finds footage which nothing else in the video resembles.

1. Features of a frame are brought to length 1, projected, and brought to length 1 again: h_i.
2. Attention of frame i to frame j: softmax over j of a*<h_i, h_j> + r(|i - j|), with a learnt sharpness a and a learnt number r
   per distance, the last for all that are farther. So it can look for what is alike and far away, and over its own shot.
3. y_i = sum over j of attention times h_j, brought to length 1: what the rest of the video has that is most like frame i.
4. score_i = sigmoid(b - sum over k of w_k*h_ik*y_ik): high where even that is unlike.

The read-out sees what frames have in common and never what is in them, so it cannot learn footage by heart: trained on few
photos, it ranks footage of others. Queries, keys and values are the same vectors for the same reason.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vxp import random
from vxp.core import VxpError

FEATURES, WIDTH, REACH = 1280, 64, 16
FRAMES = 40
"""Of a video in the probe."""


class Summariser(nn.Module):
    """Features [n, D] or [B, n, D] of the frames of a video, of any number n, to scores in (0, 1), [n] or [B, n]."""

    def __init__(self, features: int = FEATURES, width: int = WIDTH, reach: int = REACH) -> None:
        super().__init__()
        self.project = nn.Linear(features, width, bias=False)
        nn.init.normal_(self.project.weight, std=width**-0.5)  # a random projection keeps angles roughly
        self.sharpness = nn.Parameter(torch.tensor(5.0))
        self.distance = nn.Parameter(torch.zeros(reach + 1))
        self.weight = nn.Parameter(torch.full((width,), 4.0))
        self.bias = nn.Parameter(torch.tensor(2.0))

    def forward(self, features: Tensor) -> Tensor:
        return self.logits(features).sigmoid()

    def logits(self, features: Tensor) -> Tensor:
        """What the scores are the sigmoid of, [n] or [B, n]."""
        h = self._vectors(features)
        return self._read(h, self._attention(h))

    def attended(self, features: Tensor, attention: Tensor) -> Tensor:
        """The scores, [n] or [B, n], with this attention, [n, n] or [B, n, n], in place of the summariser's own."""
        return self._read(self._vectors(features), attention).sigmoid()

    def attention(self, features: Tensor) -> Tensor:
        """How much every frame (row) attends to every frame (column), [n, n] or [B, n, n]; rows sum to 1."""
        return self._attention(self._vectors(features))

    def _vectors(self, features: Tensor) -> Tensor:
        expected = self.project.in_features
        if features.ndim not in (2, 3) or features.shape[-1] != expected:
            raise VxpError(f"the summariser was given features {tuple(features.shape)}, expected [n, {expected}] or "
                           f"[B, n, {expected}]: {expected} numbers per frame")
        return F.normalize(self.project(F.normalize(features, dim=-1)), dim=-1)

    def _read(self, h: Tensor, attention: Tensor) -> Tensor:
        y = F.normalize(attention @ h, dim=-1)
        return self.bias - (self.weight * h * y).sum(-1)

    def _attention(self, h: Tensor) -> Tensor:
        place = torch.arange(h.shape[-2], device=h.device)
        apart = (place[:, None] - place).abs().clamp_max(len(self.distance) - 1)
        found: Tensor = (self.sharpness * (h @ h.transpose(-1, -2)) + self.distance[apart]).softmax(-1)
        return found


def fragment_means(values: Tensor, of: Tensor) -> Tensor:
    """The mean over the frames of every fragment, [S, ...] of values [n, ...]; of int64 [n]: the fragment of each frame, and
    every fragment has one."""
    one_hot = F.one_hot(of).to(values.dtype)
    return torch.einsum("ns,n...->s...", one_hot / one_hot.sum(0), values)


def novelty(features: Tensor, of: Tensor) -> Tensor:
    """How little every fragment resembles any other of its video: 1 less the largest cosine similarity between the mean
    features of its frames and those of another, [S]. features [n, D]; of int64 [n]: the fragment of each frame, of two at
    least."""
    means = F.normalize(fragment_means(features, of), dim=-1)
    alike = means @ means.T
    return 1 - alike.masked_fill(torch.eye(len(alike), dtype=torch.bool), -torch.inf).amax(1)


def probe_features() -> Tensor:
    """8 fixed inputs [8, 40, FEATURES], uniform in [0, 1) by Philox, purpose `probe@1`, stream = the number of the input."""
    keys = [random.key(0, "", "probe@1", str(i)) for i in range(8)]
    return torch.stack([random.uniforms(key, 0, FRAMES * FEATURES).view(FRAMES, FEATURES) for key in keys])


__all__ = ["Summariser", "fragment_means", "novelty", "probe_features"]
