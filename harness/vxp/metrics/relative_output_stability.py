"""Relative output stability: the largest relative change of the map over the change of the logits."""

from vxp.core import Case, Plan, Request, metric
from vxp.metrics._stability import LEAST_OUTPUT, inputs_of, largest_ratio, map_changes, rms


@metric("relative-output-stability", family="robustness", better="lower", range=(0, None), re_explains="samples",
        undefined=("zero-map", "class-changed"), source="Agarwal et al. 2022, arXiv:2203.06877",
        caveats=("A constant explanation is perfectly stable: never read it without a faithfulness score.",
                 "Positions of little relevance weigh most: their change is divided by their own small size, down to a "
                 "hundredth of the map's largest.",
                 "The change of the logits is absolute: a model with logits of twice the size has half the score, so only "
                 "explanations of one model compare.",
                 "The logits of all classes count, not only the explained one.",
                 "Draws that change the predicted class are left out, so a model that is easily changed is judged on its "
                 "milder draws.",
                 "Grows with the number of draws."),
        references=False, limits={"samples": (1, None), "radius": (0, None)})
def relative_output_stability(case: Case, *, samples: int = 50, radius: float = 0.2) -> Plan:
    """Largest relative change of the map over the change of the model's logits (Agarwal et al. 2022, ROS).

    max over draws d of rms((e(x + d) - e(x))/s(e(x))) / max(rms(h(x + d) - h(x)), 0.01), h the logits of all classes and
    s(v) = max(|v|, 0.01*max|v|) per element; draws, explained class and dropped draws are those of
    relative-input-stability. At least 0, lower is better. Undefined for a map that is zero everywhere, and where no draw
    is left.

    The paper takes 2-norms and a smaller constant. A root mean square does not depend on the number of classes, and 0.01
    is far above the rounding of float32 logits, which the score would otherwise magnify where the model does not move.
    """
    out = yield Request(inputs_of(samples, radius), readout="output")
    classes = yield Request(inputs_of(samples, radius), readout="argmax")
    change = yield from map_changes(case, samples, radius)
    return largest_ratio(case, change, rms(out[:, 1:] - out[:, :1]).clamp_min(LEAST_OUTPUT), classes)
