"""Continuity: the largest relative change of the map over that of the input, as the image moves by some pixels."""

import torch

from vxp.core import Case, Explain, Plan, Request, Translated, VxpError, metric, outcome
from vxp.core.perturb import FILLS, translated


@metric("continuity", family="robustness", better="lower", range=(0, None), re_explains="shifts",
        undefined=("zero-map", "zero-difference"), source="Montavon, Samek and Mueller 2018, arXiv:1706.07979",
        caveats=("A constant explanation is perfectly continuous: never read it without a faithfulness score.",
                 "A map that moves along with the image is right to change and is charged for it: sharp maps lose to "
                 "smooth ones.",
                 "A moved image differs most where it has edges, so the change of the input hangs on its content; nearly flat "
                 "images score high.",
                 "A step of one pixel is another distance at another resolution, and translation invariance of the model "
                 "is not separated from that of the explainer.",
                 "The strip that becomes free carries the fill, an edge that the model may react to.",
                 "The change of the input is relative to its size in input units, which hangs on the normalisation."),
        references=False, limits={"shifts": (1, None), "fill": tuple(fill for fill in FILLS if fill != "nli")})
def continuity(case: Case, *, shifts: int = 3, fill: str = "mean") -> Plan:
    """Largest relative change of the map over that of the input under diagonal translation (Montavon et al. 2018).

    max over t = 1..shifts of (||e(x_t) - e(x)||_1/||e(x)||_1) / (||x_t - x||_2/||x||_2), x_t the image moved t pixels down
    and t to the right, with the fill where it leaves; norms over all positions and over all input values. The explained
    class stays that of x. A translation that leaves the input as it is is dropped. At least 0, lower is better. Undefined
    for a map that is zero everywhere, and where no translation is left.

    The paper's ratio has neither division; both make it free of the scales of map and input.
    """
    batch = case.batch
    if shifts >= min(batch.space):
        raise VxpError(f"continuity: shifts is {shifts}, expected less than {min(batch.space)}, the shorter side of the input")
    edits = tuple(Translated(t, t, fill) for t in range(1, shifts + 1))
    near = yield Request(edits, Explain(), "map")
    flat = case.map.flatten(1).double()
    size = flat.abs().sum(1)
    zero = size == 0
    change = torch.stack([(n.flatten(1).double() - flat).abs().sum(1) for n in near.unbind(1)], dim=1)
    change /= torch.where(zero, torch.ones_like(size), size)[:, None]
    fills = batch.fill_image(fill)
    moved = torch.stack([
        torch.stack([(translated(x, f, e.down, e.across).double() - x.double()).norm() for e in edits])
        for x, f in zip(batch.inputs, fills, strict=True)
    ])
    stays = moved == 0
    whole = batch.inputs.flatten(1).double().norm(dim=1)[:, None]
    ratio = (change * whole / torch.where(stays, torch.ones_like(moved), moved)).masked_fill(stays, float("-inf"))
    return outcome(ratio.amax(1), {"zero-map": zero, "zero-difference": stays.all(1)})
