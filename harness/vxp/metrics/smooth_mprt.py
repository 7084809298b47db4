"""Smooth MPRT: MPRT of maps that are averaged over noisy copies of the input."""

from collections.abc import Generator

import torch
from torch import Tensor

from vxp.core import Case, Explain, Plan, Randomised, Request, State, metric, outcome
from vxp.metrics._sensitivity import noised
from vxp.metrics._similarity import SIMILARITIES, check_fits, similarities, still


@metric("smooth-mprt", family="sanity", better="lower", range=(-1, 1), re_explains="samples",
        undefined=("constant-map", "zero-variance"), source="Hedstroem et al. 2024, arXiv:2401.06465",
        caveats=("Judges the smoothed explainer, not the stored map, which only decides the status.",
                 "The radius is in the model's input units: models that are normalised otherwise see other noise.",
                 "Few draws leave noise in the average, which lowers the similarity.",
                 "A similarity of maps that both follow the image's edges stays high on a random model, as in mprt.",
                 "With more stages than modules that own parameters, some stages change nothing."),
        axis="share of stages randomised",
        limits={"samples": (1, None), "radius": (0, None), "stages": (1, None), "similarity": SIMILARITIES})
def smooth_mprt(
    case: Case, *, samples: int = 10, radius: float = 0.7, stages: int = 8, similarity: str = "spearman"
) -> Plan:
    """Mean similarity of the smoothed map to the smoothed maps of ever more randomised models (Hedstroem et al. 2024).

    A smoothed map is the mean of the maps of x + d over `samples` draws of d, uniform and symmetric in [-radius, radius]
    per value in the model's input units; every model gets the same draws, those of max-sensitivity. Models, similarity
    and mean over the stages are those of mprt in mode `cascading`. Range [-1, 1], lower is better. The explainer runs
    samples*(stages + 1) times. Undefined for a constant stored map, and where the smoothed map of the model does not vary.

    The authors' code draws from a normal distribution with a tenth of the image's range as standard deviation, 50 times.
    0.7/sqrt(3) = 0.40 is a tenth of that range for raw pixels that fill [0, 1] and a normalisation's deviation of 0.25;
    uniform draws are shared with max-sensitivity, and 10 of them bound the cost.
    """
    check_fits(similarity, case.batch.space, "smooth-mprt")
    own = yield from _smoothed(None, samples, radius)
    made = []
    for stage in range(1, stages + 1):
        made.append((yield from _smoothed(Randomised("mprt@1", "cascading", stage, stages), samples, radius)))
    curve = similarities(similarity, own.nan_to_num(), torch.stack(made, dim=1))
    curve = curve.masked_fill(~torch.isfinite(own).flatten(1).all(1)[:, None], float("nan"))
    return outcome(curve.mean(1), {"constant-map": case.constant, "zero-variance": still(similarity, own)},
                   curve=curve, x=[stage / stages for stage in range(1, stages + 1)])


def _smoothed(state: State | None, samples: int, radius: float) -> Generator[Request, Tensor, Tensor]:
    """Mean map [B, H, W] float32 over the noisy inputs: summed draw by draw in float64, so that equal values stay equal."""
    edits = noised(samples, radius)
    near = yield Request(edits, Explain(state=state), "map")
    total = torch.zeros_like(near[:, 0], dtype=torch.float64)
    for one in near.unbind(1):
        total += one
    return (total / samples).float()
