"""The small classifier of the task `motion-items`: trained by us, weights in the package."""

from __future__ import annotations

from torch import Tensor, nn


def _block(inside: int, between: int, outside: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution in space, then one over three frames (Tran et al. 2018: (2+1)D)."""
    space = nn.Conv3d(inside, between, (1, kernel, kernel), (1, stride, stride), (0, kernel // 2, kernel // 2), bias=False)
    time = nn.Conv3d(between, outside, (3, 1, 1), padding=(1, 0, 0), bias=False)
    return [space, nn.BatchNorm3d(between), nn.ReLU(), time, nn.BatchNorm3d(outside), nn.ReLU()]


class MotionNet(nn.Module):
    """Three (2+1)D blocks and global average pooling; clips [B, 3, T, 32, 32], last features [B, 32, T, 8, 8]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(3, 12, 16, kernel=5, stride=2), *_block(16, 24, 32, stride=2), *_block(32, 32, 32))
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3, 4)))
        return logits
