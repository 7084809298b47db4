"""The small classifier of the task `shapes`: trained by us, weights in the package."""

from __future__ import annotations

from torch import Tensor, nn


def _block(inside: int, outside: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]


class ShapesCNN(nn.Module):
    """Four convolution blocks and global average pooling; 64x64 inputs, last features [B, 96, 8, 8]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(3, 16, kernel=5, stride=2), *_block(16, 32, stride=2), *_block(32, 64, stride=2), *_block(64, 96))
        self.head = nn.Linear(96, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits
