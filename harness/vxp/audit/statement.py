"""What a reviewer asked for, and what is said of the bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import vxp_schemas
from vxp_schemas import typed

from vxp.audit import nonces, sampling, tolerances
from vxp.documents.findings import Findings
from vxp.engine import Precision
from vxp.runs import result
from vxp.validation.report import Evidence

Verdict = Literal["reproduced", "differs", "refused", "incomplete"]
SAMPLE = 299
"""Items that find a change of 1 % of a set with probability 0.95."""
TIMEOUT = 3600.0
"""Seconds that an explainer may take for a batch, unless somebody says otherwise."""
ALL_MINUTES = 10.0
"""Minutes of computation up to which `vxp verify` takes all items, unless it is told how many."""


@dataclass(frozen=True)
class Order:
    """What the reviewer asked for. sample: items of each set, None for all; all_within: all of them too where the results state
    that computing them took at most so many minutes; images, clips, features and model: for unregistered
    tasks; explain_timeout: seconds
    of the explainer for a batch."""

    sample: int | None = SAMPLE
    nonce: nonces.Nonce = field(default_factory=nonces.own)
    regenerate: str | None = None
    device: str = "cpu"
    precision: Precision = "fp32"
    batch_size: int = 16
    threads: int = 1
    data: Path | None = None
    images: Path | None = None
    model: str | None = None
    all_within: float = 0.0
    clips: Path | None = None
    explain_timeout: float = TIMEOUT
    features: Path | None = None


@dataclass(eq=False)
class Audit:
    """What was computed again and how far it agreed."""

    submission_id: str
    root_digest: str
    order: Order
    findings: Findings = field(default_factory=Findings)
    scores: list[typed.AuditScore] = field(default_factory=list)
    maps: list[typed.AuditMap] = field(default_factory=list)
    not_checked: list[typed.AuditNotChecked] = field(default_factory=list)
    smallest_share: float = 0.0
    left_out: bool = False
    """Whether a whole result could not be computed again."""
    minutes: float | None = None
    """What the results say that computing all of them takes, where that decided about the sample."""
    refused: list[typed.Finding] | None = None

    @property
    def verdict(self) -> Verdict:
        if self.refused is not None:
            return "refused"
        if self.findings.errors:
            return "differs"
        return "reproduced" if any(s["n"] for s in self.scores) and not self.left_out else "incomplete"

    @property
    def exit_code(self) -> int:
        return {"reproduced": 0, "differs": 1, "refused": 1, "incomplete": 3}[self.verdict]

    @property
    def evidence(self) -> Evidence:
        """E3 only where every set's maps were made again by the system that the bundle names; E2 where the scores that need
        no explainer agree."""
        if self.verdict != "reproduced":
            return "E1" if self.verdict == "incomplete" else "E0"
        again = {m["result"] for m in self.maps if m["same_system"]}
        return "E3" if again and {s["result"] for s in self.scores} <= again else "E2"

    def predicate(self) -> typed.Audit:
        """What is said about the bundle, as a document of the standard."""
        order = self.order
        return result.header(typed.Audit) | {
            "policy": {**policy(order), "tolerances": vxp_schemas.digest(tolerances.document()),
                       "confidence": sampling.CONFIDENCE, "smallest_share": self.smallest_share},
            "environment": {"device": order.device, "precision": order.precision, "batch_size": order.batch_size,
                            "threads": order.threads},
            "scores": self.scores, "maps": self.maps, "not_checked": self.not_checked,
            "findings": self.refused if self.refused is not None else [f.document() for f in self.findings.all],
            "verdict": self.verdict, "evidence": self.evidence,
        }


def policy(order: Order) -> nonces.Drawn:
    """What a statement says of the draw."""
    if order.sample is None:  # nothing is drawn
        return {"sample": None, "nonce": order.nonce.digits, "source": "all"}
    return {"sample": order.sample, **order.nonce.policy()}
