"""What makes a process wait for a GPU: counted without one, on tensors that have a device and a shape and no values.

PyTorch's fake tensors take every path that tensors of a GPU take. What needs a value of theirs raises, a copy to the CPU and
a copy from it that waits are counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from traceback import extract_stack
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from vxp import random
from vxp.core import (
    Batch,
    Blended,
    Case,
    Cell,
    Edit,
    Explain,
    Filled,
    Held,
    Noised,
    Offset,
    Order,
    Redrawn,
    Removed,
    Request,
    Scattered,
    SomeCells,
    Stream,
    Translated,
    Unchanged,
    Without,
    perturb,
)
from vxp.core.perturb import IMAGES
from vxp.engine import Engine, Job
from vxp.engine.again import Maps
from vxp.engine.building import Builder
from vxp.engine.rows import Rows
from vxp.engine.shorter import run
from vxp.media import RAW
from vxp.models import guard

aten = torch.ops.aten
LOOKS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default, aten.is_nonzero.default,
         aten.masked_select.default}
"""Operations whose result the process has to have."""


class Waits(TorchDispatchMode):
    """Keeps the lines that look at values, and that copy between devices and wait."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = operation(*args, **(kwargs or {}))
        waits = operation in LOOKS
        if operation in (aten._to_copy.default, aten.copy_.default):
            one, other = (args[1], args[0]) if operation is aten.copy_.default else (args[0], found)
            sent_ahead = other.device.type != "cpu" and ((kwargs or {}).get("non_blocking") or args[2:3] == (True,))
            waits = one.device.type != other.device.type and not sent_ahead
        if waits:
            self.lines.append(next(f"{frame.filename}:{frame.lineno} {frame.line}" for frame in reversed(extract_stack())
                                   if "/torch/" not in frame.filename and frame.name != "__torch_dispatch__"))
        return found


@pytest.fixture
def fake() -> Iterator[Waits]:
    """Tensors without values, and how often they are waited for."""
    with FakeTensorMode(), Waits() as waits:
        _forget()
        yield waits
    _forget()


def _forget() -> None:
    random.forget()
    perturb.cells.cache_clear()


def on_gpu(items: int, side: int = 16) -> Case:
    """A case on a GPU that need not be there, with an order by position and one by groups, a mask and an image."""
    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device="cuda")

    names = tuple(map(str, range(items)))
    batch = Batch(names, empty(items, 3, side, side), empty(items, dtype=torch.long), RAW)
    case = Case(batch, empty(items, side, side), "none")
    case.__dict__["key"] = "k"  # a digest of values
    case.orders[Held("k", "groups")] = Order(empty(items, side * side, dtype=torch.long), empty(items, 9, dtype=torch.long))
    case.masks[Held("k", "mask")] = empty(items, side, side)
    case.images[Held("k", "image")] = torch.empty(items, 3, side, side, dtype=torch.uint8)  # made on a CPU
    return case


def edits(n: int) -> list[Edit]:
    """Edits of every kind; of those that there can be many of, n. Squares are not among them: they are drawn on the CPU, in
    NumPy, which takes no fake tensor."""
    stream = Stream("m@1", "s")
    some: list[Edit] = [Unchanged(), *(Filled(fill) for fill in IMAGES), Blended(Held("k", "mask"), "black"),
                        Redrawn(Held("k", "image")), Translated(1, -2, "mean"), Offset(0.1)]
    for k in range(1, n + 1):
        some += [Removed(Held("k"), 0, k, "blur"), Removed(Held("k", "groups"), 0, k, "mean"), Noised(stream, k, 0.1)]
        some += [Without(part, "mean") for part in (Scattered(stream, k, 20), Cell(4, k), SomeCells(4, stream, k, 3))]
    return some


def net() -> nn.Module:
    there = {"device": "cuda"}
    return nn.Sequential(nn.Conv2d(3, 4, 3, **there), nn.BatchNorm2d(4, **there), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(4, 5, **there)).eval()


def test_what_waits_is_counted(fake: Waits) -> None:
    x = torch.zeros(3, device="cuda")
    for work, counted in (
        (lambda: x + 1, 0), (lambda: torch.ones(3).to("cuda", non_blocking=True), 0),
        (lambda: torch.tensor([1.0], device="cuda"), 1),
        (lambda: x.cpu(), 1), (lambda: x.to("cpu", non_blocking=True), 1), (lambda: x.copy_(torch.ones(3)), 1),
        (lambda: x[[0, 1]], 1),
    ):
        fake.lines.clear()
        work()
        assert len(fake.lines) == counted
    for look in (lambda: x[0].item(), lambda: x.nonzero(), lambda: x[x > 0], lambda: torch.equal(x, x), lambda: bool(x.any())):
        with pytest.raises(Exception, match="aten"):
            look()


@pytest.mark.parametrize(("items", "n", "size"), [(1, 1, 64), (2, 3, 64), (2, 3, 4), (2, 3, 1)])
def test_a_gpu_is_waited_for_once_a_round(items: int, n: int, size: int, fake: Waits) -> None:
    """Whatever the number of rows and of model batches; and once more for each kind of vectors."""
    case = on_gpu(items)
    engine = Engine(net(), size)
    rows = Rows(engine, case.batch, {})
    fake.lines.clear()  # a batch norm waits as it is made
    rows.fetch([Request(tuple(edits(n)))], {"k": case})
    assert engine.tally.run == items * len(edits(n))
    assert len(fake.lines) == 1, fake.lines
    stable = tuple(Noised(Stream("m@1", "v"), k, 0.1) for k in range(n))
    rows.fetch([Request(stable, readout=readout) for readout in ("output", "representation")], {"k": case})
    assert len(fake.lines) == 1 + 3, fake.lines
    assert rows.read(Request(stable, readout="representation")).shape == (items, n, 4)


@pytest.mark.parametrize(("n", "size"), [(1, 64), (4, 64), (4, 1)])
def test_maps_made_again_are_not_waited_for(n: int, size: int, fake: Waits) -> None:
    """Beside what the explainer itself looks at, and once a call, whether it left the model as it was."""
    case, stream = on_gpu(2), Stream("m@1", "s")
    maps = Maps(Engine(net(), size), case.batch)
    job = Job(case, (), lambda model, batch: batch.inputs.sum(1))
    request = Request(tuple(Noised(stream, k, 0.1) for k in range(n)), Explain(), "map")
    fake.lines.clear()
    maps.fetch(job, request)
    assert maps.read(request).shape == (2, n, 16, 16)
    assert not fake.lines


def test_frames_that_are_left_out_are_looked_at_once_an_order() -> None:
    counts = set()
    for size in (1, 3, 64):
        clips = torch.rand(2, 3, 4, 5, 6)
        batch = Batch(("a", "b"), clips, torch.zeros(2, dtype=torch.long))
        ranks = torch.tensor([2, 0, 3, 1]).repeat_interleave(30).expand(2, -1)
        order = Order(ranks.argsort(stable=True), torch.arange(0, 121, 30).expand(2, -1))
        case = Case(batch, clips[:, 0], "none")
        case.orders[Held(case.key, "frames")] = order
        left = [Removed(Held(case.key, "frames"), 0, k, "remove") for k in (1, 2, 3)]
        engine = Engine(nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten()), size)
        with Waits() as waits:
            run(engine, Builder(batch, {case.key: case}), left, None)
        counts.add(len(waits.lines))
    assert len(counts) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_real_gpu_is_waited_for_once_a_round() -> None:
    """As PyTorch itself tells."""
    real = Batch(("a", "b"), torch.rand(2, 3, 16, 16), torch.zeros(2, dtype=torch.long)).to("cuda")
    case = Case(real, torch.rand(2, 16, 16, device="cuda"), "none")
    stream = Stream("m@1", "s")
    wanted = [Unchanged(), *(Filled(fill) for fill in IMAGES), *(
        edit for k in range(1, 6) for edit in (Removed(case.ranked, 0, k, "mean"), Noised(stream, k, 0.1),
                                               Without(Scattered(stream, k, 20), "mean")))]
    for size in (1, 4, 64):
        rows = Rows(Engine(net(), size), real, {})
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                rows.fetch([Request(tuple(wanted))], {case.key: case})
            finally:
                torch.cuda.set_sync_debug_mode("default")
        assert sum("synchroniz" in str(one.message) for one in said) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_changes_a_model_on_a_gpu_is_found_and_undone() -> None:
    model = net()
    weight = model.get_parameter("0.weight")
    before = weight.detach().clone()
    with guard.kept(model, "cuda") as changed:
        weight.data[0, 0, 0, 0] += 1
        model.get_buffer("1.running_mean").data = torch.full((4,), float("nan"), device="cuda")
    assert changed == ["0.weight", "1.running_mean"]
    assert torch.equal(weight, before)
