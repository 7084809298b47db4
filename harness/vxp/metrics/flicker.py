"""Flicker: how much a map over a clip changes from frame to frame."""

import torch

from vxp.core import Case, Outcome, metric, outcome


@metric("flicker", family="description", better="neither", range=(0, None), kinds=("heatmap3d",),
        undefined=("one-frame", "no-positive-mass"),
        source="Defined here; the mean absolute difference of consecutive frames over the mean",
        caveats=("A description, no score: on motion-items coarse random maps (.17), RISE (.02) and a Gaussian at the centre "
                 "(.36) flicker less than Grad-CAM (.68), and the truth flickers more (1.5).",
                 "A constant that is added to a positive map makes it flicker less, and ranks its voxels as before.",
                 "Compares neighbouring frames: of a clip that is sampled more densely the same map flickers less."))
def flicker(case: Case) -> Outcome:
    """Mean absolute difference of the positive relevance between a frame and the next, over the mean positive relevance.

    At least 0, at most 2T/(T - 1); neither direction is better. 0 for a map that is the same in every frame. Undefined for a
    clip of one frame and for a map without positive values.
    """
    relevance = case.map.double().clamp_min(0)
    T, mean = relevance.shape[1], relevance.flatten(1).mean(1)
    none = mean == 0
    change = relevance.diff(dim=1).abs().flatten(1).sum(1) / (max(T - 1, 1) * relevance[0, 0].numel())
    return outcome(change / torch.where(none, torch.ones_like(mean), mean),
                   {"one-frame": torch.full_like(none, T == 1), "no-positive-mass": none})
