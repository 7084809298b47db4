"""Relative representation stability: the largest relative change of the map over that of the last hidden layer."""

import torch

from vxp.core import Case, Plan, Request, metric
from vxp.metrics._stability import LEAST_INPUT, LEAST_OUTPUT, inputs_of, largest_ratio, map_changes, relative


@metric("relative-representation-stability", family="robustness", better="lower", range=(0, None), re_explains="samples",
        undefined=("zero-map", "class-changed"), source="Agarwal et al. 2022, arXiv:2203.06877",
        caveats=("A constant explanation is perfectly stable: never read it without a faithfulness score.",
                 "Positions of little relevance weigh most: their change is divided by their own small size, down to a "
                 "hundredth of the map's largest; so do units of the representation that are almost off.",
                 "One layer stands for the model's inside, and models differ in what their last hidden layer is: only "
                 "explanations of one model compare.",
                 "Needs a linear last layer.",
                 "Draws that change the predicted class are left out, so a model that is easily changed is judged on its "
                 "milder draws.",
                 "Grows with the number of draws."),
        references=False, limits={"samples": (1, None), "radius": (0, None)})
def relative_representation_stability(case: Case, *, samples: int = 50, radius: float = 0.2) -> Plan:
    """Largest relative change of the map over that of the model's representation (Agarwal et al. 2022, RRS).

    max over draws d of rms((e(x + d) - e(x))/s(e(x))) / max(rms((L(x + d) - L(x))/s(L(x))), 0.01), L the input of the last
    linear layer and s(v) = max(|v|, 0.01*max|v|) per element, for L also at least 1e-6; draws, explained class and dropped
    draws are those of relative-input-stability. At least 0, lower is better. Undefined for a map that is zero everywhere,
    and where no draw is left.

    The paper takes 2-norms, any layer, and divides by L(x) as it is, which is zero for every unit that is off.
    """
    seen = yield Request(inputs_of(samples, radius), readout="representation")
    classes = yield Request(inputs_of(samples, radius), readout="argmax")
    change = yield from map_changes(case, samples, radius)
    base, near = seen[:, 0], seen[:, 1:]
    moved = torch.stack([relative(base, n, LEAST_INPUT) for n in near.unbind(1)], dim=1)
    return largest_ratio(case, change, moved.clamp_min(LEAST_OUTPUT), classes)
