"""The few types that flow through the harness: what is explained, what a metric may look at, what it may ask for.

A metric asks with values, never with closures (requests), looks at a case, and is declared with its facts.
"""

from vxp.core.batch import Bank, Batch
from vxp.core.case import Case, Order, Outcome, Plan, outcome
from vxp.core.declarations import Better, Explainer, Limits, Metric, Reduce, Training, explainer, keyword_defaults, metric
from vxp.core.requests import (
    Blended,
    Call,
    Cell,
    Compensated,
    Edit,
    Explain,
    Filled,
    Held,
    Noised,
    Offset,
    Part,
    Piece,
    Predict,
    Randomised,
    Readout,
    Redrawn,
    Relabelled,
    Removed,
    Rendered,
    Request,
    Scattered,
    Segment,
    SomeCells,
    Square,
    State,
    Stream,
    Translated,
    Unchanged,
    Without,
)
from vxp.errors import OK, ModelChangedError, NotExplainedError, NotWrittenError, VxpError, VxpWarning
from vxp.kinds import Resample
from vxp.media import Normalization

__all__ = [
    "OK", "Bank", "Batch", "Better", "Blended", "Call", "Case", "Cell", "Compensated", "Edit", "Explain", "Explainer",
    "Filled", "Held", "Limits", "Metric", "ModelChangedError", "Noised", "Normalization", "NotExplainedError",
    "NotWrittenError", "Offset", "Order", "Outcome", "Part", "Piece", "Plan", "Predict", "Randomised", "Readout",
    "Redrawn", "Reduce", "Relabelled", "Removed", "Rendered", "Request", "Resample", "Scattered", "Segment", "SomeCells",
    "Square", "State", "Stream", "Training", "Translated", "Unchanged", "VxpError", "VxpWarning", "Without", "explainer",
    "keyword_defaults", "metric", "outcome",
]
