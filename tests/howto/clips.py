"""Explain and score a model of clips."""

import torch
import vxp
from torchvision.models.video import r3d_18

model = r3d_18(num_classes=5).eval()  # weights="KINETICS400_V1" gives the trained one
mean, std = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
raw = torch.rand(2, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0))  # [B, C, T, H, W] in [0, 1]
inputs = (raw - torch.tensor(mean).view(3, 1, 1, 1)) / torch.tensor(std).view(3, 1, 1, 1)

maps = vxp.explain(model, inputs, "grad-cam", normalization=(mean, std))  # [B, t, h, w], the grid of the layer
moving = torch.zeros(2, 8, 64, 64, dtype=torch.bool)
moving[:, 2:6, 10:40, 20:50] = True
scores = vxp.score(model, inputs, maps, truth=moving, metrics=("relevance-rank", "mask-auc", "gini", "pointing-game"),
                   normalization=(mean, std))
print(scores)  # pointing-game is a metric of images: not-run:kind
