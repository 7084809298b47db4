"""Count what an explainer costs: rows sent forward and backward through the model."""

from __future__ import annotations

from types import TracebackType

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Passes:
    """Counts rows forwarded, by a hook on the module, and rows backwarded, by hooks on its outputs.

    with Passes(model) as passes: ...; then passes.forward, passes.backward. Every backward pass through an output
    counts its rows once. All hooks are gone afterwards, also after an exception; outputs that outlive the block are
    not counted any more.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.forward, self.backward = model, 0, 0
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Passes:
        self._handles.append(self.model.register_forward_hook(self._seen))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _seen(self, module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            return
        rows = len(output)
        self.forward += rows
        if output.requires_grad:
            self._handles.append(output.register_hook(lambda gradient: self._returned(rows)))

    def _returned(self, rows: int) -> None:
        self.backward += rows
