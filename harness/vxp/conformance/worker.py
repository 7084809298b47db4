"""`python -m vxp.conformance.worker`: this harness on the line protocol of the conformance vectors.

It reads what any implementation reads, the cases and their tensors, and never the expected values.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO

import safetensors.torch
import torch
import vxp_schemas
from torch import Tensor, nn

from vxp import models, stats
from vxp.conformance.messages import Asked, EditWords, Expected, Given, Item, Message, Network, Operation, Reference, StateWords
from vxp.core import (
    Batch,
    Blended,
    Call,
    Case,
    Compensated,
    Edit,
    Explain,
    Held,
    Noised,
    Normalization,
    Offset,
    Outcome,
    Randomised,
    Relabelled,
    Segment,
    State,
    Stream,
    Translated,
    Unchanged,
    VxpError,
)
from vxp.engine import Engine, Job
from vxp.errors import NotInstalledError
from vxp.kinds import KINDS
from vxp.metrics import Bound, bind, catalogue
from vxp.models.sequences import Scorer


@cache
def tensors(path: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(path)


def read(folder: Path, reference: Reference) -> Tensor:
    """The tensor that a reference names, with a dimension for the item in front."""
    return tensors(inside(folder, reference["file"]))[reference["tensor"]][None]


def inside(folder: Path, name: str) -> Path:
    """The file of this name; VxpError for one outside the folder, since vectors may come from a stranger."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise VxpError(f"the case names {name!r}, expected one inside the folder of the vectors")
    return path


def average_pool(grid: Sequence[int]) -> nn.Module:
    """Means over a grid of equal blocks, of rows x columns or of frames x rows x columns."""
    return nn.AdaptiveAvgPool2d(tuple(grid)) if len(grid) == 2 else nn.AdaptiveAvgPool3d(tuple(grid))


class Centre(nn.Module):
    """Every channel less its mean over the steps."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True)


LAYERS: Mapping[str, Callable[..., nn.Module]] = {"linear": nn.Linear, "conv1d": nn.Conv1d, "conv2d": nn.Conv2d,
                                                  "conv3d": nn.Conv3d}


@cache
def network(folder: Path, name: str) -> nn.Module:
    """The model of a case, from its list of operations."""
    described: Network = vxp_schemas.loads(inside(folder, name).read_bytes())
    weights = tensors(inside(folder, described["weights"]))
    module = nn.Sequential(*(_layer(operation, weights) for operation in described["operations"]))
    return (Scorer(module, "bdt") if described.get("output") == "sequence" else module).eval()


def _layer(operation: Operation, weights: Mapping[str, Tensor]) -> nn.Module:
    match operation["op"]:
        case "tanh":
            return nn.Tanh()
        case "centre":
            return Centre()
        case "flatten":
            return nn.Flatten()
        case "average-pool":
            return average_pool(operation["grid"])
        case "linear" | "conv1d" | "conv2d" | "conv3d" as kind:
            weight, bias = weights[operation["weight"]], weights[operation["bias"]]
            more = () if kind == "linear" else (weight.shape[2], operation["stride"], operation["padding"])
            layer = LAYERS[kind](weight.shape[1], weight.shape[0], *more)
            layer.load_state_dict({"weight": weight, "bias": bias})
            return layer
    raise VxpError(f"the vectors' model has the operation {operation['op']!r}, which this harness does not know")


def scored(asked: Asked, folder: Path) -> Expected:
    """Values and statuses of a case, every item alone, and the number of the set for a metric of the set."""
    wanted = bind((f"{asked['metric']}@{asked['version']}", asked["parameters"]))
    engine = Engine(network(folder, asked["model"]), relabelled=nn.Identity())
    found = [_item(engine, wanted, asked, item, folder) for item in asked["items"]]
    status = [outcome.status[0] for outcome in found]
    if wanted.metric.reduce is None:
        values = [float(o.values[0]) if o.status[0] == "ok" else None for o in found]
        curves = [None if o.curve is None or o.status[0] != "ok" else o.curve[0].tolist() for o in found]
        scores: Expected = {"values": values, "status": status, "set": None}
        if any(curves):
            scores["curves"] = curves
        return scores
    kept = [o.statistics for o in found if o.statistics is not None]
    summary = stats.set_summary(wanted.metric.reduce, torch.cat(kept), status, [item["cluster"] for item in asked["items"]],
                                range=wanted.metric.range, interval=False)
    return {"values": None, "status": status, "set": summary.get("mean")}


def _item(engine: Engine, wanted: Bound, asked: Asked, item: Item, folder: Path) -> Outcome:
    norm = Normalization(tuple(asked["normalization"]["mean"]), tuple(asked["normalization"]["std"]))
    batch = Batch((item["id"],), read(folder, item["input"]), torch.tensor([item["target"]]), norm, asked["seed"],
                  {key: read(folder, reference) for key, reference in item["truth"].items()}, (item["cluster"],),
                  {unit: read(folder, reference) for unit, reference in item.get("parts", {}).items()},
                  torch.tensor([item["labels"]], dtype=torch.int64) if item.get("labels") else None,
                  read(folder, item["segments"]) if "segments" in item else None,
                  torch.tensor([item["foil"]]) if "foil" in item else None, named=tuple(item.get("concepts", ())))
    kind = KINDS[item["kind"]] if "kind" in item else None
    case = Case(batch, read(folder, item["map"]), item["resample"], item["signed"], explained=kind)

    def replay(edit: Edit, call: Call, targets: Tensor) -> Tensor:
        for given in item["given"]:
            if _is(given, edit, call, int(targets[0])):
                return read(folder, given["answer"])
        # an item whose status map and truth decide has no answers, since it needs none; a number must not come of it
        labels = isinstance(call, Segment)
        return torch.zeros(1, *batch.space).long() if labels else torch.full_like(case.native, float("nan"))

    return engine.score(Job(case, (wanted,), replay=replay))[wanted.signature]


def _is(given: Given, edit: Edit, call: Call, target: int) -> bool:
    """Whether what is given answers this call."""
    if isinstance(call, Segment):
        return bool(given["call"] == "segment" and given["n"] == call.n)
    if given["call"] != "explain" or not isinstance(call, Explain):
        return False
    return bool(given["target"] == target and given["input"] == _edit(edit) and given["state"] == _state(call.state))


def _edit(edit: Edit) -> EditWords:
    """The protocol's words for an edit."""
    match edit:
        case Unchanged():
            return {"edit": "unchanged"}
        case Noised(Stream("max-sensitivity@1", "noise"), draw, radius):
            return {"edit": "noise", "draw": draw, "radius": radius}
        case Offset(amount):
            return {"edit": "offset", "amount": amount}
        case Translated(down, across, fill):
            return {"edit": "translation", "down": down, "across": across, "fill": fill}
        case Blended(Held(_, ("kept", 100, "soft", _)), fill):
            return {"edit": "masked", "keep": 100, "fill": fill}
    raise VxpError(f"the protocol has no words for {edit!r}")


def _state(state: State | None) -> StateWords | None:
    """The protocol's words for a state of the model."""
    match state:
        case Randomised(stream, mode, stage, stages):
            return {"state": "randomised", "stream": stream, "mode": mode, "stage": stage, "stages": stages}
        case Compensated(amount):
            return {"state": "compensated", "amount": amount}
        case Relabelled():
            return {"state": "relabelled"}
    return None


def answered(message: Asked, folder: Path) -> Message:
    """The answer to a case."""
    if message["metric"] not in catalogue():
        return {"op": "skipped", "id": message["id"], "reason": f"no metric is called {message['metric']!r}"}
    try:
        with models.evaluating(network(folder, message["model"])):
            return {"op": "result", "id": message["id"], **scored(message, folder)}
    except NotInstalledError as error:
        return {"op": "skipped", "id": message["id"], "reason": str(error)}
    except Exception as error:  # the driver reports it, and the next case goes on
        return {"op": "error", "id": message["id"], "message": f"{type(error).__name__}: {error}"}


def main(lines: IO[str] = sys.stdin, out: IO[str] = sys.stdout) -> None:
    """Answer messages until `stop` or the end of the stream."""
    torch.set_num_threads(1)
    folder = Path()
    for line in lines:
        message = vxp_schemas.loads(line.encode())
        if message["op"] == "stop":
            return
        if message["op"] == "start":
            folder = Path(message["vectors"])
            answer: Message = {"op": "started", "protocol": 1, "name": "vxp", "version": version("vxp"),
                                      "metrics": list(catalogue())}
        else:
            answer = answered(message, folder)
        out.write(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
