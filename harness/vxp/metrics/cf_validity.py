"""Validity of a counterfactual: whether the model says of it what it was made for."""

from vxp.core import Case, Plan, Request, Unchanged, metric, outcome
from vxp.metrics._counterfactual import KINDS, SEEN_ALONE, foils, whole


@metric("cf-validity", family="counterfactual", better="higher", range=(0, 1), binary=True, kinds=KINDS,
        undefined=("already-there",), source="Wachter, Mittelstadt and Russell 2017, arXiv:1711.00399; Mothilal, "
        "Sharma and Tan 2020, doi:10.1145/3351095.3372850",
        caveats=(SEEN_ALONE,
                 "An adversarial example reaches 1: it says nothing of whether anything that the class means has changed."))
def cf_validity(case: Case) -> Plan:
    """1 where the model predicts the foil on the counterfactual, read from its 8-bit levels, else 0 (flip rate).

    A change below half a level is lost when an image is saved, and counts for nothing. Higher is better. An item that comes
    back unchanged counts 0. Undefined where the model predicts the foil on the item already.
    """
    foil = foils(case, "cf-validity").cpu()[:, None]
    said = yield Request((Unchanged(), whole(case)), readout="argmax")
    there = said.cpu() == foil
    return outcome(there[:, 1].double(), {"already-there": there[:, 0]}, failed=said.isnan().any(1))
