"""What the metrics of the objects in a video share."""

from __future__ import annotations

from vxp.core import Case, Limits, Plan
from vxp.metrics._disc import SOURCE_2024, several_2024
from vxp.metrics._fragment_rows import Of, Several, scored
from vxp.metrics._fragments import ALIKE, CONSTANT, RANKS, End, Mode2024, disc_2024, fragment_deletion

FEW = "too-few-regions"
OBJECTS = Of("object", FEW)
UNDEFINED = (FEW, ALIKE, CONSTANT)
FILLS = ("black", "mean", "blur", "noise", "hold")
"""Those of clips that show something else in the place of an object; no frame leaves the video."""
LIMITS: Limits = {"rank": (1, RANKS), "mode": ("one-by-one", "sequential"), "fill": FILLS}
SOURCE = f"{SOURCE_2024}, section 3.2"
CAVEATS = (
    "The objects are those of the task, whatever drew them: scores of other label maps are other scores.",
    "It reads the order of all frames: one object of one shot changes few of them, so differences are small.",
    "A blanked object leaves its outline, which a model may see as well.",
)


def disc(case: Case, end: End, rank: int, mode: Mode2024, fill: str) -> Plan:
    """Discoverability of 2024 of objects in place of fragments."""
    several = [(end, k) for k in several_2024(rank, mode)][-1:]
    return (yield from scored(case, fill, lambda videos: disc_2024(videos, end, rank=rank, mode=mode), needed=RANKS + 1,
                              several=several, of=OBJECTS))


def deletion(case: Case, fill: str) -> Plan:
    """Fragment deletion of objects in place of fragments."""
    several: list[Several] = [("most", k) for k in range(2, case.weights("object").shape[1])]
    return (yield from scored(case, fill, fragment_deletion, needed=2, several=several, of=OBJECTS))


__all__ = ["CAVEATS", "FILLS", "LIMITS", "SOURCE", "UNDEFINED", "deletion", "disc"]
