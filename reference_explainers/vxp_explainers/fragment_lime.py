"""A linear model of the fragments of one video."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._coalitions import all_or_tossed, check_fit, coefficients
from vxp_explainers._common import check_one_of
from vxp_explainers._fragments import EXPLANANDA, saying

PURPOSE = "fragment-lime@1"


def _passes(*, samples: int, kernel_width: float, ridge: float, explanandum: str, fill: str) -> int:
    return samples


@explainer("fragment-lime", signed=True, resample="fragment", target_specific=False, passes=_passes, family="perturbation",
           kinds=("temporal",), outputs=("sequence",), explanandum="explanandum",
           source="Tsigos et al. 2024, arXiv:2405.10082, section 3.1; Ribeiro et al. 2016, eq. 2 and section 3.4")
@torch.no_grad()
def fragment_lime(
    model: nn.Module, batch: Batch, *, samples: int = 1024, kernel_width: float = 0.25, ridge: float = 1.0,
    explanandum: str = "rank-order", fill: str = "zero",
) -> Tensor:
    """The coefficients of a weighted ridge regression, on which fragments of a video are kept, of what the scores then are.

    explanandum is what is regressed: `mean-score`, the mean of the scores of all steps; or `rank-order`, tau_b between the
    scores of the whole video and those of the perturbed one, which is largest, 1, where all is kept. So under both a positive
    coefficient belongs to a fragment that raises the number by being there, and a negative one to a fragment that lowers it: of
    `rank-order`, the order is closer to the original without it.

    The two may disagree, up to the opposite ranking, and metrics of discoverability read the order only. A summariser gives
    high scores to what nothing else in the video resembles. Of footage that comes several times each copy holds down the scores
    of the others: without it they rise, so the order changes much, and the mean rises too, which is a negative coefficient.
    Footage that stands alone takes its own high scores along when it goes: the mean falls, a positive coefficient, and the
    order of the rest stays. (Features of zeros resemble nothing either, and score highest: in the place of repeated footage
    they turn the order round, in that of novel footage they change little.) On the 20 held-out videos of montage `mean-score`
    so has a sanity violation of 2022 of 0.90 where fragments are left out, 1.00 where they are zeroed, 0.50 being that of
    `random`; `rank-order` has 0.10 and 0.00. Under the fills `hold` and `mean-step`, which lower the scores of whatever they
    replace, the two agree. The authors regress the mean and are judged by the order.

    Where a video has so few fragments that 2^S <= samples, all coalitions are asked, each once, and nothing is drawn: the limit
    of ever more samples. Otherwise the first sample keeps all fragments and in the others each is kept with probability 1/2,
    drawn per item. A sample z has weight sqrt(exp(-d^2/kernel_width^2)), d = 1 - cos(z, 1); the intercept is not penalised.
    fill is any fill of sequences. Passes are at most `samples`. Returns [B, S] float32. Raises VxpError for unknown words,
    samples below 1, a kernel_width that is not positive, a negative ridge, and items that are not divided into fragments.

    Departs from the authors: 1,024 samples in place of 20,000, which of ten fragments are all; features of zeros in place of
    those of a black frame; and the default explanandum, since theirs is `mean-score`.
    """
    check_fit("fragment-lime", samples, kernel_width, ridge)
    check_one_of("fragment-lime", "explanandum", explanandum, EXPLANANDA)
    fragments = batch.count_of("fragment")
    found = []
    with evaluating(model):
        say = saying(model, batch, fill, explanandum)
        for i in range(len(batch)):
            kept = all_or_tossed(batch, i, PURPOSE, samples, fragments)
            found.append(coefficients(kept, say(i, ~kept), kernel_width, ridge))
    return torch.stack(found).float()
