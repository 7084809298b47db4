"""Summary F1: how alike the summary that an explanation's weights make is to summaries that people made."""

import numpy as np
import torch
from torch import Tensor

from vxp.core import Batch, Case, Outcome, VxpError, metric, outcome
from vxp.metrics._fragment_rows import UNIT
from vxp.metrics._gaze import PLAUSIBILITY
from vxp.metrics._summary import DIALECTS, USERS, agreement, chosen_shots


@metric("summary-f1", family="alignment", better="higher", range=(0, 1), truth=("users",), kinds=("temporal",),
        outputs=("sequence",), undefined=("empty-summary",),
        source="Gygli et al. 2014, doi:10.1007/978-3-319-10584-0_33; Song et al. 2015, doi:10.1109/CVPR.2015.7299154; "
               "Otani et al. 2019, arXiv:1903.11328",
        limits={"dialect": tuple(DIALECTS), "users": tuple(USERS)},
        caveats=(PLAUSIBILITY,
                 "It says as much of the list of shots as of the weights: random weights come near published scores (Otani et "
                 "al. 2019), so read it beside the reference `random`.",
                 "The knapsack takes the weights as worths: an explanation of another scale can make another summary."))
def summary_f1(case: Case, *, dialect: str = "dr-dsn", users: str = "avg") -> Outcome:
    """F1 of the summary by the scores of fragments against the summaries of people, averaged (TVSum) or the largest (SumMe).

    The summary is the most valuable set of fragments that takes at most 15 % of the frames, each worth its score. The dialects
    of public code differ: `dsnet` counts scores in whole thousandths, `ca-sum` takes 15 % of the frames up to the end of the
    last fragment. Range [0, 1], higher is better. Undefined under `ca-sum` where no fragment is taken; 0 under the others.
    """
    if "users" not in case.batch.truth:
        raise VxpError("metric 'summary-f1' needs the truth users, and these items have "
                       f"{', '.join(case.batch.truth) or 'none'}: pass truth=, or leave the metric out")
    people, shots, weights = case.batch.truth["users"].cpu(), ranges(case.batch), case.weights(UNIT).cpu()
    found = [_one(w.tolist(), s.tolist(), p.bool().numpy(), dialect, users)
             for w, s, p in zip(weights, shots, people, strict=True)]
    values = torch.tensor([torch.nan if value is None else value for value in found], dtype=torch.float64)
    return outcome(values, {"empty-summary": values.isnan()})


def _one(weights: list[float], shots: list[list[int]], people: np.ndarray, dialect: str, users: str) -> float | None:
    made = chosen_shots(weights, [(start, end) for start, end in shots], people.shape[1], dialect)
    return agreement(made, people, dialect=dialect, users=users)


def ranges(batch: Batch) -> Tensor:
    """The fragments as half-open ranges of frames, int64 [B, K, 2]; where frames are steps, those of the steps."""
    if batch.segments is not None:
        return batch.segments.cpu()
    of = batch.parts_of(UNIT).cpu()
    if bool((of.diff(dim=1) < 0).any()):
        raise VxpError("the fragments of a summary follow on each other, and these come back: give ranges of steps "
                       "(fragments=)")
    ends = torch.nn.functional.one_hot(of).sum(1).cumsum(1)
    return torch.stack([torch.nn.functional.pad(ends[:, :-1], (1, 0)), ends], 2)
