"""The stage that explains: maps in units, then the explanation set on disk."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import pyarrow as pa
import torch
import vxp_schemas
from torch import Tensor
from vxp_schemas import typed

from vxp import models
from vxp.core import OK, Batch, Unchanged
from vxp.documents import store
from vxp.engine import READOUTS, attempted, on_one_grid
from vxp.explainers import BoundExplainer
from vxp.models import Model
from vxp.runs import result
from vxp.runs.baselines import BROKEN, Baseline
from vxp.runs.context import Context


@dataclass
class Spent:
    """What the maps of a set took, item by item."""

    seconds: list[float] = field(default_factory=list)
    forward: list[int] = field(default_factory=list)
    backward: list[int] = field(default_factory=list)


class Notes(TypedDict):
    """What a unit keeps beside its maps: a status for each, and what they took together."""

    status: list[str]
    seconds: float
    forward: int
    backward: int


@dataclass(frozen=True, eq=False)
class Made:
    """The maps of a set [N, *grid], a status for each, and what they took."""

    maps: Tensor
    status: Sequence[str]
    spent: Spent


def set_id(context: Context, bound: BoundExplainer) -> str:
    """Task, explainer and the first 8 hex digits of the digest of all that the set's maps depend on."""
    inputs = [context.task.grows, vxp_schemas.reference(context.model.document), result.system_digest(bound),
              context.settings.device, context.settings.precision]
    short = vxp_schemas.digest(inputs).removeprefix("sha256:")[:8]
    return f"{context.task.id}-{bound.id}"[:54] + f"-{short}"


def explain(context: Context, bound: BoundExplainer, baselines: Mapping[int, Baseline], folder: Path) -> None:
    """Make all maps in units, then write the set: payload first, set.json last."""
    key = set_id(context, bound)
    context.progress.stage(f"explaining with {bound.name}", len(context.task.items))
    parts: list[tuple[Tensor, list[str]]] = []
    spent = Spent()
    for start, stop in context.ranges():
        name = f"explain/{key}/{start:06d}"
        unit = context.units.load(name)
        if unit is None:
            batch = context.batch(start, stop, baselines[start].targets)
            began = time.perf_counter()
            with models.Passes(context.model.module) as passes, context.engine.arithmetic(batch.inputs.device):
                made, states = _made_where(bound, context.model, batch, baselines[start].broken)
            notes: Notes = {"status": states, "seconds": time.perf_counter() - began, "forward": passes.forward,
                            "backward": passes.backward}
            context.progress.rows(passes.forward)
            context.units.save(name, {"values": made}, notes)
            unit = {"values": made}, notes
        n = stop - start
        parts.append((unit[0]["values"].cpu(), list(unit[1]["status"])))
        spent.seconds += [unit[1]["seconds"] / n] * n
        spent.forward += _shared(unit[1]["forward"], n)
        spent.backward += _shared(unit[1]["backward"], n)
        context.progress.items(n)
    maps = on_one_grid(bound.id, [(maps, OK in states) for maps, states in parts], 0.0)
    status = [s for _, states in parts for s in states]
    write_set(context, bound, baselines, folder, Made(maps, status, spent))


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


def _shared(total: int, n: int) -> list[int]:
    """A count spread over n items as evenly as integers allow, so that the rows add up to the total."""
    return [total // n + (i < total % n) for i in range(n)]


def explained(bound: BoundExplainer, model: Model, batch: Batch) -> tuple[Tensor, list[str]]:
    """Maps and statuses of a range; zeros where there is no map."""
    maps, lost = attempted(bound, model.module, batch, bound.id)
    finite = torch.isfinite(maps).flatten(1).all(1)
    states = [lost.get(i, OK if good else "failed:non-finite-map") for i, good in enumerate(finite.tolist())]
    return torch.where(finite.view(-1, *[1] * (maps.ndim - 1)), maps, torch.zeros_like(maps)), states


def write_set(
    context: Context, bound: BoundExplainer, baselines: Mapping[int, Baseline], folder: Path, made: Made
) -> None:
    """Write payload, items and, last, set.json."""
    n = len(context.task.items)
    shards = store.write_maps(folder / "payload", folder, made.maps)
    rows_per_shard = shards[0]["rows"]
    ordered = [baselines[start] for start in sorted(baselines)]
    targets, predictions = torch.cat([b.targets for b in ordered]), torch.cat([b.predictions for b in ordered])
    top = torch.cat([b.rows[Unchanged()][:, READOUTS.index("log-probability")].exp() for b in ordered]).nan_to_num()
    store.write_table(folder / "items.parquet", {
        "row": pa.array(range(n), pa.int64()),
        "item_id": pa.array([item.id for item in context.task.items]),
        "cluster": pa.array([item.cluster for item in context.task.items]),
        "target": pa.array(targets.tolist(), pa.int32()),
        "target_source": pa.array(["predicted" if item.target is None else "list" for item in context.task.items]),
        "prediction": pa.array(predictions.tolist(), pa.int32()),
        "target_score": pa.array(top.tolist(), pa.float32()),
        "explanation_id": pa.array([f"{item.id}/0" for item in context.task.items]),
        "repeat": pa.array([0] * n, pa.int16()),
        "shard": pa.array([i // rows_per_shard for i in range(n)], pa.int32()),
        "shard_row": pa.array([i % rows_per_shard for i in range(n)], pa.int64()),
        "payload_digest": pa.array(store.row_digests(made.maps), pa.binary(32)),
        "runtime_ms": pa.array([1000 * s for s in made.spent.seconds], pa.float32()),
        "n_forwards": pa.array(made.spent.forward, pa.int32()),
        "n_backwards": pa.array(made.spent.backward, pa.int32()),
        "status": pa.array(made.status),
    })
    store.write_document(folder / "set.json", _manifest(context, bound, folder, shards))


def _manifest(
    context: Context, bound: BoundExplainer, root: Path, shards: Sequence[typed.SetShard]
) -> typed.Set:
    """The manifest set.json of maps that lie beside it."""
    task, n = context.task, len(context.task.items)
    return result.header(typed.Set) | {
        "set_id": set_id(context, bound), "kind": task.kind.id, "task": task.reference, "dataset": task.dataset,
        "model": vxp_schemas.reference(context.model.document), "system": result.system_digest(bound),
        "explainer": result.explainer(bound), "n_items": {"expected": n, "present": n}, "coverage": 1.0,
        "items": store.descriptor(root / "items.parquet", root, store.PARQUET, n), "shards": list(shards),
        "coordinate_frame": "model_input",
        "semantics": {"higher_means": "evidence_for" if bound.explainer.signed else "importance", "normalized": "none"},
        "quantization": "none", "randomness": {"seed": task.seed, "rule": "philox-per-item", "repeats": 1},
    }
