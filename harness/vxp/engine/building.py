"""How a batch of rows is made from edits: in one buffer on the batch's device, each row from the nearest that is there.

On a GPU nothing here waits for it: what the process decides by is in the edits, and what depends on values stays there. Two
things look: the imputation, at when its solver is done, and frames that are left out, once an order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vxp import clock
from vxp.core import (
    Batch,
    Blended,
    Case,
    Edit,
    Filled,
    Held,
    Noised,
    Offset,
    Order,
    Redrawn,
    Removed,
    Rendered,
    Translated,
    Unchanged,
    VxpError,
    Without,
    perturb,
)
from vxp.machine import sent
from vxp.media import Imputed

PART_OF_A_FRAME = "the fill `remove` leaves whole frames out, and part of a frame was removed: take another fill"


@dataclass(eq=False)
class Builder:
    """Builds rows of edited inputs in one buffer, on the batch's device."""

    batch: Batch
    held: Mapping[str, Case]
    fills: dict[str, Tensor] = field(default_factory=dict)
    orders: dict[Held, Order] = field(default_factory=dict)
    starts: dict[Held, list[list[int]]] = field(default_factory=dict)
    ranks: dict[Held, Tensor] = field(default_factory=dict)
    frames: dict[Held, list[list[int]]] = field(default_factory=dict)
    buffer: Tensor | None = None

    @clock.stage("building")
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
            elif not on_cpu and (kind := _together(i, edit)):
                while stop < len(chunk) and _together(*chunk[stop]) == kind:
                    stop += 1
                self.together(out[start:stop], chunk[start:stop])
            else:
                self._plain(out[start], i, edit)
            previous = None
            start = stop
        if imputed:
            self._imputed(out, [(row, chunk[row][0], chunk[row][1]) for row in imputed])
        return out

    def order(self, name: Held) -> Order:
        if name not in self.orders:
            self.orders[name] = self.held[name.case].ordered(name)
        return self.orders[name]

    def span(self, i: int, edit: Removed) -> tuple[int, int]:
        """The places in the order, of item i, that go: for groups, where the first begins and the last ends. On a CPU."""
        starts = self.order(edit.order).starts
        if starts is None:
            return edit.a, edit.b
        if edit.order not in self.starts:
            self.starts[edit.order] = starts.tolist()
        of = self.starts[edit.order][i]
        return of[edit.a], of[edit.b]

    def between(self, i: int, spans: Sequence[Removed]) -> Tensor:
        """bool [N, P]: the positions of item i that go, for spans of one order. Without waiting for a GPU."""
        name = spans[0].order
        order = self.order(name)
        if name not in self.ranks:
            ranks = torch.empty_like(order.positions, dtype=torch.int32)
            place = torch.arange(order.positions.shape[1], dtype=torch.int32, device=order.positions.device)
            self.ranks[name] = ranks.scatter_(1, order.positions, place.expand_as(ranks))
        ends = sent(torch.tensor([(s.a, s.b) for s in spans]), order.positions.device)
        if order.starts is not None:
            ends = order.starts[i][ends]
        a, b = ends.int().unbind(1)
        return (self.ranks[name][i] >= a[:, None]) & (self.ranks[name][i] < b[:, None])

    def frames_gone(self, i: int, edit: Edit) -> list[int]:
        """The frames of item i that go; VxpError where part of a frame does."""
        T = self.batch.space[0]
        if isinstance(edit, Without):
            gone = perturb.part(edit.part, self.batch, i).view(T, -1)
            if bool((gone != gone[:, :1]).any()):
                raise VxpError(PART_OF_A_FRAME)
            found: list[int] = gone[:, 0].nonzero().flatten().tolist()
            return found
        if not isinstance(edit, Removed):
            raise TypeError(f"no frames go by {edit!r}")
        order, size = self.order(edit.order), self.batch.positions // T
        # every position is a frame, or groups have several, such as fragments
        if size == 1 or (order.starts is not None and order.starts.shape[1] < T + 1):
            a, b = self.span(i, edit)
            frames, counts = (order.positions[i, a:b] // size).unique(return_counts=True)
            if bool((counts != size).any()):
                raise VxpError(PART_OF_A_FRAME)
            gone_of_groups: list[int] = frames.tolist()
            return gone_of_groups
        if edit.order not in self.frames:
            of = (order.positions // size).unflatten(1, (T, size))
            groups = torch.arange(0, T * size + 1, size, device=of.device)
            if order.starts is None or order.starts.shape[1] != T + 1 or not bool(
                    (of == of[:, :, :1]).all() & (order.starts == groups).all()):
                raise VxpError(PART_OF_A_FRAME)
            self.frames[edit.order] = of[:, :, 0].tolist()
        return self.frames[edit.order][i][edit.a : edit.b]

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
                case = self.held[mask.case]
                perturb.blended(x, self.fill(fill)[i], case.masks[mask][i].to(x.dtype), out=row)
            case Redrawn(image):
                case = self.held[image.case]
                row.copy_(perturb.redrawn(x, sent(case.images[image][i], x.device), self.batch.normalization))
            case Rendered(truth, number):
                rendered = self.batch.truth[truth][i].flatten(0, -4)[number]
                row.copy_(perturb.redrawn(x, sent(rendered, x.device), self.batch.normalization))
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
        if previous is not None and _together(*previous) == _together(i, edit):
            old = self.span(i, previous[1])
            steps = [(a, b, filled) for a, b in difference((first, last), old)]
            steps += [(a, b, image) for a, b in difference(old, (first, last))]
            if sum(b - a for a, b, _ in steps) < cost:
                base, spans = out[row - 1].flatten(1), steps
        new = out[row].flatten(1)
        new.copy_(base)
        for a, b, source in spans:
            if b > a:
                where = order[a:b]
                new.index_copy_(1, where, source.index_select(1, where))

    def together(self, out: Tensor, rows: Sequence[tuple[int, Edit]]) -> None:
        """Rows of one kind (`_together`) at once, in one pass over the bytes: what a GPU is good at."""
        i, first = rows[0]
        match first:
            case Removed(fill=fill):
                gone = self.between(i, [edit for _, edit in rows if isinstance(edit, Removed)])
            case Without(fill=fill):
                gone = perturb.drawn_parts([edit.part for _, edit in rows if isinstance(edit, Without)], self.batch, i)
            case Noised(radius=radius):
                which = [(edit.stream, edit.draw) for _, edit in rows if isinstance(edit, Noised)]
                items = [i for i, _ in rows]
                where = sent(torch.tensor(items), out.device)
                torch.add(self.batch.inputs[where], perturb.many_noises(self.batch, items, which, radius), out=out)
                return
            case _:
                raise TypeError(f"rows of {first!r} are built one by one")
        torch.where(gone.view(-1, 1, *self.batch.space), self.fill(fill)[i], self.batch.inputs[i], out=out)

    def _imputed(self, out: Tensor, rows: Sequence[tuple[int, int, Edit]]) -> None:
        """Rows whose fill depends on what is left, those of one fill together: they share its work."""
        device = self.batch.inputs.device
        of_fill: dict[str, list[tuple[int, int, Tensor]]] = {}
        for row, i, edit in rows:
            match edit:
                case Removed():
                    gone = self.between(i, [edit])[0]
                case Without(part):
                    gone = perturb.part(part, self.batch, i)
                case _:
                    raise TypeError(f"no imputation for {edit!r}")
            of_fill.setdefault(edit.fill, []).append((row, i, gone))
        for name, some in of_fill.items():
            fill = self.batch.medium.fill(name)
            assert isinstance(fill, Imputed)
            places, items = (sent(torch.tensor([one[k] for one in some]), device) for k in (0, 1))
            with clock.stage("imputation"):
                out[places] = fill.impute(self.batch, items, torch.stack([one[2] for one in some]))


def _together(i: int, edit: Edit) -> tuple[object, ...] | None:
    """What rows share that a GPU builds at once; None for a row of a kind that is built by itself."""
    match edit:
        case Removed(order, _, _, fill):
            return Removed, i, order, fill
        case Without(_, fill):
            return Without, i, fill
        case Noised(_, _, radius):
            return Noised, radius
        case _:
            return None


def difference(one: tuple[int, int], two: tuple[int, int]) -> list[tuple[int, int]]:
    """The parts of the half-open span `one` that are not in `two`."""
    (a, b), (c, d) = one, two
    return [(s, t) for s, t in ((a, min(b, c)), (max(a, d), b)) if s < t]


def chain(edit: Edit) -> tuple[str, str, str, str, bool, int, int]:
    """Sort key: rows that differ little come one after another."""
    if isinstance(edit, Removed):
        return ("removed", edit.fill, edit.order.case, str(edit.order.name), edit.a > 0, edit.a, edit.b)
    if isinstance(edit, Without):
        return ("without", edit.fill, repr(edit.part), "", False, 0, 0)
    return (type(edit).__name__.lower(), repr(edit), "", "", False, 0, 0)


__all__ = ["Builder", "chain", "difference"]
