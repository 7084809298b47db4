"""Rows of clips and sequences of which whole frames are left out: rows of one length share model batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from itertools import groupby

import torch
from torch import Tensor

from vxp.core import Batch, Edit, Readout, Removed, VxpError, Without
from vxp.engine.building import Builder
from vxp.engine.frames import Frames
from vxp.engine.running import Runner
from vxp.machine import sent
from vxp.media import Shortened

log = logging.getLogger("vxp")

Row = tuple[int, Edit, list[int]]
"""An item, an edit, and the frames that go."""
Vectors = dict[tuple[Edit, Readout], Tensor]


def leaves_out(edit: Edit, batch: Batch) -> bool:
    """Whether the edit makes the item shorter."""
    return isinstance(edit, Removed | Without) and isinstance(batch.medium.fill(edit.fill), Shortened)


def run(
    runner: Runner, builder: Builder, edits: Sequence[Edit], frames: Frames | None,
    kept: Set[tuple[Edit, Readout]] = frozenset(),
) -> tuple[dict[Edit, Tensor], Vectors] | None:
    """The readouts [B, R] of every edit, which leaves frames out, and the outputs [B, K] that are in `kept`; None where the
    model takes no item of fewer frames, or says something of every frame (events), which may be the one that goes. A
    score per step has its place, and is 0 where the step is not there."""
    batch = builder.batch
    if runner.output.id == "events":
        log.warning("the model says something of every frame, and nothing of one that is left out: metrics that leave frames "
                    "out are not-run:fixed-length")
        return None
    rows: list[Row] = [(i, edit, builder.frames_gone(i, edit)) for edit in edits for i in range(len(batch))]
    rows.sort(key=lambda row: len(row[2]))
    read: list[Tensor] = []
    raw: list[Tensor] = []
    for _, same in groupby(rows, lambda row: len(row[2])):
        of_length = list(same)
        while of_length:
            chunk = of_length[: runner.fitting(batch.inputs)]
            try:
                said = _said(runner, builder, chunk, frames)
            except torch.OutOfMemoryError:
                runner.halved(len(chunk))
                continue
            except VxpError:
                raise
            except Exception as error:  # whatever a model does that wants another length
                log.warning("the model does not take %ss of %d frames in place of %d, and metrics that leave frames out are "
                            "not-run:fixed-length: %s", batch.medium.id, batch.space[0] - len(chunk[0][2]), batch.space[0],
                            error)
                return None
            targets = batch.targets[sent(torch.tensor([i for i, *_ in chunk]), said.device)]
            read.append(runner.output.read(said, targets))
            if kept:
                raw.append(said if runner.output.targets else _at_their_places(said, chunk, batch.space[0]))
            runner.tally.run += len(chunk)
            runner.rows(len(chunk))
            of_length = of_length[len(chunk) :]
    said_of = _by_edit(rows, torch.cat(raw).cpu().double(), len(batch)) if raw else {}
    return _by_edit(rows, torch.cat(read).cpu(), len(batch)), {  # here a GPU is waited for
        (edit, "output"): values for edit, values in said_of.items() if (edit, "output") in kept}


def without(builder: Builder, item: int, gone: Sequence[int]) -> Tensor:
    """The item [C, T - n, ...] without these n frames."""
    whole = builder.batch.inputs[item]
    return whole.index_select(1, sent(torch.tensor(_left(whole.shape[1], gone)), whole.device))


def _left(n: int, gone: Sequence[int]) -> list[int]:
    """Which of n frames stay."""
    away = set(gone)
    return [t for t in range(n) if t not in away]


def _said(runner: Runner, builder: Builder, chunk: Sequence[Row], frames: Frames | None) -> Tensor:
    shorter = torch.stack([without(builder, i, gone) for i, _, gone in chunk])
    return runner.predict(shorter) if frames is None else frames.predict(shorter, [i for i, *_ in chunk])


def _at_their_places(scores: Tensor, chunk: Sequence[Row], n: int) -> Tensor:
    """Scores [N, n] of the steps that are there, 0 for the others."""
    left = torch.tensor([_left(n, gone) for *_, gone in chunk])
    return scores.new_zeros(len(chunk), n).scatter_(1, sent(left, scores.device), scores)


def _by_edit(rows: Sequence[Row], values: Tensor, items: int) -> dict[Edit, Tensor]:
    """Values [B, ...] by edit, of rows in any order."""
    found: dict[Edit, Tensor] = {}
    for (i, edit, _), row in zip(rows, values, strict=True):
        found.setdefault(edit, values.new_empty(items, *values.shape[1:]))[i] = row
    return found


__all__ = ["leaves_out", "run", "without"]
