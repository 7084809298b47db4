"""Which requests a metric makes, found without the model: its plan is walked with made-up answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vxp.core import Batch, Call, Case, Edit, Explain, Outcome, Predict, Request, Segment
from vxp.engine.readouts import VECTORS
from vxp.engine.shared import Wanted, mapless
from vxp.kinds import Kind
from vxp.metrics import Bound
from vxp.outputs import Output

LONGEST = 1000
"""Requests of one plan that are followed at most."""
WIDTH = 8
"""Length of a made-up vector."""


@dataclass(frozen=True)
class Trace:
    """What a metric asks of one item: rows asked, the different ones that depend on its map, those that do not, and maps that
    are made again; and the bytes of what comes out, a number of 8 with its curve or statistics."""

    asked: int = 0
    own: frozenset[Edit] = frozenset()
    wanted: Wanted = field(default_factory=Wanted)
    again: frozenset[tuple[Edit, Call]] = frozenset()
    kept: int = 8

    @property
    def explained(self) -> int:
        return len(self.again)


def traced(bound: Bound, batch: Batch, case: Case) -> Trace:
    """Walk the plan of a metric. A plan may choose by an answer what it asks next, so what depends on the map is an estimate;
    what no map decides is asked of every map alike."""
    started = bound.metric.plan(case, **bound.parameters)
    if isinstance(started, Outcome):
        return Trace(kept=_bytes(started))
    outcome: Outcome | None = None
    requests: list[Request] = []
    answers = torch.Generator().manual_seed(0)
    try:
        request = next(started)
        while len(requests) < LONGEST:
            requests.append(request)
            request = started.send(_made_up(request, batch, answers))
    except StopIteration as stop:
        outcome = stop.value
    started.close()
    predicted = [r for r in requests if isinstance(r.call, Predict)]
    edits = dict.fromkeys(e for r in predicted for e in r.edits)
    return Trace(
        asked=sum(len(r.edits) for r in predicted),
        own=frozenset(e for e in edits if not mapless(e)),
        wanted=Wanted(
            tuple(e for e in edits if mapless(e)),
            tuple(dict.fromkeys((e, r.readout) for r in predicted if r.readout in VECTORS for e in r.edits if mapless(e))),
            tuple(dict.fromkeys(r.call.n for r in requests if isinstance(r.call, Segment)))),
        again=frozenset((e, r.call) for r in requests if isinstance(r.call, Explain) for e in r.edits),
        kept=8 if outcome is None else _bytes(outcome))


def _bytes(outcome: Outcome) -> int:
    """What a run keeps of the outcome of one item."""
    parts = [outcome.values, *([] if outcome.curve is None else [outcome.curve.float()]),
             *([] if outcome.statistics is None else [outcome.statistics])]
    return sum(part.numel() * part.element_size() for part in parts)


def traces(metrics: Sequence[Bound], batch: Batch, kinds: Sequence[Kind], output: Output) -> dict[str, Trace]:
    """The trace of every metric that is defined for explanations of one of these kinds and for what the model says, by its
    signature; batch has one item."""
    found: dict[str, Trace] = {}
    for kind in kinds:
        defined = [b for b in metrics if b.signature not in found and b.undefined_for(kind.id, output) is None]
        if defined:
            case = Case(batch, kind.stand_in(batch).to(batch.inputs.device), explained=kind)
            found |= {b.signature: traced(b, batch, case) for b in defined}
    return {b.signature: found[b.signature] for b in metrics if b.signature in found}


def _made_up(request: Request, batch: Batch, answers: torch.Generator) -> Tensor:
    """An answer of the right form: [1, K], [1, K, D] of vectors, [1, K, *space] of maps and labels."""
    K = len(request.edits)
    if isinstance(request.call, Segment):
        labels = torch.arange(batch.positions) * request.call.n // batch.positions
        found = labels.view(1, 1, *batch.space).expand(1, K, *batch.space).clone()
    elif isinstance(request.call, Explain):
        found = torch.rand(1, K, *batch.space, generator=answers)
    elif request.readout in VECTORS:
        width = batch.space[0] if len(batch.space) == 1 else WIDTH  # of a sequence one number per step
        found = torch.rand(1, K, width, generator=answers, dtype=torch.float64)
    else:
        drawn = torch.rand(1, K, generator=answers, dtype=torch.float64)
        found = {"probability": drawn, "logit": drawn, "argmax": torch.zeros_like(drawn)}.get(request.readout, drawn.log())
    return found.to(batch.inputs.device)


__all__ = ["Trace", "traced", "traces"]
