"""The area under the ROC curve, of positions and of frames."""

import torch
from torch import Tensor
from torch.nn import functional as F


def auc(values: Tensor, inside: Tensor, rising: Tensor) -> Tensor:
    """Share float64 [B] of the pairs of one inside and one outside in which the first has the larger value; a tie is a half.

    values and inside [B, N]; rising [B, N]: the places by rising value. 0 where one of the two sides is empty.
    """
    values, member = values.gather(1, rising), inside.gather(1, rising)
    outside = F.pad((~member).long().cumsum(1), (1, 0))
    below = outside.gather(1, torch.searchsorted(values, values))
    not_above = outside.gather(1, torch.searchsorted(values, values, right=True))
    won = ((below + not_above).double() / 2 * member).sum(1)
    return won / (inside.sum(1) * (~inside).sum(1)).clamp_min(1)
