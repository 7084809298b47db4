"""What every measurement needs: a near-free model, the bound's plain passes, pairs of timings."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vxp.core import Batch, Case, explainer
from vxp.engine import Engine, Job
from vxp.explainers import bind as bind_explainer
from vxp.metrics import Bound

PAIRS = 9
"""Alternating measurements behind every ratio."""
class NearFree(nn.Module):
    """A model whose forward pass costs next to nothing, so that what is left is the harness's own cost."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 14 * 14, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x[:, :, 8::16, 8::16].flatten(1))
        return logits


@explainer("gradient", signed=True, needs=("gradients",), passes=2)
def gradient(model: nn.Module, batch: Batch) -> Tensor:
    """The plain gradient, summed over channels: one forward and one backward pass, the bound of re-explaining."""
    x = batch.inputs.detach().requires_grad_()
    with torch.enable_grad():
        picked = model(x).gather(1, batch.targets[:, None]).sum()
        return torch.autograd.grad(picked, x)[0].sum(1)


@dataclass(frozen=True)
class Line:
    """One figure: what was measured, the value, its goal, and whether lower is better."""

    group: str
    what: str
    value: float
    unit: str
    goal: str = ""
    note: str = ""


def photo_like(size: tuple[int, int], items: int, device: str) -> Batch:
    """Smooth random images: imputation and sorting cost what they cost on photos."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(items, 3, 16, 16, generator=generator)
    raw = nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)
    raw = (raw + 0.05 * torch.rand(raw.shape, generator=generator)).clamp(0, 1)
    return Batch(tuple(map(str, range(items))), raw.to(device), torch.zeros(items, dtype=torch.long, device=device))


def case_of(batch: Batch) -> Case:
    generator = torch.Generator().manual_seed(1)
    return Case(batch, torch.rand(len(batch), 14, 14, generator=generator).to(batch.inputs.device))


def seconds(work: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    work()
    return time.process_time() - start


def paired(work: Callable[[], object], bound: Callable[[], object], device: str, pairs: int = PAIRS) -> tuple[float, float]:
    """Median ratio work/bound over alternating pairs, and the median difference in seconds."""
    work()
    bound()
    measured = [(seconds(work, device), seconds(bound, device)) for _ in range(pairs)]
    return statistics.median(a / b for a, b in measured), statistics.median(a - b for a, b in measured)


def rows_of(model: nn.Module, case: Case, bound: Bound) -> tuple[int, int]:
    """Rows that run forward only, and maps made again, forward and backward."""
    engine = Engine(model, 64)
    engine.score(Job(case, (bound,), bind_explainer(gradient)))
    return engine.tally.run, engine.tally.explained


def scored(model: nn.Module, size: int, job: Job) -> None:
    Engine(model, size).score(job)


def plain(model: Callable[[Tensor], object], inputs: Tensor, rows: int) -> None:
    """The bound: this many rows through the model in batches, with nothing around it."""
    with torch.no_grad():
        for start in range(0, rows, len(inputs)):
            model(inputs[: min(len(inputs), rows - start)])


def plain_gradient(model: nn.Module, inputs: Tensor, rows: int) -> None:
    """The bound where maps are made again: this many forward and backward passes."""
    for start in range(0, rows, len(inputs)):
        x = inputs[: min(len(inputs), rows - start)].detach().requires_grad_()
        torch.autograd.grad(model(x)[:, 0].sum(), x)


def per_map(work: Callable[[], object], device: str, maps: int = 8) -> float:
    work()
    return 1000 * statistics.median(seconds(work, device) for _ in range(9)) / maps
