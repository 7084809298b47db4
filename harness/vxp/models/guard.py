"""An explainer runs strangers' code on the model that everything after it is scored with. Whatever it leaves changed is found
and undone: one that forgot the model in train mode would change the scores of every explainer of its run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PROCESS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "torch.backends.cudnn.benchmark": (lambda: torch.backends.cudnn.benchmark,
                                       lambda on: setattr(torch.backends.cudnn, "benchmark", on)),
    "torch.backends.cudnn.deterministic": (lambda: torch.backends.cudnn.deterministic,
                                           lambda on: setattr(torch.backends.cudnn, "deterministic", on)),
    "torch's precision of float32 products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
}
"""What of the process decides the numbers of a forward pass: how it is read and how it is set."""


@contextmanager
def kept(model: nn.Module, device: str = "cpu") -> Iterator[list[str]]:
    """Model, process and global generators as before on exit; yields a list that then names what had been changed.

    Compared are train mode, weights and buffers bit by bit, hooks, the modules themselves and PROCESS. Undone without a word
    are gradients, `requires_grad` and what was drawn from global generators, which change no output.
    """
    changed: list[str] = []
    process = {name: read() for name, (read, _) in PROCESS.items()}
    modules = [_Module(name, module) for name, module in model.named_modules()]
    tensors = [_Values(name, tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())]
    try:
        with generators(device):
            yield changed
    finally:
        for name, (read, write) in PROCESS.items():
            if read() != process[name]:
                changed.append(name)
                write(process[name])
        for module in modules:
            changed += module.restored()
        changed += [values.name for values, same in zip(tensors, _unchanged(tensors), strict=True) if values.restored(same)]


@contextmanager
def generators(device: str) -> Iterator[None]:
    """The global generators of Python, NumPy and PyTorch, afterwards as before."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class _Module:
    """One module as it was: its mode, and its tables of parameters, buffers, children and hooks."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name or "the model", module
        self.training, self.forward = module.training, module.__dict__.get("forward")
        self.tables = {key: dict(table) for key, table in vars(module).items() if key[0] == "_" and isinstance(table, dict)}

    def restored(self) -> list[str]:
        """Undo what was changed, and name it."""
        module, said = self.module, []
        if module.training != self.training:
            said.append(f"{self.name} in {'train' if module.training else 'eval'} mode")
            module.training = self.training
        if module.__dict__.get("forward") is not self.forward:
            said.append(f"{self.name}.forward")
            module.__dict__.pop("forward")
            if self.forward is not None:
                module.__dict__["forward"] = self.forward
        for key, before in self.tables.items():
            table = vars(module)[key]
            if list(table) != list(before) or any(table[name] is not value for name, value in before.items()):
                said.append(f"{self.name}{key.replace('_', ' ').rstrip()}")
                table.clear()
                table.update(before)
        return said


class _Values:
    """The bits of one tensor, its gradient and whether it wants one."""

    def __init__(self, name: str, tensor: Tensor) -> None:
        self.name, self.tensor, self.values = name, tensor, tensor.detach().clone()
        self.gradient, self.wanted = tensor.grad if tensor.is_leaf else None, tensor.requires_grad
        if tensor.is_leaf:
            tensor.grad = None  # some packages call backward(), which adds to what is there

    @property
    def alike(self) -> bool:
        """Whether the tensor has the form and the place that it had."""
        now, before = self.tensor, self.values
        return (now.shape, now.dtype, now.device) == (before.shape, before.dtype, before.device)

    def restored(self, same: bool) -> bool:
        """Undo what was changed; whether a bit of the values was, which are the same or not."""
        tensor = self.tensor
        if tensor.is_leaf:
            tensor.requires_grad_(self.wanted)
            tensor.grad = self.gradient
        if not same:
            tensor.data = self.values
        return not same


def _unchanged(tensors: Sequence[_Values]) -> list[bool]:
    """Whether each has the values that it had. A GPU is waited for once, not for every tensor."""
    there = [n for n, values in enumerate(tensors) if values.alike and values.tensor.device.type != "cpu"]
    equal = [(tensors[n].tensor.detach() == tensors[n].values).all() for n in there]
    known = {n for n, same in zip(there, torch.stack(equal).tolist() if equal else [], strict=True) if same}
    return [n in known or (values.alike and _same(values.tensor.detach(), values.values)) for n, values in enumerate(tensors)]


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of a shape and dtype are equal, NaN to NaN."""
    return torch.equal(a, b) or (a.is_floating_point() and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True))


__all__ = ["generators", "kept"]
