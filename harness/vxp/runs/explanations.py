"""The stage that explains: maps in units, then the explanation set on disk, which is written from its units."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

import pyarrow as pa
import torch
import vxp_schemas
from torch import Tensor
from torch.nn import functional as F
from vxp_schemas import typed

from vxp import clock, models
from vxp.core import OK, Batch, VxpError
from vxp.datasets import Item
from vxp.documents import store, streams
from vxp.engine import attempted
from vxp.explainers import BoundExplainer
from vxp.models import Model
from vxp.outputs import Output
from vxp.runs import baselines, result
from vxp.runs.baselines import BROKEN
from vxp.runs.context import Context

TYPES: Mapping[torch.dtype, Literal["F32", "I64", "U8"]] = {torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}
"""The types of a payload as its manifest writes them."""
GROUP = 1 << 16
"""Rows of a group of items.parquet."""


class Notes(TypedDict):
    """What a unit keeps beside its maps: a status for each, their grid, and what they took together."""

    status: list[str]
    grid: list[int]
    seconds: float
    forward: int
    backward: int


@dataclass(frozen=True, eq=False)
class Made:
    """The maps of a range [n, *grid], a status for each, and what they took: seconds, forward and backward passes. segments: of
    scores of parts what parts these are, ranges of frames [n, K, 2]."""

    maps: Tensor
    status: Sequence[str]
    seconds: Sequence[float]
    forward: Sequence[int]
    backward: Sequence[int]
    segments: Tensor | None = None


def set_id(context: Context, bound: BoundExplainer) -> str:
    """Task, explainer and the first 8 hex digits of the digest of all that the set's maps depend on."""
    inputs = [context.task.grows, vxp_schemas.reference(context.model.document), result.system_digest(bound),
              context.settings.device, context.settings.precision]
    short = vxp_schemas.digest(inputs).removeprefix("sha256:")[:8]
    return f"{context.task.id}-{bound.id}"[:54] + f"-{short}"


def name(of_set: str, start: int) -> str:
    """The unit of the range that begins here."""
    return f"explain/{of_set}/{start:06d}"


def folder(context: Context, of_set: str) -> Path:
    """Where a run keeps a set."""
    return context.out / "explanations" / of_set


def whole(context: Context, of_set: str) -> bool:
    """Whether the set is written, so that nothing of it is made again."""
    return _written(folder(context, of_set), context)


def _written(place: Path, context: Context) -> bool:
    """Whether there is a set of all items; that of a run that goes on may have less."""
    path = place / "set.json"
    return path.exists() and store.read_document(path, typed.Set)["n_items"]["expected"] == len(context.task.items)


# ------------------------------------------------------------------------------------------------------------- the units


def make(context: Context, bound: BoundExplainer, of_set: str, start: int, stop: int) -> None:
    """Make the maps of a range, and keep them as a unit."""
    if context.units.done(name(of_set, start)):
        return
    baseline = baselines.read(context, start)
    batch = context.batch(start, stop, baseline.targets)
    began = time.perf_counter()
    with models.Passes(context.model.module, _frames(context)) as passes, context.engine.arithmetic(batch.inputs.device):
        made, states = _made_where(bound, context.model, batch, baseline.broken)
    segments = _segments(context, bound, start, stop)
    if segments is not None and OK not in states:  # which knows no number of parts
        made = made.new_zeros(segments.shape[:2])
    notes: Notes = {"status": states, "grid": list(made.shape[1:]), "seconds": time.perf_counter() - began,
                    "forward": passes.forward, "backward": passes.backward}
    context.progress.rows(passes.forward)
    context.units.save(name(of_set, start), {"values": made} | ({} if segments is None else {"segments": segments}), notes)


def _frames(context: Context) -> int:
    """The frames of a clip of the model."""
    size = context.model.input_size
    return size[0] if len(size) == 3 else 1


def _segments(context: Context, bound: BoundExplainer, start: int, stop: int) -> Tensor | None:
    """The parts that scores of a range are of, ranges of frames int64 [n, K, 2]; None for maps."""
    if not bound.made.ragged:
        return None
    return torch.tensor([timeline.segments(bound.explainer.resample) for timeline in context.loaded(start, stop).timelines])


def read(context: Context, of_set: str, start: int, stop: int) -> tuple[Tensor, list[str]]:
    """The maps of a range and their statuses, as they were stored: in a unit, or in a set that is whole."""
    unit = context.units.load(name(of_set, start))
    if unit is not None:
        return unit[0]["values"], list(unit[1]["status"])
    there = _stored(context, of_set)
    return there.maps.rows(start, stop), there.status[start:stop]


def statuses(context: Context, of_set: str, start: int, stop: int) -> list[str]:
    """The statuses of the maps of a range, from where they are stored."""
    head = context.units.head(name(of_set, start))
    return list(head[0]["status"]) if head is not None else _stored(context, of_set).status[start:stop]


def _stored(context: Context, of_set: str) -> Stored:
    """The set on disk, opened and checked once."""
    there: Stored | None = context.sets.get(of_set)
    if there is None:
        there = context.sets[of_set] = Stored.of(folder(context, of_set))
        there.check(context)
    return there


@dataclass(frozen=True, eq=False)
class Stored:
    """A set on disk: its manifest, its maps, and of every item what items.parquet says."""

    document: typed.Set
    maps: store.Maps
    items: pa.Table
    status: list[str]

    @classmethod
    def of(cls, place: Path) -> Stored:
        document = store.read_document(place / "set.json", typed.Set)
        items = store.read_described_table(place, document["items"])
        return cls(document, store.Maps(place, document["shards"]), items, items["status"].to_pylist())

    def check(self, context: Context) -> None:
        """VxpError unless the maps are of the task's items in their order."""
        expected, got = [item.id for item in context.task.items], self.items["item_id"].to_pylist()
        if got != expected or len(self.maps) != len(expected):
            raise VxpError(f"{self.maps.root}: got {len(self.maps)} maps for {got[:3]} ..., expected {len(expected)} maps for "
                           f"the task's items {expected[:3]} ... in their order")


def _made_where(
    bound: BoundExplainer, model: Model, batch: Batch, broken: Sequence[bool]
) -> tuple[Tensor, list[str]]:
    """Maps and statuses of a range; items of which the model's output is not finite are not explained."""
    good = [i for i, lost in enumerate(broken) if not lost]
    if len(good) == len(batch):
        return explained(bound, model, batch)
    if not good:
        return torch.zeros(len(batch), *batch.space), [BROKEN] * len(batch)
    made, states = explained(bound, model, batch.select(good))
    maps, status = made.new_zeros(len(batch), *made.shape[1:]), [BROKEN] * len(batch)
    maps[good] = made
    for i, state in zip(good, states, strict=True):
        status[i] = state
    return maps, status


def explained(bound: BoundExplainer, model: Model, batch: Batch) -> tuple[Tensor, list[str]]:
    """Maps and statuses of a range; zeros where there is no map."""
    maps, lost = attempted(bound, model.module, batch, bound.id)
    finite = torch.isfinite(maps).flatten(1).all(1)
    states = [lost.get(i, OK if good else "failed:non-finite-map") for i, good in enumerate(finite.tolist())]
    # beside bytes, what failed made floats of them
    return torch.where(finite.view(-1, *[1] * (maps.ndim - 1)), maps, torch.zeros_like(maps)).to(bound.made.dtype), states


# --------------------------------------------------------------------------------------------------------------- the set


@clock.stage("files")
def gather(context: Context, bound: BoundExplainer, of_set: str, place: Path) -> None:
    """Write the set of an explainer from its units, one range after another in memory, and drop the units, unless further
    items may come; VxpError where a set that was written before is damaged."""
    if _written(place, context):
        Stored.of(place).maps.check()
    else:
        ranges = list(context.ranges())
        notes: list[Notes] = []
        for start, _ in ranges:
            head = context.units.head(name(of_set, start))
            if head is None:
                raise context.units.missing(name(of_set, start))
            notes.append(head[0])
        grid = _longest(notes) if bound.made.ragged else _grid(bound.id, notes)

        def part(number: int) -> Made:
            start, stop = ranges[number]
            n, said = stop - start, notes[number]
            unit = context.units.load(name(of_set, start))
            assert unit is not None
            maps, segments = unit[0]["values"].to(bound.made.dtype), unit[0].get("segments")
            # items that failed do not know the grid, and have that of the others
            maps = maps if segments is not None or tuple(maps.shape[1:]) == grid else maps.new_zeros(n, *grid)
            return Made(maps, said["status"], [said["seconds"] / n] * n, _spread(said["forward"], n),
                        _spread(said["backward"], n), segments)

        write_set(context, bound, place, grid, part)
    if context.settings.until is None:
        context.units.drop(f"explain/{of_set}")


def _grid(explainer: str, notes: Sequence[Notes]) -> tuple[int, ...]:
    """The one grid of all maps that were made; VxpError where there are several."""
    grids = sorted({tuple(said["grid"]) for said in notes if OK in said["status"]})
    if len(grids) > 1:
        raise VxpError(f"explainer {explainer!r} returned maps of different grids {grids}: expected one grid per set")
    return grids[0] if grids else tuple(notes[0]["grid"])


def _longest(notes: Sequence[Notes]) -> tuple[int, ...]:
    """The largest number of parts that an item has."""
    return (max(said["grid"][0] for said in notes),)


def _spread(total: int, n: int) -> list[int]:
    """A count spread over n items as evenly as integers allow, so that the rows add up to the total."""
    return [total // n + (i < total % n) for i in range(n)]


def write_set(
    context: Context, bound: BoundExplainer, place: Path, grid: tuple[int, ...], part: Callable[[int], Made]
) -> None:
    """Write payload, items and, last, set.json; part(k) gives what was made of the k-th range."""
    n = len(context.task.items)
    with contextlib.ExitStack() as open_files, streams.table(place / "items.parquet", GROUP) as table:
        shards = _Shards(open_files, place, grid, n)
        for number, (start, stop) in enumerate(context.ranges()):
            made, baseline, items = part(number), baselines.read(context, start), context.task.items[start:stop]
            rows = range(start, stop)
            tensors = _tensors(made, grid)
            shards.write(tensors)
            table.write({
                "row": pa.array(rows, pa.int64()),
                "item_id": pa.array([item.id for item in items]),
                "cluster": pa.array([item.cluster for item in items]),
                "target": pa.array(baseline.targets.tolist(), pa.int32()),
                "target_source": pa.array([_source(item, baseline.output) for item in items]),
                "prediction": pa.array(baseline.predictions.tolist(), pa.int32()),
                "target_score": pa.array(baseline.target_score.nan_to_num().tolist(), pa.float32()),
                "explanation_id": pa.array([f"{item.id}/0" for item in items]),
                "repeat": pa.array([0] * len(items), pa.int16()),
                "shard": pa.array([i // shards.rows for i in rows], pa.int32()),
                "shard_row": pa.array([i % shards.rows for i in rows], pa.int64()),
                "payload_digest": pa.array(store.row_digests(tensors["values"]), pa.binary(32)),
                "runtime_ms": pa.array([1000 * s for s in made.seconds], pa.float32()),
                "n_forwards": pa.array(made.forward, pa.int32()),
                "n_backwards": pa.array(made.backward, pa.int32()),
                "status": pa.array(made.status),
            })
    store.write_document(place / "set.json", _manifest(context, bound, place, shards.written))


def _tensors(made: Made, grid: tuple[int, ...]) -> dict[str, Tensor]:
    """What the payload has of these maps, by tensor, rows first. Scores of parts are filled up to the longest row by zeros."""
    if made.segments is None:
        return {"values": made.maps}
    n, K = made.maps.shape
    return {"values": F.pad(made.maps, (0, grid[0] - K)), "lengths": torch.full((n,), K),
            "segments": F.pad(made.segments, (0, 0, 0, grid[0] - K))}


def _source(item: Item, output: Output) -> str:
    """Where the target of an item comes from."""
    return "list" if item.target is not None else "predicted" if output.targets else "none"


class _Shards:
    """The payload of a set, a shard at a time; rows come in order. open_files closes, or removes, what is half-written."""

    def __init__(self, open_files: contextlib.ExitStack, place: Path, grid: tuple[int, ...], n: int) -> None:
        self.open_files, self.place, self.grid, self.n, self.done = open_files, place, grid, n, 0
        per_map = streams.Array("F32", (1, *grid)).row_bytes
        self.rows = max(1, min(store.SHARD_ROWS, store.SHARD_BYTES // max(per_map, 1)))
        self.written: list[typed.SetShard] = []
        self.shard: contextlib.ExitStack | None = None
        self.file: streams.Arrays | None = None

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Further rows of every tensor."""
        while len(tensors["values"]):
            first = self.done // self.rows * self.rows
            n = min(self.rows, self.n - first)
            path = self.place / "payload" / f"{len(self.written):05d}.safetensors"
            if self.shard is None or self.file is None:
                self.shard = self.open_files.enter_context(contextlib.ExitStack())
                said = {name: streams.Array.like(rows, n) for name, rows in tensors.items()}
                self.file = self.shard.enter_context(streams.arrays(path, said))
            left = first + n - self.done
            for name, rows in tensors.items():
                self.file.write(name, self.done - first, rows[:left])
            self.done += min(left, len(tensors["values"]))
            tensors = {name: rows[left:] for name, rows in tensors.items()}
            if self.done == first + n:
                self.shard.close()
                self.shard = self.file = None
                self.written.append({
                    "descriptor": store.descriptor(path, self.place, store.SAFETENSORS, n), "first_row": first, "rows": n,
                    "tensors": {name: {"dtype": TYPES[rows.dtype], "shape": [n, *rows.shape[1:]]}
                                for name, rows in tensors.items()}})


def _manifest(
    context: Context, bound: BoundExplainer, root: Path, shards: Sequence[typed.SetShard]
) -> typed.Set:
    """The manifest set.json of maps that lie beside it."""
    task, n = context.task, len(context.task.items)
    return result.header(typed.Set) | {
        "set_id": set_id(context, bound), "kind": bound.made.id, "task": task.reference, "dataset": task.dataset,
        "model": vxp_schemas.reference(context.model.document), "system": result.system_digest(bound),
        "explainer": result.explainer(bound), "n_items": {"expected": n, "present": n}, "coverage": 1.0,
        "items": store.descriptor(root / "items.parquet", root, store.PARQUET, n), "shards": list(shards),
        "coordinate_frame": "model_input",
        "semantics": {"higher_means": "evidence_for" if bound.explainer.signed else "importance", "normalized": "none"},
        "quantization": "none", "randomness": {"seed": task.seed, "rule": "philox-per-item", "repeats": 1},
    }
