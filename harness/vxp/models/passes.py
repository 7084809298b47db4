"""Count what an explainer costs: rows sent forward and backward through the model."""

from __future__ import annotations

from types import TracebackType

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Passes:
    """Counts rows forwarded, by a hook on the module, and rows backwarded, by hooks on its outputs.

    with Passes(model) as passes: ...; then passes.forward, passes.backward. The hooks are gone afterwards, also after
    an exception.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.forward, self.backward = model, 0, 0
        self._handle: RemovableHandle | None = None

    def __enter__(self) -> Passes:
        self._handle = self.model.register_forward_hook(self._seen)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._handle is not None:
            self._handle.remove()

    def _seen(self, module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            return
        rows = len(output)
        self.forward += rows
        if output.requires_grad:
            output.register_hook(lambda gradient: self._returned(rows))

    def _returned(self, rows: int) -> None:
        self.backward += rows
