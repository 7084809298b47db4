"""A model of clips, as `vxp run --clips` takes it."""

from torch import Tensor, nn


class Small(nn.Module):
    """Clips [B, 3, T, H, W] to logits [B, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv3d(3, 8, 3, stride=(1, 2, 2), padding=1), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.features(clips).mean((2, 3, 4)))


def factory() -> tuple[nn.Module, dict[str, object]]:
    """A module, and what it takes: frames, height and width, mean and deviation per channel, and the names of its classes."""
    return Small(), {"input_size": (16, 32, 32), "mean": (0.5,) * 3, "std": (0.25,) * 3,
                     "class_names": ("left", "right", "still")}
