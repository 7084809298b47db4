"""The small classifier of the task `shapes`: trained by us, weights in the package."""

from __future__ import annotations

from torch import Tensor, nn


class ShapesCNN(nn.Module):
    """Four convolution blocks and global average pooling; 64x64 inputs, last features [B, 96, 8, 8]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (3, 32, 48, 64, 96)
        blocks: list[nn.Module] = []
        for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
            blocks += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
            if i < 3:
                blocks.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits
