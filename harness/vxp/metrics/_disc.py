"""What the forms of discoverability share: their rows, and the words that the registry prints."""

from __future__ import annotations

from vxp.core import Case, Limits, Plan
from vxp.metrics._fragment_rows import FILLS, UNIT, scored
from vxp.metrics._fragments import (
    ALIKE,
    CONSTANT,
    FEW,
    RANKS,
    End,
    Mode2022,
    Mode2024,
    counts_2022,
    disc_2022,
    disc_2024,
    needed_2022,
)

UNDEFINED = (FEW, ALIKE, CONSTANT)
SOURCE_2022 = "Apostolidis, Balaouras, Mezaris and Patras 2022, doi:10.1109/ISM55400.2022.00029"
SOURCE_2024 = "Tsigos, Apostolidis and Mezaris 2024, arXiv:2405.10082"
LIMITS_2022: Limits = {"mode": ("single", "batch"), "fill": FILLS}
LIMITS_2024: Limits = {"rank": (1, RANKS), "mode": ("one-by-one", "sequential"), "fill": FILLS}
CAVEATS = (
    "The forms of 2022 and 2024 have opposite directions: 2022 is a mean of 1 - tau_b, 2024 is tau_b.",
    "It reads the order of the frames: an explanation of the mean score can be right and do badly here. See its explanandum.",
    "A fill shows a video that no summariser was trained on; under `remove` there is none, and fewer frames are compared.",
)


def plan_2022(case: Case, end: End, mode: Mode2022, fill: str) -> Plan:
    """Discoverability of 2022 at one end of the order."""
    several = [(end, k) for k in several_2022(case.weights(UNIT).shape[1], mode)]
    return (yield from scored(case, fill, lambda videos: disc_2022(videos, end, mode=mode), needed=needed_2022(mode),
                              several=several))


def plan_2024(case: Case, end: End, rank: int, mode: Mode2024, fill: str) -> Plan:
    """Discoverability of 2024 at one end of the order."""
    several = [(end, k) for k in several_2024(rank, mode)][-1:]
    return (yield from scored(case, fill, lambda videos: disc_2024(videos, end, rank=rank, mode=mode), needed=RANKS + 1,
                              several=several))


def several_2022(fragments: int, mode: Mode2022) -> list[int]:
    """How many go together, where several do."""
    return [k for k in counts_2022(fragments) if k > 1] if mode == "batch" else []


def several_2024(rank: int, mode: Mode2024) -> list[int]:
    """How many go together up to this rank, where several do."""
    return list(range(2, rank + 1)) if mode == "sequential" else []


__all__ = ["CAVEATS", "LIMITS_2022", "LIMITS_2024", "SOURCE_2022", "SOURCE_2024", "UNDEFINED", "plan_2022", "plan_2024",
           "several_2022", "several_2024"]
