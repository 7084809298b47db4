"""Relative input stability: the largest relative change of the map over the relative change of the input."""

import torch

from vxp.core import Case, Plan, Request, metric
from vxp.core.perturb import input_noise
from vxp.metrics._sensitivity import NOISE
from vxp.metrics._stability import LEAST_INPUT, inputs_of, largest_ratio, map_changes, relative


@metric("relative-input-stability", family="robustness", better="lower", range=(0, None), re_explains="samples",
        undefined=("zero-map", "class-changed"), source="Agarwal et al. 2022, arXiv:2203.06877",
        caveats=("A constant explanation is perfectly stable: never read it without a faithfulness score.",
                 "Positions of little relevance weigh most: their change is divided by their own small size, down to a "
                 "hundredth of the map's largest.",
                 "Relative changes of the input hang on where its zero lies, which is the normalisation's choice, so scores of "
                 "models with another normalisation do not compare.",
                 "Draws that change the predicted class are left out, so a model that is easily changed is judged on its "
                 "milder draws.",
                 "Grows with the number of draws."),
        references=False, limits={"samples": (1, None), "radius": (0, None)})
def relative_input_stability(case: Case, *, samples: int = 50, radius: float = 0.2) -> Plan:
    """Largest relative change of the map over the relative change of the input (Agarwal et al. 2022, RIS).

    max over draws d of rms((e(x + d) - e(x))/s(e(x))) / max(rms(d/s(x)), 1e-6), where s(v) = max(|v|, 0.01*max|v|)
    per element, for the input also at least 1e-6; the draws are those of max-sensitivity, the explained class stays that
    of x. A draw whose predicted class is not the item's own is dropped. At least 0, lower is better. Undefined for a map
    that is zero everywhere, and where no draw is left.

    The paper takes 2-norms and divides by e(x) as it is: one value near zero decides the score, and zeros give none.
    """
    classes = yield Request(inputs_of(samples, radius), readout="argmax")
    change = yield from map_changes(case, samples, radius)
    batch = case.batch
    x = batch.inputs.flatten(1).double()
    moved = []
    for draw in range(samples):
        noise = torch.stack([input_noise(batch, i, NOISE, draw, radius) for i in range(len(batch))])
        moved.append(relative(x, x + noise.flatten(1).double(), LEAST_INPUT))
    return largest_ratio(case, change, torch.stack(moved, dim=1).clamp_min(LEAST_INPUT), classes)
