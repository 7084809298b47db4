"""taylor-blur against a model with a known answer."""

import pytest
import torch
from torch import nn
from torchvision.transforms.functional import gaussian_blur
from vxp import VxpError, explain


def test_taylor_blur_of_a_linear_model_is_weight_times_what_the_blur_takes_away() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 10, 4)).eval()
    inputs = torch.rand(2, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    maps = explain(model, inputs, "taylor-blur", targets=[3, 1], parameters={"radius": 2})
    weights = model[1].weight.detach()[[3, 1]].view(2, 3, 8, 10)
    blurred = gaussian_blur(inputs, [5, 5], [1.0, 1.0])
    torch.testing.assert_close(maps, (weights * (inputs - blurred)).sum(1))
    with pytest.raises(VxpError, match=r"taylor-blur: got radius 8, expected 1 to 7"):
        explain(model, inputs, "taylor-blur", parameters={"radius": 8})
