"""The rows of one batch: built from edits, run in batches that fit, and kept by their edits.

What is read of model batches stays on their device until all of a round have been asked for, and is fetched at once. So a GPU
has its next batch while it works on one, and is waited for once a round, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vxp import models
from vxp.core import Batch, Case, Edit, Filled, Readout, Removed, Request, Unchanged
from vxp.engine import shorter
from vxp.engine.building import Builder, chain
from vxp.engine.frames import Frames, fusion_of
from vxp.engine.readouts import VECTORS
from vxp.engine.running import Runner
from vxp.engine.shared import Shared
from vxp.machine import sent

FEW = 997
"""Of so many values of a row one is compared before all are."""


@dataclass(eq=False)
class Rows:
    """All rows of one batch that were run so far, by value."""

    runner: Runner
    batch: Batch
    read_of: dict[Edit, Tensor]  # [B, R]
    vectors: dict[tuple[Edit, Readout], Tensor] = field(default_factory=dict)  # [B, D]
    represented: bool = True  # whether the model has a representation of every row
    shortens: bool = True  # whether the model takes clips of fewer frames

    @classmethod
    def known(cls, runner: Runner, batch: Batch, known: Shared) -> Rows:
        """With the rows that are there."""
        return cls(runner, batch, dict(known.rows), dict(known.vectors), known.represented)

    def fetch(self, requests: Sequence[Request], held: Mapping[str, Case]) -> None:
        """Run what these requests ask for and is not there yet."""
        edits: dict[Edit, None] = {}
        kept: set[tuple[Edit, Readout]] = set()
        for request in requests:
            self.runner.tally.asked += len(request.edits) * len(self.batch)
            if request.readout not in VECTORS:
                edits |= dict.fromkeys(e for e in request.edits if e not in self.read_of)
            elif request.readout == "output" or self.represented:
                kept |= {(e, request.readout) for e in request.edits} - self.vectors.keys()
        self.predict(edits | dict.fromkeys(e for e, _ in kept), held, kept)

    def read(self, request: Request) -> Tensor:
        """The answer [B, K], or [B, K, D] for vectors."""
        if request.readout in VECTORS:
            return torch.stack([self.vectors[edit, request.readout] for edit in request.edits], dim=1)
        rows = torch.stack([self.read_of[edit] for edit in request.edits], dim=1)
        return self.runner.output.of(rows, request.readout)

    def refused(self, request: Request) -> str | None:
        """Why the model cannot answer, the code of a status; None where it can."""
        if request.readout == "representation" and not self.represented:
            return "no-representation"
        if not self.shortens and any(shorter.leaves_out(edit, self.batch) for edit in request.edits):
            return "fixed-length"
        return None

    def predict(
        self, edits: Mapping[Edit, None], held: Mapping[str, Case], kept: Set[tuple[Edit, Readout]] = frozenset()
    ) -> None:
        """Run the rows of these edits for every item and keep their readouts, and the vectors that are in `kept`."""
        edits = self._left_of(edits, held, kept)
        if not edits:
            return
        order = sorted(edits, key=chain)
        plan = [(i, edit) for i in range(len(self.batch)) for edit in order]
        builder = Builder(self.batch, held)
        seen = any(readout == "representation" for _, readout in kept)  # of which single frames have none
        frames = None if seen else self._frames(builder, edits)
        found: list[tuple[Tensor, ...]] = []
        size, start = self.runner.fitting(self.batch.inputs), 0
        with self.runner.batches(self.batch.inputs.device):
            while start < len(plan):
                chunk = plan[start : start + size]
                try:
                    found.append(self._run(builder, frames, chunk, kept))
                except torch.OutOfMemoryError:
                    size = self.runner.halved(size)
                    continue
                self.runner.tally.run += len(chunk)
                self.runner.rows(len(chunk))
                start += len(chunk)
        read, *vectors = zip(*found, strict=True)
        self._keep(order, torch.cat(read).cpu().unflatten(0, (len(self.batch), -1)))  # here a GPU is waited for
        for readout, parts in zip(VECTORS, vectors, strict=False):
            of = [edit for edit in order if (edit, readout) in kept]
            if of and (readout == "output" or self.represented):
                values = torch.cat(parts).cpu().double().unflatten(0, (len(self.batch), -1)).transpose(0, 1).contiguous()
                self.vectors |= {(edit, readout): found for edit, found in zip(of, values, strict=True)}

    def _run(
        self, builder: Builder, frames: Frames | None, chunk: Sequence[tuple[int, Edit]], kept: Set[tuple[Edit, Readout]]
    ) -> tuple[Tensor, ...]:
        """Of a model batch, on its device: readouts [N, R + 1], the last whether a row is the unchanged item, and of the rows
        whose vectors are kept the vectors [M, D], of every kind."""
        device = self.batch.inputs.device
        items = sent(torch.tensor([i for i, _ in chunk]), device)
        inputs = builder.build(chunk)
        same = _unchanged(inputs, self.batch.inputs, items)
        watched = bool(kept) and frames is None
        with models.last_linear_input(self.runner.model, wanted=watched) as seen:
            logits = (self.runner.predict(inputs, watched=watched) if frames is None
                      else frames.predict(inputs, [i for i, _ in chunk]))
        read = torch.cat([self.runner.output.read(logits, self.batch.targets[items]), same[:, None].double()], dim=1)
        if not kept:
            return (read,)
        if watched:
            self.represented &= len(seen) == 1 and len(seen[0]) == len(chunk)
        # as the logits are: a model in float64 has outputs in float32
        vectors = (logits, seen[0].float() if watched and self.represented else logits)
        places = ([n for n, (_, edit) in enumerate(chunk) if (edit, readout) in kept] for readout in VECTORS)
        return read, *(of.index_select(0, sent(torch.tensor(some, dtype=torch.long), device))
                       for of, some in zip(vectors, places, strict=True))

    def _keep(self, order: Sequence[Edit], read: Tensor) -> None:
        """Keep what was read [B, E, R + 1] of these edits. One input has one output: not one that differs by how a library
        rounds it at another place of a batch."""
        values, same = read[..., :-1], read[..., -1:].bool()
        whole = values[:, order.index(Unchanged())] if Unchanged() in order else self.read_of.get(Unchanged())
        if whole is not None:
            values = torch.where(same, whole[:, None], values)
        self.read_of |= dict(zip(order, values.transpose(0, 1).contiguous(), strict=True))

    def _left_of(
        self, edits: Mapping[Edit, None], held: Mapping[str, Case], kept: Set[tuple[Edit, Readout]]
    ) -> Mapping[Edit, None]:
        """The edits whose rows are as long as the clip; those of the others are run, if the model takes them."""
        less = dict.fromkeys(edit for edit in edits if shorter.leaves_out(edit, self.batch))
        if less and self.shortens:
            builder = Builder(self.batch, held)
            found = shorter.run(self.runner, builder, list(less), self._frames(builder, edits), kept)
            self.shortens = found is not None
            if found is not None:
                self.read_of |= found[0]
                self.vectors |= found[1]
        return {edit: None for edit in edits if edit not in less}

    def _frames(self, builder: Builder, edits: Mapping[Edit, None]) -> Frames | None:
        """How rows go through a late-fusion model; None for any other."""
        model = fusion_of(self.runner.model, self.batch.inputs)
        if model is None:
            return None
        shown = {edit.fill for edit in edits if isinstance(edit, Filled | Removed)}
        return Frames(self.runner, model, builder, sorted(shown & set(self.batch.medium.painted)))


def _unchanged(rows: Tensor, inputs: Tensor, items: Tensor) -> Tensor:
    """bool [N]: whether rows [N, ...] are, in every value, the item that they were made of."""
    if rows.device.type != "cpu":
        return (rows == inputs[items]).flatten(1).all(1)
    # a few values first, which a CPU can look at: that is a hundredth of the work
    same = (rows.flatten(1)[:, ::FEW] == inputs.flatten(1)[:, ::FEW][items]).all(1)
    for n in same.nonzero().flatten().tolist():
        same[n] = torch.equal(rows[n], inputs[items[n]])
    return same


__all__ = ["Rows"]
