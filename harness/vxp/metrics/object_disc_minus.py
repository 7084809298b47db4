"""Discoverability- of objects: how alike the order of the frames stays without the least relevant object."""

from vxp.core import Case, Plan, metric
from vxp.metrics import _objects
from vxp.metrics._fragments import Mode2024


@metric("object-disc-minus", family="faithfulness", better="higher", range=(-1, 1), kinds=("heatmap3d",), outputs=("sequence",),
        undefined=_objects.UNDEFINED, source=_objects.SOURCE, limits=_objects.LIMITS, caveats=_objects.CAVEATS)
def object_disc_minus(case: Case, *, rank: int = 1, mode: Mode2024 = "one-by-one", fill: str = "black") -> Plan:
    """tau_b between the scores of the frames and those without the object of this rank from the end, or all from it on.

    As `object-disc-plus` from the other end of the order: rank 1 is the least relevant object. Range [-1, 1], higher is better.
    Undefined where `object-disc-plus` is.
    """
    return (yield from _objects.disc(case, "least", rank, mode, fill))
