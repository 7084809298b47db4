"""What a ranking of the shots of a video says, in words."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from vxp.core import Batch, Explainer, explainer
from vxp.kinds import encoded

from vxp_explainers import _told
from vxp_explainers._common import check_one_of
from vxp_explainers._sentences import of_fragments
from vxp_explainers.fragment_lime import fragment_lime
from vxp_explainers.fragment_shap import fragment_shap
from vxp_explainers.frame_attention import frame_attention
from vxp_explainers.leave_one_out import leave_one_out

RANKINGS: Mapping[str, Explainer] = {
    one.id: one for one in (leave_one_out, fragment_lime, fragment_shap, frame_attention)}


def _passes(*, by: str, k: int, names: str) -> int:
    ranking = RANKINGS.get(by, leave_one_out)
    return ranking.nominal(ranking.parameters)


@explainer("fragment-text", signed=False, resample="none", target_specific=False, passes=_passes, family="temporal",
           kinds=("text",), outputs=("sequence",), explanandum="rank-order",
           source="VXP; after Eleftheriadis, Apostolidis and Mezaris 2025, arXiv:2509.26225")
def fragment_text(
    model: nn.Module, batch: Batch, *, by: str = "fragment-lime", k: int = 3, names: str = "none",
) -> Tensor:
    """The k shots of a video that another explainer ranks first, told in a sentence and claimed to be causes.

    by: the explainer that ranks, with its defaults: `leave-one-out`, `fragment-lime`, `fragment-shap` or `frame-attention`. The
    sentence is made from a template; it has the number of every shot, counted from 1, its times, and what it is seen as where
    `names` is `efficientnet-lite0`: the class that the last layer of this classifier gives the mean of the features over the
    shot. That is for features which the classifier made, as those of montage are. With `none` nothing is named. The authors ask
    a large model for a description of the shots in place of the template. Passes are those of the ranking. Returns uint8
    [B, 8192]. Raises VxpError for unknown words, a k below 1 or above 64, and items that are not divided into fragments.
    """
    check_one_of("fragment-text", "by", by, tuple(RANKINGS))
    ranking = RANKINGS[by]
    scores = ranking.explain(model, batch, **ranking.parameters)
    return encoded([of_fragments(said, segments, fps, k, shows)
                    for said, (segments, fps, shows) in zip(scores.tolist(), _told.videos(batch, names), strict=True)])
