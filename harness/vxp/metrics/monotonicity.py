"""Monotonicity: whether the target's probability never falls while positions are inserted in rising order of relevance."""

from vxp.core import Case, Plan, metric, outcome
from vxp.core.perturb import FILLS, cuts

LEAST_FALL = 1e-6
"""A fall of at most this is rounding."""


@metric("monotonicity", family="faithfulness", better="higher", range=(0, 1), undefined=("constant-map",),
        axis="share shown", limits={"steps": (1, None), "fill": FILLS, "score": ("all", "share")},
        source="Arya et al. 2019, arXiv:1909.03012 (AIX360), after Luss et al. 2021",
        caveats=("One fall in the curve makes `all` 0, so that most maps of a deep network score 0.",
                 "A model that answers everything alike gives 1 to every map.",
                 "Filled images are out of distribution; the score depends on the fill."))
def monotonicity(case: Case, *, steps: int = 224, fill: str = "mean", score: str = "all") -> Plan:
    """Whether the probability rises with every step of inserting positions, least relevant first (Arya et al. 2019).

    From the fill everywhere, step s = 1 to S shows the next k_(S-s+1) - k_(S-s) positions in rising order of relevance:
    the rows of deletion, read backwards. A fall of at most 1e-6 counts as none. `score` all: 1 if there is no fall,
    else 0, as in the source; share: the share of steps without one. Higher is better. Undefined for a constant map.
    """
    counts = cuts(steps, case.batch.positions)
    removed = yield case.removed(counts, fill)
    curve = removed.flip(1)
    kept = (curve[:, 1:] >= curve[:, :-1] - LEAST_FALL).double()
    kept = kept.masked_fill(curve.isnan().any(1, keepdim=True), float("nan"))
    return outcome(kept.amin(1) if score == "all" else kept.mean(1), {"constant-map": case.constant}, curve=curve,
                   x=[1 - k / case.batch.positions for k in reversed(counts)])
