"""Local Lipschitz estimate: the largest relative change of the map per distance moved in the input."""

from vxp.core import Case, Plan, metric, outcome
from vxp.metrics._sensitivity import noise_sizes, relative_changes


@metric("local-lipschitz", family="robustness", better="lower", range=(0, None), re_explains="samples",
        undefined=("zero-map",), source="Alvarez-Melis and Jaakkola 2018, arXiv:1806.08049",
        caveats=("A constant explanation is perfectly stable: never read it without a faithfulness score.",
                 "A largest value over random draws is a lower bound of the Lipschitz constant, far below it in an input of "
                 "many values, and grows with the number of draws.",
                 "Draws of one radius are almost equally long, so explainers are ranked much as by max-sensitivity.",
                 "Distances are in the model's input units and grow with the resolution: scores of models with another "
                 "normalisation or input size do not compare."),
        references=False, limits={"samples": (1, None), "radius": (1e-6, None)})
def local_lipschitz(case: Case, *, samples: int = 50, radius: float = 0.2) -> Plan:
    """Largest ratio of the relative change of the map to the change of the input (Alvarez-Melis and Jaakkola 2018).

    max over draws of (||e(x + d) - e(x)||_2 / ||e(x)||_2) / ||d||_2, with the draws of max-sensitivity and ||d|| over all
    input values, in the model's input units; the explained class stays that of x. At least 0, lower is better. Undefined
    for a map that is zero everywhere.

    The paper's ratio is not divided by ||e(x)||, so that a map of twice the size is twice as unstable; here the map's
    scale does not count. The paper searches the ball by optimisation; the draws here are shared with other metrics.
    """
    changes, zero = yield from relative_changes(case, samples, radius)
    return outcome((changes / noise_sizes(case, samples, radius)).amax(1), {"zero-map": zero})
