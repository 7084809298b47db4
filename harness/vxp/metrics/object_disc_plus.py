"""Discoverability+ of objects: how alike the order of the frames stays without the most relevant object."""

from vxp.core import Case, Plan, metric
from vxp.metrics import _objects
from vxp.metrics._fragments import Mode2024


@metric("object-disc-plus", family="faithfulness", better="lower", range=(-1, 1), kinds=("heatmap3d",), outputs=("sequence",),
        undefined=_objects.UNDEFINED, source=_objects.SOURCE, limits=_objects.LIMITS, caveats=_objects.CAVEATS,
        shows_inversion=True)
def object_disc_plus(case: Case, *, rank: int = 1, mode: Mode2024 = "one-by-one", fill: str = "black") -> Plan:
    """tau_b between the scores of the frames and those without the object of this rank, or without all up to it.

    An object is blanked in all frames that show it; its relevance is the mean of the evaluation map over its positions.
    `one-by-one`: the object of this rank alone; `sequential`: the `rank` first together. The form of 2024: range [-1, 1], lower
    is better. Undefined where there are not more than 3 objects, where all have one relevance, and where all compared scores of
    a row are equal.
    """
    return (yield from _objects.disc(case, "most", rank, mode, fill))
