"""What a reviewer should look at: inverted or moved maps that score better, maps that are a reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from vxp import explainers, stats
from vxp.audit.recomputing import Again
from vxp.core import OK
from vxp.engine import Job
from vxp.kinds import Map
from vxp.metrics import Bound

TRIED = 32
"""Items on which inverted and moved maps are tried."""
IMAGE_DEPENDENT = ("edges", "motion", *explainers.ORACLES)
"""References that only the image, or its truth, can tell; the others show without it."""
MOVES = (("VXP-F004", "negated", -1, 0), ("VXP-F008", "of the next row", 1, 1), ("VXP-F008", "of the row before", 1, -1))
"""What may score better than the maps: the flag, the words, the sign, and the row that they are taken from."""
ALIKE = 0.99


def raise_flags(again: Again) -> None:
    """Whether inverted maps, or the maps of neighbouring rows, score clearly better."""
    kind = again.claim.kind
    if not isinstance(kind, Map) or kind.also is not None:
        again.audit.not_checked.append({"what": f"{again.claim.name}: inverted or moved maps",
                                        "reason": f"{kind.id} has no sign to turn round"})
        return
    chosen = next((b for b in again.metrics if b.metric.shows_inversion), None)
    good = [row for row in again.rows if again.claim.items["status"][row] == OK]
    step = max(1, len(good) // TRIED)
    rows = good[::step][:TRIED]
    _likeness(again, kind, rows)
    if chosen is None or len(rows) < stats.FEW_CLUSTERS:
        why = "no score of faithfulness shows it" if chosen is None else f"{len(rows)} items are too few"
        again.audit.not_checked.append({"what": f"{again.claim.name}: inverted or moved maps", "reason": why})
        return
    own = np.array([float(again.claim.samples[chosen.signature][row]) for row in rows])
    clusters = [str(again.claim.items["cluster"][row]) for row in rows]
    n = again.claim.items.rows
    # scores of parts of one video do not fit another
    for code, what, sign, step in MOVES[: 1 if kind.ragged else None]:
        other = np.concatenate([_scored(again, chosen, unit, sign * again.maps(unit, [(i + step) % n for i in unit]))
                                for unit in again.claim.together(rows)])
        found = stats.paired(other, own, clusters) if np.isfinite(other - own).sum() >= stats.FEW_CLUSTERS else None
        if found is None:
            continue
        better = found.delta > 0 if chosen.metric.better == "higher" else found.delta < 0
        if better and found.p < 0.01 and found.n_clusters >= stats.FEW_CLUSTERS:
            again.audit.findings.add(code, f"{again.claim.folder}/set.json", chosen.signature,
                                    f"maps {what} score {found.delta:+.4f} on {len(rows)} items (p = {found.p:.4f})",
                                    "the stored maps to score best")


def _likeness(again: Again, kind: Map, rows: Sequence[int]) -> None:
    """Whether the maps are a reference that depends on the image alone, or on the truth."""
    admitted = explainers.references(again.claim.task.truth, kind.id)
    for name in (n for n in IMAGE_DEPENDENT if n in admitted and n in explainers.catalogue()):
        like = []
        for unit in again.claim.together(rows):
            maps = again.claim.maps(unit)
            made = explainers.bind(name)(again.claim.model.module, again.batch(unit)).cpu()
            pooled = kind.pooled(made, maps.shape[1:])
            like += [float(np.corrcoef(a.flatten(), b.flatten())[0, 1]) for a, b in zip(maps, pooled, strict=True)
                     if a.min() < a.max() and b.min() < b.max()]
        share = float(np.mean(np.array(like) > ALIKE)) if like else 0.0
        if share >= 0.1:
            again.audit.findings.add("VXP-F003", f"{again.claim.folder}/set.json", name, f"{share:.0%} of {len(like)} maps "
                                    f"correlate above {ALIKE} with the reference {name}", "maps that come from the model")


def _scored(again: Again, bound: Bound, rows: Sequence[int], maps: Tensor) -> np.ndarray:
    batch = again.batch(rows)
    outcome = again.engine.score(Job(again.case(batch, maps), (bound,), again.explainer))[bound.signature]
    return np.array([v if s == OK else np.nan for v, s in zip(outcome.values.tolist(), outcome.status, strict=True)])
