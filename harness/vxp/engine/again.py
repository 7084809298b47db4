"""What is made again of a batch: maps of edited inputs, other classes and other states of the model; and regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from vxp import random
from vxp.core import Batch, Call, Case, Edit, Explain, Predict, Request, Segment, Unchanged, VxpError
from vxp.engine.attempts import attempted
from vxp.engine.building import Builder
from vxp.engine.jobs import ExplainCall, Job, Replay
from vxp.engine.running import Runner
from vxp.engine.shared import Shared
from vxp.machine import sent


@dataclass(frozen=True, eq=False)
class _Order:
    """Explain again: what of a job, by which explainer, in which module, and the class [B] of every item."""

    job: Job
    explain: ExplainCall
    call: Explain
    module: nn.Module
    targets: Tensor


@dataclass(eq=False)
class Maps:
    """All maps and labels of one batch that were made so far, by value."""

    runner: Runner
    batch: Batch
    made: dict[tuple[Edit, Call], Tensor] = field(default_factory=dict)  # [B, *space]
    failures: dict[Call, dict[int, str]] = field(default_factory=dict)  # status of items that have no map

    @classmethod
    def known(cls, runner: Runner, batch: Batch, known: Shared) -> Maps:
        """With the labels that are there."""
        where = batch.inputs.device
        return cls(runner, batch, {(Unchanged(), Segment(n)): labels.to(where) for n, labels in known.regions.items()})

    def fetch(self, job: Job, request: Request) -> None:
        """Make, or read, what is asked and not there yet."""
        call = request.call
        if isinstance(call, Predict):
            return
        if job.replay is not None:
            self.recall(job, job.replay, call, request.edits)
        elif isinstance(call, Segment):
            self.cut(call, request.edits)
        else:
            self.explain(job, call, [e for e in request.edits if (e, call) not in self.made])

    def read(self, request: Request) -> Tensor:
        """The answer [B, K, *space]."""
        return torch.stack([self.made[edit, request.call] for edit in request.edits], dim=1)

    def recall(self, job: Job, replay: Replay, call: Call, edits: Sequence[Edit]) -> None:
        """Take the answers that were made before, resampled like those that are made now."""
        targets = self._targets(call) if isinstance(call, Explain) else self.batch.targets
        for edit in edits:
            # a model of one class has no other: its score is undefined, and the map of the target does no harm
            found = replay(edit, call, self.batch.targets if targets is None else targets)
            self.made[edit, call] = _evaluated(found, job.case) if isinstance(call, Explain) else found

    def cut(self, call: Segment, edits: Sequence[Edit]) -> None:
        """Labels of the regions of every item; only whole images are cut."""
        if any(edit != Unchanged() for edit in edits):
            raise TypeError("only the unchanged image is cut into regions")
        if (Unchanged(), call) not in self.made:
            self.made[Unchanged(), call] = self.runner.segment(self.batch, call.n).to(self.batch.inputs.device)

    def explain(self, job: Job, call: Explain, edits: Sequence[Edit]) -> None:
        """Make the maps of these edits again, for every item, in the resampled form that is compared."""
        if job.explain is None:
            raise VxpError("a metric explains again and no explainer was given: pass explainer= "
                           "(a name or a callable (model, batch) -> maps), or leave the metric out")
        if not edits:
            return
        targets = self._targets(call)
        if targets is None:
            nothing = torch.full((len(self.batch), *self.batch.space), float("nan"), device=self.batch.inputs.device)
            self.made |= {(edit, call): nothing for edit in edits}
            return
        order = _Order(job, job.explain, call, self.runner.state(call.state, self.batch.seed), targets)
        builder = Builder(self.batch, {job.case.key: job.case})
        plan = [(i, edit) for edit in edits for i in range(len(self.batch))]
        made: list[Tensor] = []
        size, start = self.runner.fitting(self.batch.inputs), 0
        while start < len(plan):
            chunk = plan[start : start + size]
            try:
                native = self._explained(order, builder.build(chunk).detach(), [i for i, _ in chunk])
            except torch.OutOfMemoryError:
                size = self.runner.halved(size)
                continue
            made += _evaluated(native.detach(), job.case).unbind(0)
            self.runner.tally.explained += len(chunk)
            self.runner.rows(len(chunk))
            start += len(chunk)
        for e, edit in enumerate(edits):
            B = len(self.batch)
            self.made[edit, call] = torch.stack(made[e * B : (e + 1) * B])

    def _explained(self, order: _Order, rows: Tensor, items: Sequence[int]) -> Tensor:
        """Native maps of these rows of these items; NaN where the explainer failed, with its status kept."""
        moved = replace(self.batch.select(items, rows), targets=order.targets[sent(torch.tensor(items), order.targets.device)])

        def checked(module: nn.Module, batch: Batch) -> Tensor:
            found = order.explain(module, batch)
            if order.job.case.resample == "none" and found.shape[1:] != batch.space:
                got = tuple(found.shape[1:])
                raise ValueError(f"the set's resample is 'none': got a map on the grid {got}, expected {batch.space}")
            return found

        with self.runner.arithmetic(self.batch.inputs.device):
            found, lost = attempted(checked, order.module, moved, getattr(order.explain, "id", "of the metric"))
        failures = self.failures.setdefault(order.call, {})
        failures.update({items[k]: status for k, status in lost.items()})
        return found

    def _targets(self, call: Explain) -> Tensor | None:
        """The class to explain per item [B]; None where the model has no other class."""
        if call.other is None:
            return self.batch.targets
        K = self.runner.classes or self.runner.predict(self.batch.inputs[:1]).shape[1]
        if K < 2:
            return None
        purpose, stream = call.other.purpose, call.other.stream
        steps = [random.integers(random.key(self.batch.seed, item, purpose, stream), 0, K - 1) for item in self.batch.ids]
        return (self.batch.targets + 1 + sent(torch.tensor(steps), self.batch.targets.device)) % K


def _evaluated(native: Tensor, case: Case) -> Tensor:
    """Maps that were made again, from their own grid, which need not be the stored map's, to the input grid. One with a value
    that is not finite is NaN everywhere, also where the rule does not read that value."""
    # the payload's dtype is float32: what is compared went through it, as the stored map did
    stored = native.float()
    lost = ~torch.isfinite(stored).flatten(1).all(1)
    found = case.on_input_grid(stored)
    return found.masked_fill(lost.view(-1, *[1] * (found.ndim - 1)), float("nan"))


__all__ = ["Maps"]
