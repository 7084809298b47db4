"""VXP: score explanations of vision models by one protocol.

    maps = vxp.explain(model, inputs, explainer="grad-cam")
    scores = vxp.score(model, inputs, maps, metrics=("deletion", "insertion"))
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vxp.api import Score, Scores, explain, score
    from vxp.core import Bank, Batch, Explainer, Metric, Normalization, explainer, metric
    from vxp.errors import VxpError, VxpWarning
    from vxp.kinds import encoded, painted
    from vxp.models.clips import frame_events, frames_first, late_fusion
    from vxp.models.sequences import frame_scores
    from vxp.report.figure import show

    __version__: str

__all__ = [
    "Bank", "Batch", "Explainer", "Metric", "Normalization", "Score", "Scores", "VxpError", "VxpWarning", "__version__",
    "encoded", "explain", "explainer", "frame_events", "frame_scores", "frames_first", "late_fusion", "metric", "painted",
    "score", "show",
]
HOMES = {**dict.fromkeys(("Score", "Scores", "explain", "score"), "vxp.api"), "show": "vxp.report.figure",
         **dict.fromkeys(("frame_events", "frames_first", "late_fusion"), "vxp.models.clips"),
         "frame_scores": "vxp.models.sequences",
         **dict.fromkeys(("VxpError", "VxpWarning"), "vxp.errors"),
         **dict.fromkeys(("encoded", "painted"), "vxp.kinds"),
         **dict.fromkeys(("Bank", "Batch", "Explainer", "Metric", "Normalization", "explainer", "metric"), "vxp.core")}


def __getattr__(name: str) -> Any:
    """What is named is imported when it is named: a process that reads a stranger's files needs no torch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("vxp")
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    if not name.startswith("_") and find_spec(f"vxp.{name}") is not None:
        return import_module(f"vxp.{name}")
    raise AttributeError(f"module 'vxp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
