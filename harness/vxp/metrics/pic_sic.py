"""Softmax information curve: with how little of the image's information the target's probability comes back."""

import torch

from vxp.core import Case, Plan, metric
from vxp.metrics._masked import SATURATED
from vxp.metrics._pic import LIMITS, filled_curve, interpolated_curve, scored, scored_over_fill


@metric("pic-sic", version=2, family="faithfulness", better="higher", range=(0, 1),
        undefined=("constant-map", "unsure", "zero-difference", "no-rise", "saturated"),
        source="Kapishnikov et al. 2019 (XRAI), arXiv:1906.02825", limits={**LIMITS, "least": (0, 1)},
        caveats=("Information is measured pixel by pixel: a textured background is expensive, a plain object cheap.",
                 "The running maximum forgives a probability that is lost again.",
                 "A probability above that of the image counts as 1.",
                 "Items of a probability below `least` have no score: the mean is over the others."))
def pic_sic(
    case: Case, *, rows: str = "interpolated", information: str = "residuals", fill: str = "blur", least: float = 0.8
) -> Plan:
    """Area under (p(row) - p(blurred))/(p(x) - p(blurred)) over information, most relevant first (Kapishnikov et al. 2019).

    Rows, blurred image and information are those of pic-aic; y is clipped to [0, 1], of which the running maximum is taken.
    Range [0, 1], higher is better. Undefined for a constant map, where p(x) < `least`, where the blurred image has as much
    information as the image, and where p(blurred) >= p(x). `rows` filled is the curve of version 1, under
    min(1, p(row)/p(x)), which is undefined where p(x) < 1e-12 and asks for no `least`.
    """
    if rows == "filled":
        probability, x, flat = yield from filled_curve(case, fill, information, "probability")
        whole = probability[:, -1:]
        saturated = whole < SATURATED
        y = (probability / torch.where(saturated, torch.ones_like(whole), whole)).clamp_max(1)
        codes = {"constant-map": case.constant, "zero-difference": flat, "saturated": saturated.flatten()}
        return scored_over_fill(y, x, codes)
    read, bits = yield from interpolated_curve(case, rows, information, "probability")
    return scored(read, bits, {"constant-map": case.constant, "unsure": read[:, 0] < least})
