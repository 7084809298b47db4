"""The only place that calls a model: answers the requests of all metrics, each distinct row once.

Rounds: every metric's plan says what it needs next; equal rows of all of them are collected, put in an order in which
consecutive rows differ little, built chunk by chunk on the model's device, run, and answered. Rows asked and rows run
are counted. The bound is the time of the same number of plain forward passes.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from vxp import models, random
from vxp.core import (
    OK,
    Batch,
    Blended,
    Call,
    Case,
    Compensated,
    Edit,
    Explain,
    Filled,
    Noised,
    Offset,
    Order,
    Outcome,
    Plan,
    Predict,
    Randomised,
    Readout,
    Redrawn,
    Relabelled,
    Removed,
    Request,
    Segment,
    State,
    Translated,
    Unchanged,
    VxpError,
    Without,
    perturb,
)
from vxp.core.segments import slic
from vxp.explaining import attempted
from vxp.media import Imputed
from vxp.metrics import Bound

log = logging.getLogger("vxp")

Precision = Literal["fp32", "tf32", "bf16"]
ExplainCall = Callable[[nn.Module, Batch], Tensor]
SegmentCall = Callable[[Batch, int], Tensor]

FEW = 997
"""Of so many values of a row one is compared before all are."""

READOUTS: tuple[Readout, ...] = ("log-probability", "log-complement", "logit", "argmax")
"""What is kept of every forward pass: one row serves all of these."""

VECTORS: tuple[Readout, ...] = ("output", "representation")
"""What is kept only where it is asked for, since it is long."""

COPIES = 2 * 1024**3
"""Bytes of model copies that are kept; beyond, the oldest is made again when it is needed."""


Replay = Callable[[Edit, Call, Tensor], Tensor]
"""The stored answer to a call that would explain again, for these classes [B], or segment: maps [B, h, w] on their native
grid, labels [B, H, W]."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is scored together: the maps of one explainer for a batch, its metrics, and how to explain again: by running
    the explainer, or by reading maps that were made before."""

    case: Case
    metrics: tuple[Bound, ...]
    explain: ExplainCall | None = None
    replay: Replay | None = None


@dataclass
class Tally:
    """Rows that metrics asked for, rows that were run, and maps that were made again."""

    asked: int = 0
    run: int = 0
    explained: int = 0


@dataclass(eq=False)
class Engine:
    """Runs jobs on one model. `rows` is called with the number of rows after every model batch (progress).

    relabelled is the model of the same architecture trained on permuted labels, where there is one; segment cuts the
    images of a batch into about n regions, labels [B, H, W].
    """

    model: nn.Module
    batch_size: int = 16
    precision: Precision = "fp32"
    rows: Callable[[int], None] = lambda n: None
    tally: Tally = field(default_factory=Tally)
    classes: int | None = None  # of the model, once it has been run
    relabelled: nn.Module | None = None
    segment: SegmentCall = slic
    _copies: dict[tuple[State, int], nn.Module] = field(default_factory=dict)

    def score(self, jobs: Sequence[Job], known: Mapping[Edit, Tensor] | None = None) -> list[dict[str, Outcome]]:
        """Scores of every job by signature. All jobs have the same batch; `known` are rows that were run before.

        An explainer that fails while it explains again gives `failed:explainer-error`, or the code that it states, to the
        metric that asked, and a score that is not finite becomes `failed:non-finite-score`; the other scores are untouched.
        A metric of the representation is `not-run:no-representation` where the model has none, and one that is not defined for
        this kind of explanation `not-run:kind`.
        """
        if not jobs:
            return []
        batch = jobs[0].case.batch
        answers = _Answers(self, batch, dict(known or {}))
        done: list[dict[str, Outcome]] = [{} for _ in jobs]
        waiting: dict[tuple[int, str], tuple[Plan, Request]] = {}

        def advance(who: tuple[int, str], step: Callable[[], Request], plan: Plan) -> None:
            try:
                waiting[who] = (plan, step())
            except StopIteration as stop:
                waiting.pop(who, None)
                done[who[0]][who[1]] = stop.value

        for j, job in enumerate(jobs):
            for bound in job.metrics:
                if job.case.kind.id not in bound.metric.kinds:
                    done[j][bound.signature] = failed(len(batch), "kind", "not-run")
                    continue
                started = bound.metric.plan(job.case, **bound.parameters)
                if isinstance(started, Outcome):
                    done[j][bound.signature] = started
                else:
                    advance((j, bound.signature), lambda plan=started: next(plan), started)  # type: ignore[misc]
        lost: dict[tuple[int, str], dict[int, str]] = {}
        broken: dict[tuple[int, str], set[int]] = {}
        while waiting:
            answers.fetch([(jobs[j], request) for (j, _), (_, request) in waiting.items()])
            for (j, signature), (plan, request) in list(waiting.items()):
                if request.readout == "representation" and not answers.represented:
                    plan.close()
                    del waiting[j, signature]
                    done[j][signature] = failed(len(batch), "no-representation", "not-run")
                    continue
                lost.setdefault((j, signature), {}).update(answers.failures.get((id(jobs[j]), request.call), {}))
                answer = answers.read(jobs[j], request)
                broken[j, signature] = broken.get((j, signature), set()) | _broken(request, answer)
                advance((j, signature), lambda plan=plan, a=answer: plan.send(a), plan)  # type: ignore[misc]
        for (j, signature), items in broken.items():
            # a rank or a comparison makes a number of a NaN; what the map alone leaves undefined stays so
            ok = [i for i in sorted(items) if done[j][signature].status[i] == OK]
            done[j][signature] = with_statuses(done[j][signature], dict.fromkeys(ok, "failed:non-finite-score"))
        for (j, signature), failures in lost.items():
            done[j][signature] = with_statuses(done[j][signature], failures)
        return [{bound.signature: _finite_only(scores[bound.signature], job.case) for bound in job.metrics}
                for job, scores in zip(jobs, done, strict=True)]

    def predict(self, inputs: Tensor) -> Tensor:
        """Logits [N, K] float32 of inputs, without gradients; VxpError for a wrong shape."""
        with torch.no_grad(), self.arithmetic(inputs.device):
            logits = models.check_logits(self.model(inputs), len(inputs)).float()
        self.classes = logits.shape[1]
        return logits

    def predict_all(self, inputs: Tensor) -> Tensor:
        """predict, in batches that fit."""
        found: list[Tensor] = []
        start = 0
        while start < len(inputs):
            rows = inputs[start : start + self.batch_size]
            try:
                found.append(self.predict(rows))
            except torch.OutOfMemoryError:
                self.halved(self.batch_size)
                continue
            start += len(rows)
        return torch.cat(found)

    def halved(self, size: int) -> int:
        """Half of a batch size that memory did not suffice for; everything after runs with it. VxpError for one row."""
        if size == 1:
            raise VxpError("out of memory with one row at a time: use a smaller model or input, or another device")
        self.batch_size = size // 2
        log.warning("out of memory at batch size %d; going on with %d", size, size // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return size // 2

    def baseline(self, batch: Batch, fills: Sequence[str] = ()) -> dict[Edit, Tensor]:
        """The rows that depend on the item and the fill only: [B, 4] per edit, in the order of READOUTS."""
        answers = _Answers(self, batch, {})
        edits: list[Edit] = [Unchanged(), *(Filled(batch.medium.fill(fill).whole) for fill in fills)]
        answers.predict(dict.fromkeys(edits), {})
        return {edit: answers.rows[edit] for edit in edits}

    def state(self, state: State | None, seed: int) -> nn.Module:
        """The model in this state; VxpError where it needs a model that was not given."""
        if state is None:
            return self.model
        if isinstance(state, Relabelled):
            if self.relabelled is None:
                raise VxpError("a metric needs the model trained on permuted labels, and none was given: pass relabelled= "
                               "(a module of the same architecture), or leave the metric out")
            return self.relabelled
        if (state, seed) not in self._copies:
            size = sum(p.numel() * p.element_size() for p in self.model.parameters())
            while self._copies and (len(self._copies) + 1) * size > COPIES:
                del self._copies[next(iter(self._copies))]
            self._copies[state, seed] = _copy_of(self.model, state, seed)
        return self._copies[state, seed]

    def state_of(self, module: nn.Module) -> State | None:
        """The state that a module of `state` is in; VxpError for a module of others."""
        if module is self.model:
            return None
        if module is self.relabelled:
            return Relabelled()
        for (state, _), copy in self._copies.items():
            if copy is module:
                return state
        raise VxpError("the module is none that this engine made: expected its model or a copy of it")

    @contextlib.contextmanager
    def arithmetic(self, device: torch.device) -> Iterator[None]:
        """The declared precision, and the global switches as they were afterwards."""
        before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _copy_of(model: nn.Module, state: Randomised | Compensated, seed: int) -> nn.Module:
    if isinstance(state, Compensated):
        return models.compensated(model, state.amount)
    return models.randomised(model, state.stream, seed, mode=state.mode, stage=state.stage, stages=state.stages)


def failed(n: int, code: str, kind: str = "failed") -> Outcome:
    """An outcome without numbers: the same status for every item."""
    return without_numbers([f"{kind}:{code}"] * n)


def without_numbers(status: Sequence[str]) -> Outcome:
    """An outcome of which every item has a status other than `ok`."""
    return Outcome(torch.full((len(status),), float("nan"), dtype=torch.float64), tuple(status))


def _finite_only(found: Outcome, case: Case) -> Outcome:
    """`undefined:non-finite-map` for the items whose stored map is not finite, the others as they are."""
    infinite = [i for i in torch.nonzero(~case.finite).flatten().tolist() if not found.status[i].startswith("not-run:")]
    return with_statuses(found, dict.fromkeys(infinite, "undefined:non-finite-map"))


def _broken(request: Request, answer: Tensor) -> set[int]:
    """The items of which the model gave a number that is not finite."""
    if not isinstance(request.call, Predict):
        return set()
    # the complement of the only class of a model has the logarithm -inf
    wrong = ~torch.isfinite(answer) if request.readout in VECTORS else torch.isnan(answer)
    return set(torch.nonzero(wrong.flatten(1).any(1)).flatten().tolist()) if wrong.any() else set()


def with_statuses(found: Outcome, status: Mapping[int, str]) -> Outcome:
    """The outcome with these statuses, and no numbers, for these items."""
    if not status:
        return found
    values = found.values.clone()
    values[list(status)] = float("nan")
    return replace(found, values=values, status=tuple(status.get(i, s) for i, s in enumerate(found.status)))


# ------------------------------------------------------------------------------------------------------------ answers


@dataclass(eq=False)
class _Answers:
    """All rows of one batch that were run so far, by value."""

    engine: Engine
    batch: Batch
    rows: dict[Edit, Tensor]  # [B, 4]
    vectors: dict[tuple[Edit, Readout], Tensor] = field(default_factory=dict)  # [B, D]
    maps: dict[tuple[int, Edit, Call], Tensor] = field(default_factory=dict)  # [B, H, W], by id of the job; 0 for labels
    failures: dict[tuple[int, Call], dict[int, str]] = field(default_factory=dict)  # status of items that have no map
    represented: bool = True  # whether the model has a representation of every row

    def fetch(self, asked: Sequence[tuple[Job, Request]]) -> None:
        """Run what is asked and not there yet."""
        edits: dict[Edit, None] = {}
        kept: set[tuple[Edit, Readout]] = set()
        held: dict[str, Case] = {}
        for job, request in asked:
            if isinstance(request.call, Predict):
                self.engine.tally.asked += len(request.edits) * len(self.batch)
                if request.readout in VECTORS:
                    if request.readout == "output" or self.represented:
                        kept |= {(e, request.readout) for e in request.edits} - self.vectors.keys()
                else:
                    edits |= dict.fromkeys(e for e in request.edits if e not in self.rows)
            held[job.case.key] = job.case
        self.predict(edits | dict.fromkeys(e for e, _ in kept), held, kept)
        for job, request in asked:
            call = request.call
            if job.replay is not None and not isinstance(call, Predict):
                self.recall(job, job.replay, call, request.edits)
            elif isinstance(call, Segment):
                self.cut(call, request.edits)
            elif isinstance(call, Explain):
                self.explain(job, call, [e for e in request.edits if (id(job), e, call) not in self.maps])

    def read(self, job: Job, request: Request) -> Tensor:
        """The answer [B, K], [B, K, D] for vectors, or [B, K, H, W] for maps and labels."""
        if isinstance(request.call, Explain):
            return torch.stack([self.maps[id(job), edit, request.call] for edit in request.edits], dim=1)
        if isinstance(request.call, Segment):
            return torch.stack([self.maps[0, edit, request.call] for edit in request.edits], dim=1)
        if request.readout in VECTORS:
            return torch.stack([self.vectors[edit, request.readout] for edit in request.edits], dim=1)
        rows = torch.stack([self.rows[edit] for edit in request.edits], dim=1)
        if request.readout == "probability":
            return rows[..., 0].exp()
        return rows[..., READOUTS.index(request.readout)]

    def predict(
        self, edits: Mapping[Edit, None], held: Mapping[str, Case], kept: Set[tuple[Edit, Readout]] = frozenset()
    ) -> None:
        """Run the rows of these edits for every item and keep their readouts, and the vectors that are in `kept`."""
        if not edits:
            return
        B = len(self.batch)
        by_edit = {edit: torch.empty(B, len(READOUTS), dtype=torch.float64) for edit in edits}
        vectors: dict[tuple[Edit, Readout], list[Tensor]] = {key: [] for key in kept}
        plan = [(i, edit) for i in range(B) for edit in sorted(edits, key=_chain)]
        builder = _Builder(self.batch, held)
        same: list[tuple[int, Edit]] = []
        size, start = self.engine.batch_size, 0
        while start < len(plan):
            chunk = plan[start : start + size]
            try:
                inputs = builder.build(chunk)
                alike = _unchanged(inputs, self.batch.inputs, [i for i, _ in chunk])
                with models.last_linear_input(self.engine.model, wanted=bool(kept)) as seen:
                    logits = self.engine.predict(inputs)
                self.represented &= not kept or (len(seen) == 1 and len(seen[0]) == len(chunk))
                items = torch.tensor([i for i, _ in chunk], device=logits.device)
                read = readouts(logits, self.batch.targets[items]).cpu()
            except torch.OutOfMemoryError:
                size = self.engine.halved(size)
                continue
            for (i, edit), row in zip(chunk, read, strict=True):
                by_edit[edit][i] = row
            same += [chunk[n] for n in alike]
            for n, (_, edit) in enumerate(chunk):
                if (edit, "output") in kept:
                    vectors[edit, "output"].append(logits[n].double().cpu())
                if (edit, "representation") in kept and self.represented:
                    # as the logits are: a model in float64 has outputs in float32
                    vectors[edit, "representation"].append(seen[0][n].float().double().cpu())
            self.engine.tally.run += len(chunk)
            self.engine.rows(len(chunk))
            start += len(chunk)
        self.rows |= by_edit
        # one input has one output: not one that differs by how a library rounds it at another place of a batch
        whole = self.rows.get(Unchanged())
        if whole is not None:
            for i, edit in same:
                self.rows[edit][i] = whole[i]
        self.vectors |= {key: torch.stack(found) for key, found in vectors.items() if len(found) == B}

    def recall(self, job: Job, replay: Replay, call: Call, edits: Sequence[Edit]) -> None:
        """Take the answers that were made before, resampled like those that are made now."""
        targets = self._targets(call) if isinstance(call, Explain) else self.batch.targets
        for edit in edits:
            # a model of one class has no other: its score is undefined, and the map of the target does no harm
            found = replay(edit, call, self.batch.targets if targets is None else targets)
            if isinstance(call, Explain):
                self.maps[id(job), edit, call] = _evaluated(found, job.case)
            else:
                self.maps[0, edit, call] = found

    def cut(self, call: Segment, edits: Sequence[Edit]) -> None:
        """Labels of the regions of every item; only whole images are cut."""
        if any(edit != Unchanged() for edit in edits):
            raise TypeError("only the unchanged image is cut into regions")
        if (0, Unchanged(), call) not in self.maps:
            self.maps[0, Unchanged(), call] = self.engine.segment(self.batch, call.n).to(self.batch.inputs.device)

    def explain(self, job: Job, call: Explain, edits: Sequence[Edit]) -> None:
        """Make the maps of these edits again, for every item, in the resampled form that is compared."""
        explain = job.explain
        if explain is None:
            raise VxpError("a metric explains again and no explainer was given: pass explainer= "
                           "(a name or a callable (model, batch) -> maps), or leave the metric out")
        if not edits:
            return
        targets = self._targets(call)
        if targets is None:
            nothing = torch.full((len(self.batch), *self.batch.space), float("nan"), device=self.batch.inputs.device)
            self.maps |= {(id(job), edit, call): nothing for edit in edits}
            return
        module = self.engine.state(call.state, self.batch.seed)
        builder = _Builder(self.batch, {job.case.key: job.case})
        plan = [(i, edit) for edit in edits for i in range(len(self.batch))]
        made: list[Tensor] = []
        size, start = self.engine.batch_size, 0
        while start < len(plan):
            chunk = plan[start : start + size]
            try:
                native = self._explained(job, explain, call, module, targets, builder, chunk)
            except torch.OutOfMemoryError:
                size = self.engine.halved(size)
                continue
            made += _evaluated(native.detach(), job.case).unbind(0)
            self.engine.tally.explained += len(chunk)
            self.engine.rows(len(chunk))
            start += len(chunk)
        for e, edit in enumerate(edits):
            B = len(self.batch)
            self.maps[id(job), edit, call] = torch.stack(made[e * B : (e + 1) * B])

    def _explained(
        self, job: Job, explain: ExplainCall, call: Explain, module: nn.Module, targets: Tensor, builder: _Builder,
        chunk: Sequence[tuple[int, Edit]],
    ) -> Tensor:
        """Native maps of these rows; NaN where the explainer failed, with its status kept."""
        items = [i for i, _ in chunk]
        moved = replace(self.batch.select(items, builder.build(chunk).detach()),
                        targets=targets[torch.tensor(items, device=targets.device)])

        def checked(module: nn.Module, batch: Batch) -> Tensor:
            found = explain(module, batch)
            if job.case.resample == "none" and found.shape[1:] != batch.space:
                got = tuple(found.shape[1:])
                raise ValueError(f"the set's resample is 'none': got a map on the grid {got}, expected {batch.space}")
            return found

        with self.engine.arithmetic(self.batch.inputs.device):
            found, lost = attempted(checked, module, moved, getattr(explain, "id", "of the metric"))
        self.failures.setdefault((id(job), call), {}).update({items[k]: status for k, status in lost.items()})
        return found

    def _targets(self, call: Explain) -> Tensor | None:
        """The class to explain per item [B]; None where the model has no other class."""
        if call.other is None:
            return self.batch.targets
        K = self.engine.classes or self.engine.predict(self.batch.inputs[:1]).shape[1]
        if K < 2:
            return None
        purpose, stream = call.other.split("/")
        steps = [random.integers(random.key(self.batch.seed, item, purpose, stream), 0, K - 1) for item in self.batch.ids]
        return (self.batch.targets + 1 + torch.tensor(steps, device=self.batch.targets.device)) % K


def _evaluated(native: Tensor, case: Case) -> Tensor:
    """Maps that were made again, from their own grid, which need not be the stored map's, to the input grid. One with a value
    that is not finite is NaN everywhere, also where the rule does not read that value."""
    # the payload's dtype is float32: what is compared went through it, as the stored map did
    stored = native.float()
    lost = ~torch.isfinite(stored).flatten(1).all(1)
    found = case.on_input_grid(stored)
    return found.masked_fill(lost.view(-1, *[1] * (found.ndim - 1)), float("nan")) if lost.any() else found


def _unchanged(rows: Tensor, inputs: Tensor, items: Sequence[int]) -> list[int]:
    """The places of rows [N, ...] that are, bit by bit, the item that they were made of; a few values are looked at first."""
    few = rows.flatten(1)[:, ::FEW] == inputs.flatten(1)[:, ::FEW][list(items)]
    likely = torch.nonzero(few.all(1)).flatten().tolist()
    return [n for n in likely if torch.equal(rows[n], inputs[items[n]])]


def readouts(logits: Tensor, targets: Tensor) -> Tensor:
    """log p, log(1 - p), logit and argmax [N, 4] float64 of the targets; log-softmax in float64 (clause [output]).

    NaN where a logit that the readout takes is not finite, for the logit its own and for the others any: what is left of
    them could pass for a probability or a class.
    """
    precise = logits.double()
    at = targets[:, None].to(logits.device)
    total = precise.logsumexp(1, keepdim=True)
    target = precise.gather(1, at)
    others = precise.scatter(1, at, float("-inf")).logsumexp(1, keepdim=True)
    chosen = precise.argmax(1, keepdim=True).double()
    finite = torch.isfinite(precise)
    whole, own = finite.all(1, keepdim=True), finite.gather(1, at)
    return torch.cat([target - total, others - total, target, chosen], dim=1).masked_fill(
        ~torch.cat([whole, whole, own, whole], dim=1), float("nan"))


def _chain(edit: Edit) -> tuple[str, str, str, bool, int, int]:
    """Sort key: rows that differ little come one after another."""
    if isinstance(edit, Removed):
        return ("removed", edit.fill, edit.order, edit.a > 0, edit.a, edit.b)
    if isinstance(edit, Without):
        return ("without", edit.fill, repr(edit.part), False, 0, 0)
    return (type(edit).__name__.lower(), repr(edit), "", False, 0, 0)


# ------------------------------------------------------------------------------------------------------- building rows


@dataclass(eq=False)
class _Builder:
    """Builds rows of edited inputs in one buffer, on the batch's device."""

    batch: Batch
    held: Mapping[str, Case]
    fills: dict[str, Tensor] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    starts: dict[str, list[list[int]]] = field(default_factory=dict)
    ranks: dict[str, Tensor] = field(default_factory=dict)
    buffer: Tensor | None = None

    def build(self, chunk: Sequence[tuple[int, Edit]]) -> Tensor:
        """Inputs [N, C, H, W] of these (item, edit) rows, in a buffer that the next call writes again."""
        if self.buffer is None or len(self.buffer) < len(chunk):
            # fresh memory for every batch would cost a page fault per 4 KiB, more than the copy into it
            self.buffer = self.batch.inputs.new_empty((len(chunk), *self.batch.inputs.shape[1:]))
        out = self.buffer[: len(chunk)]
        previous: tuple[int, Removed] | None = None
        imputed: list[int] = []
        on_cpu = out.device.type == "cpu"
        start = 0
        while start < len(chunk):
            i, edit = chunk[start]
            stop = start + 1
            if isinstance(edit, Removed | Without) and isinstance(self.batch.medium.fill(edit.fill), Imputed):
                imputed.append(start)
            elif isinstance(edit, Removed) and on_cpu:
                self._removed(out, start, i, edit, previous)
                previous = (i, edit)
                start = stop
                continue
            elif isinstance(edit, Removed):
                while stop < len(chunk) and self._same_chain(chunk[start], chunk[stop]):
                    stop += 1
                spans = [e for _, e in chunk[start:stop] if isinstance(e, Removed)]
                self._removed_together(out[start:stop], i, spans)
            else:
                self._plain(out[start], i, edit)
            previous = None
            start = stop
        if imputed:
            self._imputed(out, [(row, chunk[row][0], chunk[row][1]) for row in imputed])
        return out

    @staticmethod
    def _same_chain(one: tuple[int, Edit], two: tuple[int, Edit]) -> bool:
        (i, a), (j, b) = one, two
        return i == j and isinstance(a, Removed) and isinstance(b, Removed) and (a.order, a.fill) == (b.order, b.fill)

    def order(self, name: str) -> Order:
        if name not in self.orders:
            self.orders[name] = found = self.held[name.partition(":")[0]].ordered(name)
            if found.starts is not None:
                self.starts[name] = found.starts.tolist()
        return self.orders[name]

    def span(self, i: int, edit: Removed) -> tuple[int, int]:
        """The places in the order, of item i, that go: for groups, where the first begins and the last ends."""
        self.order(edit.order)
        starts = self.starts.get(edit.order)
        return (edit.a, edit.b) if starts is None else (starts[i][edit.a], starts[i][edit.b])

    def fill(self, name: str) -> Tensor:
        if name not in self.fills:
            self.fills[name] = self.batch.fill_image(name)
        return self.fills[name]

    def _plain(self, row: Tensor, i: int, edit: Edit) -> None:
        x = self.batch.inputs[i]
        match edit:
            case Unchanged():
                row.copy_(x)
            case Filled(fill):
                row.copy_(self.fill(fill)[i])
            case Blended(mask, fill):
                case = self.held[mask.partition(":")[0]]
                perturb.blended(x, self.fill(fill)[i], case.masks[mask][i].to(x.dtype), out=row)
            case Redrawn(image):
                case = self.held[image.partition(":")[0]]
                row.copy_(perturb.redrawn(x, case.images[image][i].to(x.device), self.batch.normalization))
            case Noised(stream, draw, radius):
                torch.add(x, perturb.input_noise(self.batch, i, stream, draw, radius), out=row)
            case Without(part, fill):
                # exact at the weights 0 and 1, and on a CPU faster than a masked select over broadcast channels
                gone = perturb.part(part, self.batch, i).view(self.batch.space)
                torch.lerp(x, self.fill(fill)[i], gone.to(x.dtype), out=row)
            case Translated(down, across, fill):
                row.copy_(perturb.translated(x, self.fill(fill)[i], down, across))
            case Offset(amount):
                torch.add(x, amount, out=row)
            case _:
                raise TypeError(f"no builder for {edit!r}")

    def _removed(
        self, out: Tensor, row: int, i: int, edit: Removed, previous: tuple[int, Removed] | None
    ) -> None:
        """One row on a CPU: copy the nearest of the image, the filled image and the previous row, and write only the
        positions in which it differs (a copy costs a tenth of a masked select)."""
        order = self.order(edit.order).positions[i]
        first, last = self.span(i, edit)
        image, filled = self.batch.inputs[i].flatten(1), self.fill(edit.fill)[i].flatten(1)
        P, size = len(order), last - first
        base, spans = (image, [(first, last, filled)])
        cost = size
        if P - size < cost:
            base, spans, cost = filled, [(0, first, image), (last, P, image)], P - size
        if previous is not None and self._same_chain(previous, (i, edit)):
            old = self.span(i, previous[1])
            steps = [(a, b, filled) for a, b in _difference((first, last), old)]
            steps += [(a, b, image) for a, b in _difference(old, (first, last))]
            if sum(b - a for a, b, _ in steps) < cost:
                base, spans = out[row - 1].flatten(1), steps
        new = out[row].flatten(1)
        new.copy_(base)
        for a, b, source in spans:
            if b > a:
                where = order[a:b]
                new.index_copy_(1, where, source.index_select(1, where))

    def _removed_together(self, out: Tensor, i: int, spans: Sequence[Removed]) -> None:
        """Many rows of one order at once, in one pass over the bytes: what a GPU is good at."""
        name = spans[0].order
        if name not in self.ranks:
            order = self.order(name).positions
            ranks = torch.empty_like(order, dtype=torch.int32)
            place = torch.arange(order.shape[1], dtype=torch.int32, device=order.device)
            self.ranks[name] = ranks.scatter_(1, order, place.expand_as(ranks))
        rank = self.ranks[name][i].view(1, 1, *self.batch.space)
        ends = torch.tensor([self.span(i, s) for s in spans], dtype=torch.int32).to(out.device, non_blocking=True)
        a, b = ends.view(-1, 2, *[1] * (out.ndim - 1)).unbind(1)
        torch.where((rank >= a) & (rank < b), self.fill(spans[0].fill)[i], self.batch.inputs[i], out=out)

    def _imputed(self, out: Tensor, rows: Sequence[tuple[int, int, Edit]]) -> None:
        """Rows whose fill depends on what is left, those of one fill together: they share its work."""
        device = self.batch.inputs.device
        of_fill: dict[str, list[tuple[int, int, Tensor]]] = {}
        for row, i, edit in rows:
            match edit:
                case Removed():
                    a, b = self.span(i, edit)
                    gone = torch.zeros(self.batch.positions, dtype=torch.bool, device=device)
                    gone[self.order(edit.order).positions[i, a:b]] = True
                case Without(part):
                    gone = perturb.part(part, self.batch, i)
                case _:
                    raise TypeError(f"no imputation for {edit!r}")
            of_fill.setdefault(edit.fill, []).append((row, i, gone))
        for name, some in of_fill.items():
            fill = self.batch.medium.fill(name)
            assert isinstance(fill, Imputed)
            places, items = (torch.tensor([one[k] for one in some], device=device) for k in (0, 1))
            out[places] = fill.impute(self.batch, items, torch.stack([one[2] for one in some]))


def _difference(one: tuple[int, int], two: tuple[int, int]) -> list[tuple[int, int]]:
    """The parts of the half-open span `one` that are not in `two`."""
    (a, b), (c, d) = one, two
    return [(s, t) for s, t in ((a, min(b, c)), (max(a, d), b)) if s < t]


# ---------------------------------------------------------------------------------------------------------- batch size


def best_batch_size(
    model: nn.Module, inputs: Tensor, *, start: int = 8, limit: int = 1024, gain: float = 1.03
) -> int:
    """Double the batch size until throughput stops rising; out of memory ends the search, or halves the start.

    inputs [1, C, H, W] is repeated. A doubling that gains less than `gain` is not worth its memory.
    """
    best, rate, size = 1, 0.0, start
    with torch.no_grad():
        while 1 <= size <= max(limit, start):
            rows = inputs.repeat(size, *[1] * (inputs.ndim - 1))
            try:
                seconds = min(_seconds(model, rows) for _ in range(3))
            except torch.OutOfMemoryError:
                if rate:
                    break
                size //= 2
                continue
            if size / seconds < gain * rate:
                break
            best, rate, size = size, size / seconds, size * 2 if size >= start else limit + start + 1
    return best


def _seconds(model: nn.Module, rows: Tensor) -> float:
    start = time.perf_counter()
    model(rows)
    if rows.device.type == "cuda":
        torch.cuda.synchronize(rows.device)
    return time.perf_counter() - start
