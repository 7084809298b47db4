"""Rows of clips of which whole frames are left out: clips of one length share model batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from vxp.core import Batch, Edit, Removed, VxpError
from vxp.engine.building import Builder
from vxp.engine.frames import Frames
from vxp.engine.readouts import READOUTS, readouts
from vxp.engine.running import Runner
from vxp.machine import sent
from vxp.media import Shortened

log = logging.getLogger("vxp")

Row = tuple[int, Removed]


def leaves_out(edit: Edit, batch: Batch) -> bool:
    """Whether the edit makes the clip shorter."""
    return isinstance(edit, Removed) and isinstance(batch.medium.fill(edit.fill), Shortened)


def run(runner: Runner, builder: Builder, edits: Sequence[Edit], frames: Frames | None) -> dict[Edit, Tensor] | None:
    """The readouts [B, 4] of every edit, which leaves frames out; None where the model takes no clip of fewer frames."""
    batch = builder.batch
    found: dict[Edit, Tensor] = {edit: torch.empty(len(batch), len(READOUTS), dtype=torch.float64) for edit in edits}
    rows = [(i, edit) for edit in edits if isinstance(edit, Removed) for i in range(len(batch))]
    done: list[Row] = []
    read: list[Tensor] = []
    for _, same in groupby(sorted(rows, key=_gone), _gone):
        of_length = list(same)
        while of_length:
            chunk = of_length[: runner.fitting(batch.inputs)]
            try:
                read.append(_read(runner, builder, chunk, frames))
            except torch.OutOfMemoryError:
                runner.halved(len(chunk))
                continue
            except VxpError:
                raise
            except Exception as error:  # whatever a model does that wants another length
                log.warning("the model does not take clips of %d frames in place of %d, and metrics that leave frames out are "
                            "not-run:fixed-length: %s", batch.space[0] - _gone(chunk[0]), batch.space[0], error)
                return None
            done += chunk
            runner.tally.run += len(chunk)
            runner.rows(len(chunk))
            of_length = of_length[len(chunk) :]
    for (i, edit), row in zip(done, torch.cat(read).cpu(), strict=True):  # here a GPU is waited for
        found[edit][i] = row
    return found


def without(builder: Builder, item: int, edit: Removed) -> Tensor:
    """The clip [C, T - n, H, W] without the n frames that the edit removes; VxpError where it removes part of a frame."""
    clip = builder.batch.inputs[item]
    gone = set(builder.frames_gone(item, edit))
    return clip.index_select(1, sent(torch.tensor([t for t in range(clip.shape[1]) if t not in gone]), clip.device))


def _read(runner: Runner, builder: Builder, chunk: Sequence[Row], frames: Frames | None) -> Tensor:
    items = [i for i, _ in chunk]
    clips = torch.stack([without(builder, i, edit) for i, edit in chunk])
    logits = runner.predict(clips) if frames is None else frames.predict(clips, items)
    return readouts(logits, builder.batch.targets[sent(torch.tensor(items), logits.device)])


def _gone(row: Row) -> int:
    """How many frames the row has lost: groups of its order are frames."""
    return row[1].b - row[1].a


__all__ = ["leaves_out", "run", "without"]
