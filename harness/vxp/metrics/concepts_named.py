"""How many concepts an explanation names."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._concepts import KINDS


@metric("concepts-named", family="description", better="neither", range=(0, 1), kinds=KINDS, source="VXP",
        caveats=("It describes an explanation and does not judge it: to name few concepts is no merit where many matter.",
                 "An explainer that tests nothing names all of them."))
def concepts_named(case: Case) -> Outcome:
    """The share of concepts whose score is not zero.

    Neither direction is better. It needs nothing but the scores, so that it is there for concepts of which nothing is known.
    """
    return outcome((case.clean != 0).double().mean(1))
