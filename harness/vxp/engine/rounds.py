"""Rounds over the requests of all metrics: collect what every plan needs next, answer it, and go on until all are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vxp.core import OK, Batch, Outcome, Plan, Predict, Request, Segment, Unchanged
from vxp.engine import frames
from vxp.engine.again import Maps
from vxp.engine.jobs import Job
from vxp.engine.outcomes import broken, failed, finite_only, with_statuses
from vxp.engine.rows import Rows
from vxp.engine.running import Runner
from vxp.engine.shared import Shared, Wanted


class Engine(Runner):
    """Runs jobs on one model."""

    def score(self, job: Job, known: Shared | None = None) -> dict[str, Outcome]:
        """Scores of a job by signature; `known` is what was run before of its batch (`shared`).

        An explainer that fails while it explains again gives `failed:explainer-error`, or the code that it states, to the
        metric that asked, and a score that is not finite becomes `failed:non-finite-score`; the other scores are untouched.
        A metric of the representation is `not-run:no-representation` where the model has none, one that leaves frames out
        `not-run:fixed-length` where the model takes no fewer frames, one that is not defined for this kind of explanation
        `not-run:kind`, and one that is not defined for what the model says `not-run:output`.
        """
        batch, known = job.case.batch, known or Shared()
        rounds = _Rounds(job, Rows.known(self, batch, known), Maps.known(self, batch, known))
        rounds.begin()
        while rounds.waiting:
            rounds.turn()
        return rounds.outcomes()

    def predict_all(self, inputs: Tensor) -> Tensor:
        """predict, in batches that fit; a late-fusion model frame by frame, whose logits are kept."""
        size, start = self.fitting(inputs), 0
        model = frames.fusion_of(self.model, inputs)
        if model is not None:
            return frames.predicted(self, model, inputs)
        found: list[Tensor] = []
        while start < len(inputs):
            rows = inputs[start : start + size]
            try:
                found.append(self.predict(rows))
            except torch.OutOfMemoryError:
                size = self.halved(size)
                continue
            start += len(rows)
        return torch.cat(found)

    def shared(self, batch: Batch, wanted: Wanted) -> Shared:
        """What metrics ask of these items whatever their maps say."""
        rows, maps = Rows(self, batch, {}), Maps(self, batch)
        rows.predict(dict.fromkeys(wanted.edits), {}, set(wanted.vectors))
        for n in wanted.regions:
            maps.cut(Segment(n), [Unchanged()])
        # none of frames that are left out, where the model takes one length only
        return Shared({edit: rows.read_of[edit] for edit in wanted.edits if edit in rows.read_of},
                      {key: rows.vectors[key] for key in wanted.vectors if key in rows.vectors},
                      {n: maps.made[Unchanged(), Segment(n)] for n in wanted.regions}, rows.represented)


@dataclass(eq=False)
class _Rounds:
    """Where the plans of all metrics of a job are, by signature."""

    job: Job
    rows: Rows
    maps: Maps
    done: dict[str, Outcome] = field(default_factory=dict)
    waiting: dict[str, tuple[Plan, Request]] = field(default_factory=dict)
    lost: dict[str, dict[int, str]] = field(default_factory=dict)  # status of items that could not be explained again
    broken: dict[str, set[int]] = field(default_factory=dict)  # items of which the model gave no finite number

    def begin(self) -> None:
        """Start every plan up to its first request."""
        for bound in self.job.metrics:
            if (code := bound.undefined_for(self.job.case.kind.id, self.rows.runner.output)) is not None:
                self.done[bound.signature] = failed(len(self.rows.batch), code, "not-run")
                continue
            started = bound.metric.plan(self.job.case, **bound.parameters)
            if isinstance(started, Outcome):
                self.done[bound.signature] = started
            else:
                self._advance(bound.signature, started, started.__next__)

    def turn(self) -> None:
        """Answer the requests of all plans that wait, each distinct row once."""
        asked = [request for _, request in self.waiting.values()]
        held = {self.job.case.key: self.job.case}
        self.rows.fetch([request for request in asked if isinstance(request.call, Predict)], held)
        for request in asked:
            self.maps.fetch(self.job, request)
        for signature, (plan, request) in list(self.waiting.items()):
            self._answer(signature, plan, request)

    def _answer(self, signature: str, plan: Plan, request: Request) -> None:
        refused = self.rows.refused(request)
        if refused is not None:
            plan.close()
            del self.waiting[signature]
            self.done[signature] = failed(len(self.rows.batch), refused, "not-run")
            return
        self.lost.setdefault(signature, {}).update(self.maps.failures.get(request.call, {}))
        answer = self.rows.read(request) if isinstance(request.call, Predict) else self.maps.read(request)
        self.broken[signature] = self.broken.get(signature, set()) | broken(request, answer)
        self._advance(signature, plan, lambda: plan.send(answer))

    def _advance(self, signature: str, plan: Plan, step: Callable[[], Request]) -> None:
        try:
            self.waiting[signature] = (plan, step())
        except StopIteration as stop:
            self.waiting.pop(signature, None)
            self.done[signature] = stop.value

    def outcomes(self) -> dict[str, Outcome]:
        """The outcomes by signature, with the statuses of items that have no number."""
        for signature, items in self.broken.items():
            # a rank or a comparison makes a number of a NaN; what the map alone leaves undefined stays so
            ok = [i for i in sorted(items) if self.done[signature].status[i] == OK]
            self.done[signature] = with_statuses(self.done[signature], dict.fromkeys(ok, "failed:non-finite-score"))
        for signature, failures in self.lost.items():
            self.done[signature] = with_statuses(self.done[signature], failures)
        return {b.signature: finite_only(self.done[b.signature], self.job.case) for b in self.job.metrics}


__all__ = ["Engine"]
