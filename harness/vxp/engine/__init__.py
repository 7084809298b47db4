"""The only place that calls a model: answers the requests of all metrics, each distinct row once.

Rounds: every metric's plan says what it needs next; equal rows of all of them are collected, put in an order in which
consecutive rows differ little, built chunk by chunk on the model's device, run, and answered. Rows asked and rows run
are counted. The bound is the time of the same number of plain forward passes.
"""

from vxp.engine.attempts import attempted, on_one_grid
from vxp.engine.batches import MEMORY, best_batch_size, budget, fitting
from vxp.engine.jobs import ExplainCall, Job, Replay, SegmentCall, Tally
from vxp.engine.outcomes import failed, with_statuses, without_numbers
from vxp.engine.rounds import Engine
from vxp.engine.running import Precision
from vxp.engine.shared import Shared, Wanted, mapless
from vxp.engine.tracing import Trace, traces

__all__ = [
    "MEMORY", "Engine", "ExplainCall", "Job", "Precision", "Replay", "SegmentCall", "Shared", "Tally", "Trace",
    "Wanted", "attempted", "best_batch_size", "budget", "failed", "fitting", "mapless", "on_one_grid", "traces",
    "with_statuses", "without_numbers",
]
