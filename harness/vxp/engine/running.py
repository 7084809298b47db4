"""The model of a run: its forward passes in batches that fit, its precision, and its copies in other states."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vxp import clock, models, outputs
from vxp.core import Compensated, Randomised, Relabelled, State, VxpError
from vxp.core.segments import slic
from vxp.engine.batches import MEMORY, fitting
from vxp.engine.jobs import SegmentCall, Tally
from vxp.models.clips import ByFrames
from vxp.outputs import Output

log = logging.getLogger("vxp")

Precision = Literal["fp32", "tf32", "bf16"]

COPIES = 2 * 1024**3
"""Bytes of model copies that are kept; beyond, the oldest is made again when it is needed."""


@dataclass(eq=False)
class Runner:
    """Runs one model. `rows` is called with the number of rows after every model batch (progress).

    relabelled is the model of the same architecture trained on permuted labels, where there is one; segment cuts the
    images of a batch into about n regions, labels [B, H, W]. A model batch has at most batch_size rows and `memory` bytes of
    rows; what the model needs for them is its own.
    """

    model: nn.Module
    batch_size: int = 16
    precision: Precision = "fp32"
    rows: Callable[[int], None] = lambda n: None
    tally: Tally = field(default_factory=Tally)
    classes: int | None = None  # K of the model, once it has been run
    relabelled: nn.Module | None = None
    segment: SegmentCall = slic
    memory: int = MEMORY
    compile: bool = False
    kept: dict[tuple[str, ...], Tensor] = field(default_factory=dict)  # vectors [M, D] of frames (vxp.engine.frames)
    _compiled: dict[nn.Module, Callable[[Tensor], Any]] = field(default_factory=dict)
    _copies: dict[tuple[State, int], nn.Module] = field(default_factory=dict)

    @clock.stage("model")
    def predict(self, inputs: Tensor, *, watched: bool = False) -> Tensor:
        """What the model says of inputs, [N, K] float32 (logits, scores), without gradients; VxpError for a wrong shape.
        watched: modules of the model have hooks now, which a compiled model does not call."""
        with torch.no_grad(), self.arithmetic(inputs.device):
            found = self.model(inputs) if watched else self.forward(inputs)
            logits = self.output.checked(found, inputs).float()
        self.classes = logits.shape[1]
        if isinstance(self.model, ByFrames) and inputs.ndim == 5:
            self.tally.frames += len(inputs) * inputs.shape[2]
        return logits

    @clock.stage("model")
    def by_frame(self, frames: Tensor) -> Tensor:
        """The vectors [N, D] of frames [N, C, H, W], in the model's own type, of a model that looks at every frame by
        itself."""
        assert isinstance(self.model, ByFrames)
        with torch.no_grad(), self.arithmetic(frames.device):
            found: Tensor = self.forward(frames, self.model.by_frame)
        self.tally.frames += len(frames)
        return found

    @cached_property
    def output(self) -> Output:
        """What the model says."""
        return outputs.of(self.model)

    def forward(self, inputs: Tensor, module: nn.Module | None = None) -> Any:
        """What the model, or a module of it, returns, through torch.compile where that was asked for; VxpError where it does
        not compile."""
        module = module or self.model
        if not self.compile:
            return module(inputs)
        try:
            if module not in self._compiled:
                self._compiled[module] = torch.compile(module)
            return self._compiled[module](inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            if isinstance(lack := getattr(error, "inner_exception", None), torch.OutOfMemoryError):
                raise lack from error
            raise VxpError(f"--compile: torch.compile does not compile this model on this machine ({type(error).__name__}: "
                           f"{' '.join(str(error).split())[:300]}): leave --compile out") from error

    @contextlib.contextmanager
    def batches(self, device: torch.device) -> Iterator[None]:
        """Many model batches: weights that bf16 rounds are rounded once. Between the batches no arithmetic is changed."""
        # a cache that lasts as long as the outermost autocast does
        with torch.autocast(device.type, enabled=False):
            yield

    def fitting(self, inputs: Tensor) -> int:
        """The batch size for rows like inputs [N, C, *space], which from here on is at most what the memory holds; VxpError
        where it holds no row."""
        most = fitting(inputs[0], self.memory)
        if most < self.batch_size:
            log.info("the memory for rows holds %d, fewer than the batch size %d", most, self.batch_size)
            self.batch_size = most
        return self.batch_size

    def halved(self, size: int) -> int:
        """Half of a batch size that memory did not suffice for; everything after runs with it. VxpError for one row."""
        if size == 1:
            raise VxpError("out of memory with one row at a time: use a smaller model or input, or another device")
        self.batch_size = size // 2
        log.warning("out of memory at batch size %d; going on with %d", size, size // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return size // 2

    def state(self, state: State | None, seed: int) -> nn.Module:
        """The model in this state; VxpError where it needs a model that was not given."""
        if state is None:
            return self.model
        if isinstance(state, Relabelled):
            if self.relabelled is None:
                raise VxpError("a metric needs the model trained on permuted labels, and none was given: pass relabelled= "
                               "(a module of the same architecture), or leave the metric out")
            return self.relabelled
        if (state, seed) not in self._copies:
            size = sum(p.numel() * p.element_size() for p in self.model.parameters())
            while self._copies and (len(self._copies) + 1) * size > COPIES:
                del self._copies[next(iter(self._copies))]
            self._copies[state, seed] = _copy_of(self.model, state, seed)
        return self._copies[state, seed]

    def state_of(self, module: nn.Module) -> State | None:
        """The state that a module of `state` is in; VxpError for a module of others."""
        if module is self.model:
            return None
        if module is self.relabelled:
            return Relabelled()
        for (state, _), copy in self._copies.items():
            if copy is module:
                return state
        raise VxpError("the module is none that this engine made: expected its model or a copy of it")

    @contextlib.contextmanager
    def arithmetic(self, device: torch.device) -> Iterator[None]:
        """The declared precision, and the global switches as they were afterwards."""
        before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _copy_of(model: nn.Module, state: Randomised | Compensated, seed: int) -> nn.Module:
    if isinstance(state, Compensated):
        return models.compensated(model, state.amount)
    return models.randomised(model, state.stream, seed, mode=state.mode, stage=state.stage, stages=state.stages)


__all__ = ["COPIES", "Precision", "Runner"]
