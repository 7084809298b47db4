"""The rows of one batch: built from edits, run in batches that fit, and kept by their edits."""

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
from vxp.engine.readouts import READOUTS, VECTORS, readouts
from vxp.engine.running import Runner
from vxp.engine.shared import Shared

FEW = 997
"""Of so many values of a row one is compared before all are."""


@dataclass(eq=False)
class Rows:
    """All rows of one batch that were run so far, by value."""

    runner: Runner
    batch: Batch
    read_of: dict[Edit, Tensor]  # [B, 4]
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
        if request.readout == "probability":
            return rows[..., 0].exp()
        return rows[..., READOUTS.index(request.readout)]

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
        edits = self._left_of(edits, held)
        if not edits:
            return
        B = len(self.batch)
        by_edit = {edit: torch.empty(B, len(READOUTS), dtype=torch.float64) for edit in edits}
        vectors: dict[tuple[Edit, Readout], list[Tensor]] = {key: [] for key in kept}
        plan = [(i, edit) for i in range(B) for edit in sorted(edits, key=chain)]
        builder = Builder(self.batch, held)
        frames = None if kept else self._frames(builder, edits)
        same: list[tuple[int, Edit]] = []
        size, start = self.runner.fitting(self.batch.inputs), 0
        while start < len(plan):
            chunk = plan[start : start + size]
            try:
                inputs = builder.build(chunk)
                alike = _unchanged(inputs, self.batch.inputs, [i for i, _ in chunk])
                with models.last_linear_input(self.runner.model, wanted=bool(kept)) as seen:
                    logits = self.runner.predict(inputs) if frames is None else frames.predict(inputs, [i for i, _ in chunk])
                self.represented &= not kept or (len(seen) == 1 and len(seen[0]) == len(chunk))
                items = torch.tensor([i for i, _ in chunk], device=logits.device)
                read = readouts(logits, self.batch.targets[items]).cpu()
            except torch.OutOfMemoryError:
                size = self.runner.halved(size)
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
            self.runner.tally.run += len(chunk)
            self.runner.rows(len(chunk))
            start += len(chunk)
        self.read_of |= by_edit
        # one input has one output: not one that differs by how a library rounds it at another place of a batch
        whole = self.read_of.get(Unchanged())
        if whole is not None:
            for i, edit in same:
                self.read_of[edit][i] = whole[i]
        self.vectors |= {key: torch.stack(found) for key, found in vectors.items() if len(found) == B}

    def _left_of(self, edits: Mapping[Edit, None], held: Mapping[str, Case]) -> Mapping[Edit, None]:
        """The edits whose rows are as long as the clip; those of the others are run, if the model takes them."""
        less = dict.fromkeys(edit for edit in edits if shorter.leaves_out(edit, self.batch))
        if less and self.shortens:
            builder = Builder(self.batch, held)
            found = shorter.run(self.runner, builder, list(less), self._frames(builder, edits))
            self.read_of |= found or {}
            self.shortens = found is not None
        return {edit: None for edit in edits if edit not in less}

    def _frames(self, builder: Builder, edits: Mapping[Edit, None]) -> Frames | None:
        """How rows go through a late-fusion model; None for any other."""
        model = fusion_of(self.runner.model, self.batch.inputs)
        if model is None:
            return None
        shown = {edit.fill for edit in edits if isinstance(edit, Filled | Removed)}
        return Frames(self.runner, model, builder, sorted(shown & set(self.batch.medium.painted)))


def _unchanged(rows: Tensor, inputs: Tensor, items: Sequence[int]) -> list[int]:
    """The places of rows [N, ...] that are, bit by bit, the item that they were made of; a few values are looked at first."""
    few = rows.flatten(1)[:, ::FEW] == inputs.flatten(1)[:, ::FEW][list(items)]
    likely = torch.nonzero(few.all(1)).flatten().tolist()
    return [n for n in likely if torch.equal(rows[n], inputs[items[n]])]


__all__ = ["Rows"]
