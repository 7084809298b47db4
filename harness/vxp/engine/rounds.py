"""Rounds over the requests of all metrics: collect what every plan needs next, answer it, and go on until all are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vxp.core import OK, Batch, Case, Edit, Filled, Outcome, Plan, Predict, Request, Unchanged
from vxp.engine import frames
from vxp.engine.again import Maps
from vxp.engine.jobs import Job
from vxp.engine.outcomes import broken, failed, finite_only, with_statuses
from vxp.engine.rows import Rows
from vxp.engine.running import Runner

Who = tuple[int, str]
"""A metric of a job: the place of the job, and the metric's signature."""


class Engine(Runner):
    """Runs jobs on one model."""

    def score(self, jobs: Sequence[Job], known: Mapping[Edit, Tensor] | None = None) -> list[dict[str, Outcome]]:
        """Scores of every job by signature. All jobs have the same batch; `known` are rows that were run before.

        An explainer that fails while it explains again gives `failed:explainer-error`, or the code that it states, to the
        metric that asked, and a score that is not finite becomes `failed:non-finite-score`; the other scores are untouched.
        A metric of the representation is `not-run:no-representation` where the model has none, one that leaves frames out
        `not-run:fixed-length` where the model takes no fewer frames, and one that is not defined for this kind of explanation
        `not-run:kind`.
        """
        if not jobs:
            return []
        batch = jobs[0].case.batch
        rounds = _Rounds(jobs, Rows(self, batch, dict(known or {})), Maps(self, batch))
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

    def baseline(self, batch: Batch, fills: Sequence[str] = ()) -> dict[Edit, Tensor]:
        """The rows that depend on the item and the fill only: [B, 4] per edit, in the order of READOUTS."""
        rows = Rows(self, batch, {})
        edits: list[Edit] = [Unchanged(), *(Filled(batch.medium.fill(fill).whole) for fill in fills)]
        rows.predict(dict.fromkeys(edits), {})
        return {edit: rows.read_of[edit] for edit in edits}


@dataclass(eq=False)
class _Rounds:
    """Where the plans of all metrics stand."""

    jobs: Sequence[Job]
    rows: Rows
    maps: Maps
    done: list[dict[str, Outcome]] = field(default_factory=list)
    waiting: dict[Who, tuple[Plan, Request]] = field(default_factory=dict)
    lost: dict[Who, dict[int, str]] = field(default_factory=dict)  # status of items that could not be explained again
    broken: dict[Who, set[int]] = field(default_factory=dict)  # items of which the model gave no finite number

    def begin(self) -> None:
        """Start every plan up to its first request."""
        self.done = [{} for _ in self.jobs]
        for j, job in enumerate(self.jobs):
            for bound in job.metrics:
                if job.case.kind.id not in bound.metric.kinds:
                    self.done[j][bound.signature] = failed(len(self.rows.batch), "kind", "not-run")
                    continue
                started = bound.metric.plan(job.case, **bound.parameters)
                if isinstance(started, Outcome):
                    self.done[j][bound.signature] = started
                else:
                    self._advance((j, bound.signature), started, started.__next__)

    def turn(self) -> None:
        """Answer the requests of all plans that wait, each distinct row once."""
        asked = [(self.jobs[j], request) for (j, _), (_, request) in self.waiting.items()]
        held: dict[str, Case] = {job.case.key: job.case for job, _ in asked}
        self.rows.fetch([request for _, request in asked if isinstance(request.call, Predict)], held)
        for job, request in asked:
            self.maps.fetch(job, request)
        for who, (plan, request) in list(self.waiting.items()):
            self._answer(who, plan, request)

    def _answer(self, who: Who, plan: Plan, request: Request) -> None:
        job = self.jobs[who[0]]
        refused = self.rows.refused(request)
        if refused is not None:
            plan.close()
            del self.waiting[who]
            self.done[who[0]][who[1]] = failed(len(self.rows.batch), refused, "not-run")
            return
        self.lost.setdefault(who, {}).update(self.maps.failures.get((id(job), request.call), {}))
        answer = self.rows.read(request) if isinstance(request.call, Predict) else self.maps.read(job, request)
        self.broken[who] = self.broken.get(who, set()) | broken(request, answer)
        self._advance(who, plan, lambda: plan.send(answer))

    def _advance(self, who: Who, plan: Plan, step: Callable[[], Request]) -> None:
        try:
            self.waiting[who] = (plan, step())
        except StopIteration as stop:
            self.waiting.pop(who, None)
            self.done[who[0]][who[1]] = stop.value

    def outcomes(self) -> list[dict[str, Outcome]]:
        """The outcomes of every job by signature, with the statuses of items that have no number."""
        for (j, signature), items in self.broken.items():
            # a rank or a comparison makes a number of a NaN; what the map alone leaves undefined stays so
            ok = [i for i in sorted(items) if self.done[j][signature].status[i] == OK]
            self.done[j][signature] = with_statuses(self.done[j][signature], dict.fromkeys(ok, "failed:non-finite-score"))
        for (j, signature), failures in self.lost.items():
            self.done[j][signature] = with_statuses(self.done[j][signature], failures)
        return [{bound.signature: finite_only(scores[bound.signature], job.case) for bound in job.metrics}
                for job, scores in zip(self.jobs, self.done, strict=True)]


__all__ = ["Engine"]
