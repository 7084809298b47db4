"""`python -m vxp.runs.explain_worker`: an explainer in a process of its own, for who compares its maps with others (12.6.3).

It is given a model, an explainer and inputs, and gives maps; where other maps of the inputs lie, and what becomes of its own,
it is not told. A message is a line of JSON and as many bytes of safetensors as its field `bytes` says.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, BinaryIO, TypedDict

import safetensors.torch
import torch
from torch import Tensor
from vxp_schemas import typed

from vxp import explainers, models
from vxp.core import Bank, Batch, Compensated, Normalization, NotExplainedError, Randomised, Relabelled, State, VxpError
from vxp.engine import Engine, Precision
from vxp.explainers import BoundExplainer
from vxp.kinds import KINDS
from vxp.machine import computing
from vxp.runs import result

LONGEST = 1 << 20
"""Bytes of a line."""
STATES: Mapping[str, type[State]] = {kind.__name__: kind for kind in (Randomised, Compensated, Relabelled)}
RAISED: Mapping[str, type[Exception]] = {
    "memory": torch.OutOfMemoryError, "vxp": VxpError, "not-explained": NotExplainedError}
"""Exceptions that mean something to whoever asked."""


Message = Mapping[str, Any]
"""A line: one of the following, or whatever the process of an explainer says."""


class Order(TypedDict):
    """What is asked for first: which explainer, how set, of which model, computed how."""

    explainer: str
    parameters: typed.Parameters
    model: str
    device: str
    precision: Precision
    threads: int


class Asked(TypedDict):
    """The facts of a batch beside its tensors; kind: what explanations are made; concepts: the names of those of the bank, and
    whether its examples are pairs; named: what truths list; state: the model's kind of state and what that kind is told by."""

    kind: typed.ExplanationKind
    concepts: tuple[Sequence[str], bool] | None
    named: Sequence[str]
    ids: Sequence[str]
    clusters: Sequence[str]
    seed: int
    normalization: Mapping[str, Sequence[float]]
    state: Message | None


class Failure(TypedDict):
    """What an explainer raised: a key of RAISED or `failed`, why, and the code of what was not explained."""

    error: str
    why: str
    code: str


class ExplainerError(Exception):
    """What the code of an explainer raised in its process."""


def send(stream: BinaryIO, said: Message | Order | Asked | Failure, tensors: Mapping[str, Tensor] | None = None) -> None:
    """Write a message."""
    data = b"" if tensors is None else safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
    stream.write(json.dumps({**said, "bytes": len(data)}).encode() + b"\n" + data)
    stream.flush()


def receive(stream: BinaryIO, limit: int) -> tuple[Any, dict[str, Tensor]]:
    """Read a message whose tensors take at most `limit` bytes. EOFError where there is none; VxpError for anything else."""
    line = stream.readline(LONGEST)
    if not line:
        raise EOFError
    try:
        said = json.loads(line)
        size = said["bytes"]
        if type(size) is not int or not 0 <= size <= limit:
            raise VxpError(f"got {size!r} bytes of tensors, expected at most {limit}")
        data = stream.read(size)
        return said, safetensors.torch.load(data) if size else {}
    except (ValueError, TypeError, KeyError, RecursionError, safetensors.SafetensorError) as error:
        raise VxpError(f"a message that cannot be read: {type(error).__name__}") from None


def batch_message(batch: Batch, state: State | None, kind: typed.ExplanationKind) -> tuple[Asked, dict[str, Tensor]]:
    """The message that asks for the explanations of a batch, of this kind, by the model in this state."""
    said: Asked = {
        "kind": kind, "concepts": None if batch.bank is None else (batch.bank.names, batch.bank.paired),
        "named": batch.named,
        "ids": batch.ids, "clusters": batch.clusters, "seed": batch.seed, "normalization": asdict(batch.normalization),
        "state": None if state is None else {"kind": type(state).__name__, **asdict(state)}}
    tensors = {"inputs": batch.inputs, "targets": batch.targets, **{f"truth/{k}": v for k, v in batch.truth.items()},
               **{f"parts/{unit}": of for unit, of in batch.parts.items()}}
    optional = {"foils": batch.foils, "segments": batch.segments, "rates": batch.rates}
    tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
    if batch.bank is not None:
        known = {"on": batch.bank.on, "off": batch.bank.off, "values": batch.bank.values, "labels": batch.bank.labels}
        tensors |= {f"bank/{name}": tensor for name, tensor in known.items() if tensor is not None}
    return said, tensors


def _batch(said: Asked, tensors: Mapping[str, Tensor]) -> Batch:
    normalization = Normalization(**{k: tuple(v) for k, v in said["normalization"].items()})
    truth, parts = ({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
                    for prefix in ("truth/", "parts/"))
    bank = None
    if said["concepts"] is not None:
        names, paired = said["concepts"]
        bank = Bank(tuple(names), tensors["bank/on"], tensors["bank/off"], paired, tensors.get("bank/values"),
                    tensors.get("bank/labels"))
    return Batch(tuple(said["ids"]), tensors["inputs"], tensors["targets"], normalization, said["seed"], truth,
                 tuple(said["clusters"]), parts, None, tensors.get("segments"), tensors.get("foils"), bank,
                 tuple(said["named"]), tensors.get("rates"))


def _state(said: Message | None) -> State | None:
    return None if said is None else STATES[said["kind"]](**{k: v for k, v in said.items() if k != "kind"})


def bound_as(head: str, stated: typed.Parameters) -> BoundExplainer:
    """The explainer that somebody named, at the parameters that a bundle states; VxpError where one of those names a file."""
    bound = explainers.bind(head)
    if "|" in head:
        return bound
    # values from the bundle are checked by type like any that somebody types
    shared = {k: v for k, v in stated.items() if k in bound.parameters and v != bound.parameters[k]}
    file = next((k for k, v in shared.items() if isinstance(v, str) and ("/" in v or "\\" in v)), None)
    if file is not None:  # it would be opened on this machine
        raise VxpError(f"the bundle's parameter {file}:{shared[file]} names a file: give the file that you trust with "
                       f"--regenerate '{head}|{file}:FILE'")
    return explainers.bind(head, shared)


def _served(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer until nothing more is asked."""
    order: Order
    order, _ = receive(asked, 0)
    try:
        bound = bound_as(order["explainer"], order["parameters"])
        model = models.load(order["model"], device=order["device"])
        engine = Engine(model.module, 1, order["precision"], relabelled=models.relabelled(model.id, order["device"]))
        send(answers, {"system": result.system(bound), "id": bound.id})
    except Exception as error:
        send(answers, _said(error))
        return
    with computing(order["threads"]):
        while True:
            said, tensors = receive(asked, sys.maxsize)
            batch = _batch(said, tensors).to(order["device"])
            try:
                with engine.arithmetic(batch.inputs.device):
                    maps = replace(bound, kind=KINDS[said["kind"]])(engine.state(_state(said["state"]), batch.seed), batch)
                send(answers, {}, {"maps": maps})
            except Exception as error:  # whatever the explainer's code does is its answer
                send(answers, _said(error))


def _said(error: Exception) -> Failure:
    """An exception as a message, which `raised` raises on the other side."""
    kind = next((name for name, types in RAISED.items() if isinstance(error, types)), "failed")
    why = str(error) if kind != "failed" else f"{type(error).__name__}: {error}"
    return {"error": kind, "why": why[:2000], "code": error.code if isinstance(error, NotExplainedError) else ""}


def raised(said: Message) -> None:
    """Raise what a message says that the explainer raised; nothing where it says nothing."""
    why = str(said.get("why"))[:2000]
    match said.get("error"):
        case None:
            return
        case "memory":
            raise torch.OutOfMemoryError(why)
        case "vxp":
            raise VxpError(why)
        case "not-explained":
            raise NotExplainedError(str(said.get("code")), why)
        case _:
            raise ExplainerError(why)


def main() -> None:
    # what an explainer prints goes to standard error, and not among the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with contextlib.suppress(EOFError, BrokenPipeError):
        _served(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
