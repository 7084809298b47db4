"""Fragment deletion: how alike the order of the frames stays while fragments go, the most relevant first."""

from vxp.core import Case, Plan, metric
from vxp.metrics._disc import SOURCE_2024, UNDEFINED
from vxp.metrics._fragment_rows import FILLS, UNIT, Several, scored
from vxp.metrics._fragments import fragment_deletion as mean_tau


@metric("fragment-deletion", family="faithfulness", better="lower", range=(-1, 1), kinds=("temporal",), outputs=("sequence",),
        undefined=UNDEFINED, source=f"Petsiuk, Das and Saenko 2018, arXiv:1806.07421; {SOURCE_2024}", limits={"fill": FILLS},
        caveats=("Contradicts Disc+: a ranking by what each fragment does alone can score worse than chance here. Do not read "
                 "it alone.",
                 "Most rows lack many fragments, whose frames then look alike; what is left of the order says little of the "
                 "fragments that went first."))
def fragment_deletion(case: Case, *, fill: str = "zero") -> Plan:
    """Mean of tau_b between the scores of the frames and those without the k most relevant fragments, k = 1, ..., S - 1.

    A deletion curve over fragments, read by the order of the frames; neither end of it counts, since without any fragment tau_b
    is 1 and without all it is mostly undefined. Range [-1, 1], lower is better. Undefined where there is one fragment, where
    all weights are equal, and where all compared scores of a row are.
    """
    several: list[Several] = [("most", k) for k in range(2, case.weights(UNIT).shape[1])]
    return (yield from scored(case, fill, mean_tau, needed=2, several=several))
