"""Count what an explainer costs: rows sent forward and backward through the model."""

from __future__ import annotations

from types import TracebackType

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vxp.models.clips import ByFrames


class Passes:
    """Counts rows forwarded, by a hook on the module, and rows backwarded, by hooks on its outputs.

    with Passes(model) as passes: ...; then passes.forward, passes.backward. Every backward pass through an output
    counts its rows once. Frames that a model sees one by one, where only some of a clip change, count as the share of a clip
    that they are; frames: how many one has. All hooks are gone afterwards, also after an exception; outputs that outlive the
    block are not counted any more.
    """

    def __init__(self, model: nn.Module, frames: int = 1) -> None:
        self.model, self.frames, self.whole, self.single, self.backward = model, frames, 0, 0, 0
        self._handles: list[RemovableHandle] = []

    @property
    def forward(self) -> int:
        """Rows forwarded; a last part of a clip counts as one."""
        # those of whole clips were seen frame by frame too
        alone = self.single - self.whole * self.frames if isinstance(self.model, ByFrames) else 0
        return self.whole + -(-max(alone, 0) // self.frames)

    def __enter__(self) -> Passes:
        self._handles.append(self.model.register_forward_hook(self._seen))
        if isinstance(self.model, ByFrames):
            self._handles.append(self.model.by_frame.register_forward_hook(self._seen_alone))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _seen(self, module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            return
        rows = len(output)
        self.whole += rows
        if output.requires_grad:
            self._handles.append(output.register_hook(lambda gradient: self._returned(rows)))

    def _seen_alone(self, module: nn.Module, inputs: object, output: object) -> None:
        self.single += len(output) if isinstance(output, Tensor) else 0

    def _returned(self, rows: int) -> None:
        self.backward += rows
