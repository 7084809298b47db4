"""The fills of a batch from the oracles, for tests whose own subject is the builder that fills."""

from __future__ import annotations

import numpy as np
import torch
from oracles import fills
from torch import Tensor
from vxp.core import Batch


class Plain:
    """Stands for a builder of rows where a test asks what a fill is."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def fill(self, name: str) -> Tensor:
        """The fill image of every item, [B, C, H, W] in the model's input space."""
        norm, rows = self.batch.normalization, zip(self.batch.inputs, self.batch.ids, strict=True)
        made = [fills.fill(name, x.double().numpy(), norm.mean, norm.std, self.batch.seed, item) for x, item in rows]
        return torch.from_numpy(np.stack(made)).float()
