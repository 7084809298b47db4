"""MPRT: how alike the map stays while the model's parameters are randomised, stage by stage."""

from typing import Literal

import torch

from vxp.core import Case, Explain, Plan, Randomised, Request, Unchanged, metric, outcome
from vxp.metrics._similarity import SIMILARITIES, check_fits, similarities, still


@metric("mprt", family="sanity", better="lower", range=(-1, 1), re_explains="stages",
        undefined=("constant-map", "zero-variance"), source="Adebayo et al. 2018, arXiv:1810.03292",
        caveats=("A random model still sees edges, and a similarity of maps that both follow the image's edges stays high "
                 "however much the explanation depends on the parameters.",
                 "Noisy maps lose their similarity to anything quickly: noise alone scores well.",
                 "Which layers change first, how the map is normalised and which similarity is taken change the ranking of "
                 "explainers.",
                 "Says that a map depends on the parameters, not that it is right; an explainer that draws at random anew "
                 "for every model scores about 0.",
                 "With more stages than modules that own parameters, some stages change nothing."),
        axis="share of stages randomised",
        limits={"mode": ("cascading", "independent"), "stages": (1, None), "similarity": SIMILARITIES})
def mprt(case: Case, *, mode: Literal["cascading", "independent"] = "cascading", stages: int = 8, similarity: str = "spearman"
         ) -> Plan:
    """Mean similarity of the map to the maps of ever more randomised models (Adebayo et al. 2018).

    The modules that own parameters are counted from the output and cut into `stages` runs; stage s of mode `cascading`
    draws all tensors of the runs 1 to s anew, of mode `independent` those of run s only (see vxp.models.randomised, with
    the stream `mprt@1`). The similarity of the evaluation maps is Spearman's, Spearman's of the absolute values, or SSIM
    with a window of 11 and sigma 1.5 of the maps, each min-maxed; the score is its mean over the stages. Range [-1, 1],
    lower is better. Undefined for a constant map, and where its absolute values do not vary and they are compared.

    The curve holds the similarity of stage s at x = s/stages. The paper plots such curves, by layer; their mean is the
    score of later work. Stages in place of layers bound the cost: a network has up to hundreds of layers.
    """
    check_fits(similarity, case.batch.space, "mprt")
    made = []
    for stage in range(1, stages + 1):
        state = Randomised("mprt@1", mode, stage, stages)
        made.append((yield Request((Unchanged(),), Explain(state=state), "map"))[:, 0])
    curve = similarities(similarity, case.map, torch.stack(made, dim=1))
    return outcome(curve.mean(1), {"constant-map": case.constant, "zero-variance": still(similarity, case.map)},
                   curve=curve, x=[stage / stages for stage in range(1, stages + 1)])
