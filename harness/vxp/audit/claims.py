"""Results of a bundle with what is needed to compute them again, each file read once and held to its digest."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import vxp_schemas
from torch import Tensor
from vxp_schemas import typed

from vxp import models, tasks
from vxp.audit.statement import Order
from vxp.bundles import Bundle
from vxp.core import VxpError
from vxp.documents import Taken
from vxp.kinds import KINDS, Kind
from vxp.models import Model
from vxp.runs import commands
from vxp.runs.context import UNIT
from vxp.tasks import Task
from vxp.validation import arrays

T = TypeVar("T")


class ChangedError(VxpError):
    """A file is no longer the one that was validated."""

    def __init__(self, root: Path, path: str, why: str = "its bytes are not those that the root digest binds") -> None:
        super().__init__(f"{root} changed while it was checked: {path}: {why}. Copy it to a place where nobody writes, and "
                         "verify it there")


def held(bundle: Bundle, described: typed.Descriptor, folder: str = "") -> bytes:
    """The bytes of a file, read once and compared with the digest that binds it before anything is made of them: the
    validation read them in a process of its own, and since then another file may lie there. ChangedError for another."""
    path = f"{folder}/{described['path']}" if folder else str(described["path"])
    try:
        return bundle.described({**described, "path": path})
    except VxpError as error:
        raise ChangedError(bundle.root, path, str(error)) from None


def read_document(bundle: Bundle, path: str, data: bytes, kind: type[T]) -> T:
    try:
        return vxp_schemas.valid(vxp_schemas.loads(data), kind)
    except vxp_schemas.SchemaError as error:
        raise VxpError(f"{bundle.root}: {path}: {error}") from None


def bound_document(bundle: Bundle, described: typed.Descriptor, kind: type[T]) -> T:
    """The document that a descriptor binds."""
    return read_document(bundle, described["path"], held(bundle, described), kind)


@dataclass(eq=False)
class Claim:
    """One result of the bundle with what is needed to compute it again."""

    document: typed.Result
    manifest: typed.Set
    folder: str
    items: arrays.Table
    samples: arrays.Table
    task: Task
    model: Model
    source: str
    """What the model was loaded by."""
    bundle: Bundle

    @property
    def name(self) -> str:
        return str(self.document["result_id"])

    @property
    def kind(self) -> Kind:
        """What its explanations are."""
        return KINDS[self.manifest["kind"]]

    def together(self, rows: Sequence[int]) -> Iterator[Sequence[int]]:
        """These rows in units of items of one size."""
        some = dataclasses.replace(self.task, items=tuple(self.task.items[i] for i in rows))
        for start, stop in some.runs_alike(0, len(rows)):
            yield from (rows[first : min(first + UNIT, stop)] for first in range(start, stop, UNIT))

    def maps(self, rows: Sequence[int]) -> Tensor:
        """The stored maps of these rows, read from their places. The table of items, which is in memory, binds each
        by its digest, so that no shard has to be held: ChangedError where bytes have another."""
        places = [(int(self.items["shard"][i]), int(self.items["shard_row"][i])) for i in rows]
        found: dict[int, np.ndarray] = {}
        for number in sorted({shard for shard, _ in places}):
            path = f"{self.folder}/{self.manifest['shards'][number]['descriptor']['path']}"
            facts = self.manifest["shards"][number]["tensors"]["values"]
            dtype, shape = arrays.DTYPES[facts["dtype"]], facts["shape"][1:]
            size = dtype.itemsize * math.prod(shape)
            try:
                with self.bundle.stream(path) as stream:
                    start = arrays.tensors(stream, self.bundle.size(path))["values"].start
                    for i, (shard, row) in zip(rows, places, strict=True):
                        if shard == number:
                            stream.seek(start + row * size)
                            data = stream.read(size)
                            if hashlib.sha256(data).digest() != self.items["payload_digest"][i]:
                                raise VxpError(f"the map of row {i} is not the one that items.parquet binds")
                            found[i] = np.frombuffer(data, dtype).reshape(shape)
            except (arrays.Malformed, KeyError, VxpError) as error:
                raise ChangedError(self.bundle.root, path, str(error)) from None
        return torch.from_numpy(np.stack([found[i] for i in rows])).to(self.kind.dtype)


def table(data: bytes, columns: Mapping[str, str]) -> arrays.Table:
    return arrays.table(io.BytesIO(data), len(data), columns, None)


def own_task(
    bundle: Bundle, submission: typed.Submission, described: typed.Descriptor,
) -> typed.Task | None:
    """The document of a task that the registry does not have, which lies beside the result."""
    path = f"{described['path'].rpartition('/')[0]}/task.json"
    return next((bound_document(bundle, d, typed.Task) for d in submission["documents"] if d["path"] == path), None)


def task_of(
    order: Order, own: typed.Task | None, document: typed.Result,
) -> tuple[Task, Model, str]:
    """Task and model of this machine that have the digests of the result, and the name that the model was loaded by."""
    name = f"{document['task']['id']}@{document['task']['version']}"
    given = commands.Own(order.images, order.clips, order.features)
    if given:
        task, model = commands.own_task(given, order.model, order.device)
        source = str(order.model) if order.clips is None else models.settled(str(order.model), model)
        if own is not None and own["dataset"]["digest"] == task.dataset["digest"]:
            task = dataclasses.replace(task, document=own)  # the same images or clips in a folder of another name
    else:
        task = tasks.load(name, model=order.model, data=order.data)
        source = task.model
        model = models.load(source, device=order.device)
    task = task.only(Taken.of(document["settings"]))
    for what, here, there in (("task", task.reference, document["task"]),
                              ("model", vxp_schemas.reference(model.document), document["model"])):
        if here != there:
            raise VxpError(f"the {what} here is {here['id']}@{here['version']} {here['digest'][:19]}..., and the result is of "
                           f"{there['id']}@{there['version']} {there['digest'][:19]}...")
    return task, model, source
