"""VXP: score explanations of vision models by one protocol.

    maps = vxp.explain(model, inputs, explainer="grad-cam")
    scores = vxp.score(model, inputs, maps, metrics=("deletion", "insertion"))
"""

from importlib.metadata import version

from vxp.api import Score, Scores, explain, score
from vxp.core import Batch, Explainer, Metric, Normalization, VxpError, VxpWarning, explainer, metric
from vxp.figure import show

__version__ = version("vxp")

__all__ = [
    "Batch", "Explainer", "Metric", "Normalization", "Score", "Scores", "VxpError", "VxpWarning", "__version__", "explain",
    "explainer", "metric", "score", "show",
]
