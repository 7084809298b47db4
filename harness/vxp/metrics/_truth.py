"""The truth that the localisation metrics look at."""

from collections.abc import Sequence

from torch import Tensor

from vxp.core import Case, VxpError


def truth(case: Case, keys: Sequence[str], metric: str) -> Tensor:
    """bool [B, P]: the first of these truths that the batch has; VxpError names what is missing."""
    for key in keys:
        if key in case.batch.truth:
            return case.batch.truth[key].flatten(1).bool()
    raise VxpError(f"metric {metric!r} needs the truth {' or '.join(keys)}, and these items have "
                   f"{', '.join(case.batch.truth) or 'none'}: pass truth=, or leave the metric out")
