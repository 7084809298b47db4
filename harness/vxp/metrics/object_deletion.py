"""Object deletion: how alike the order of the frames stays while objects go, the most relevant first."""

from vxp.core import Case, Plan, metric
from vxp.metrics import _objects


@metric("object-deletion", family="faithfulness", better="lower", range=(-1, 1), kinds=("heatmap3d",), outputs=("sequence",),
        undefined=_objects.UNDEFINED, source=f"Petsiuk, Das and Saenko 2018, arXiv:1806.07421; {_objects.SOURCE}",
        limits={"fill": _objects.FILLS}, caveats=(
            *_objects.CAVEATS, "Most rows lack many objects, so that most frames are blank: what goes first weighs little."))
def object_deletion(case: Case, *, fill: str = "black") -> Plan:
    """Mean of tau_b between the scores of the frames and those without the k most relevant objects, k = 1, ..., K - 1.

    `fragment-deletion` of objects: each is blanked in all frames that show it, and its relevance is the mean of the evaluation
    map over its positions. Range [-1, 1], lower is better. Undefined where there is one object, where all have one relevance,
    and where all compared scores of a row are equal.
    """
    return (yield from _objects.deletion(case, fill))
