"""Rank correlation: whether fragments are ranked by what the output loses without each."""

from vxp.core import Case, Plan, metric
from vxp.metrics._disc import SOURCE_2022
from vxp.metrics._fragment_rows import FILLS, Of, scored
from vxp.metrics._fragments import CONSTANT, STILL, Changed, Found, Fragments, Sign, changes
from vxp.metrics._fragments import rank_correlation as correlation


@metric("rank-correlation", family="faithfulness", better="higher", range=(-1, 1), kinds=("temporal",), outputs=("sequence",),
        undefined=(CONSTANT, STILL), source=SOURCE_2022,
        limits={"sign": ("signed", "absolute"), "explanandum": ("mean-score", "rank-order"), "fill": FILLS},
        caveats=("`sign:absolute`, the form of the source, cannot tell an explanation from its opposite.",
                 "Each fragment goes alone: what two do only together is not seen.",
                 "Compare explanations of one explanandum, by the parameter of that name."))
def rank_correlation(
    case: Case, *, sign: Sign = "signed", explanandum: Changed = "mean-score", fill: str = "zero"
) -> Plan:
    """Spearman's correlation over fragments between their weights and what the output loses without each.

    The output is the mean score of the frames, or their order, whose change is 1 - tau_b. `absolute` takes absolute values of
    both sides. Range [-1, 1], higher is better. Undefined where all compared scores of a row are equal (`rank-order`), and
    where one side has one value, as with one fragment.
    """
    def score(videos: Fragments) -> Found:
        change, undefined = changes(videos, explanandum)
        value, still = correlation(videos.weights, change, sign=sign)
        return value, {**undefined, **still}

    return (yield from scored(case, fill, score, needed=2, of=Of(few=STILL, ranked=False)))
