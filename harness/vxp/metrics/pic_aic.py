"""Accuracy information curve: with how little of the image's information the prediction is the target."""

from torch import Tensor

from vxp.core import Case, Plan, metric
from vxp.metrics._pic import LIMITS, filled_curve, interpolated_curve, scored, scored_over_fill


@metric("pic-aic", version=2, family="faithfulness", better="higher", range=(0, 1),
        undefined=("constant-map", "unsure", "zero-difference", "no-rise"),
        source="Kapishnikov et al. 2019 (XRAI), arXiv:1906.02825", limits=LIMITS,
        caveats=("Information is measured pixel by pixel: a textured background is expensive, a plain object cheap.",
                 "The running maximum forgives a prediction that is lost again.",
                 "Items that the blurred image already decides have no score: the mean is over the others."))
def pic_aic(
    case: Case, *, rows: str = "interpolated", information: str = "residuals", fill: str = "blur"
) -> Plan:
    """Area under [prediction is the target] over the image's information, most relevant first (Kapishnikov et al. 2019).

    Rows show the positions of the largest 0.5, 1, 2, 3, 4, 5, 7, 10, 13, 21, 34, 50 and 75 % of the map's values and 1 % random
    ones, and interpolate the others from them; the blurred image shows the random ones only. x is the row's information
    between that of the blurred image and that of the image, y the running maximum of [prediction is the target]; (0, 0) and
    (1, 1) are added. Range [0, 1], higher is better. Undefined for a constant map, where the prediction on the image is not
    the target, where the blurred image has as much information, and where its prediction is the target. `rows` qhull takes
    the triangles of SciPy's Qhull and `information` webp the size of a file, as the authors' code does; `rows` filled is the
    curve of version 1, which shows the image over the fill.
    """
    def right(chosen: Tensor) -> Tensor:
        target = case.batch.targets[:, None].to(chosen.device)
        return (chosen == target).double().masked_fill(chosen.isnan(), float("nan"))

    if rows == "filled":
        chosen, x, flat = yield from filled_curve(case, fill, information, "argmax")
        return scored_over_fill(right(chosen), x, {"constant-map": case.constant, "zero-difference": flat})
    chosen, bits = yield from interpolated_curve(case, rows, information, "argmax")
    found = right(chosen)
    return scored(found, bits, {"constant-map": case.constant, "unsure": found[:, 0] == 0})
