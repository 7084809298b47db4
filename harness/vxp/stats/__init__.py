"""Statistics over items: intervals by resampling clusters, paired tests, ranks that admit ties.

Items of one cluster (crops of one photo, composites of one stamp) are not independent, so the cluster is what is
resampled and what signs are flipped of. No global generator is read or changed.
"""

from vxp.stats.comparisons import BLOCK, EQUAL, KEPT_UNIFORMS, minimum_detectable, paired, ranking, sign_flip_bounds, tie
from vxp.stats.inference import (
    FEW_CLUSTERS,
    LEVEL,
    MIN_CLUSTERS,
    RESAMPLES,
    ROUNDING,
    STANDARD,
    Ends,
    Floats,
    Inference,
    Interval,
    Pair,
    Paired,
    Range,
    Scale,
    holm,
)
from vxp.stats.intervals import count_of_clusters, interval
from vxp.stats.sets import SET_BLOCK, SET_GROUPS, Kept, set_minimum_detectable, set_paired
from vxp.stats.summaries import Aggregate, set_summary, summary

__all__ = [
    "BLOCK", "EQUAL", "FEW_CLUSTERS", "KEPT_UNIFORMS", "LEVEL", "MIN_CLUSTERS", "RESAMPLES", "ROUNDING", "SET_BLOCK",
    "SET_GROUPS", "STANDARD", "Aggregate", "Ends", "Floats", "Inference", "Interval", "Kept", "Pair", "Paired",
    "Range", "Scale", "count_of_clusters", "holm", "interval", "minimum_detectable", "paired", "ranking", 
    "set_minimum_detectable", "set_paired", "set_summary", "sign_flip_bounds", "summary", "tie",
]
