"""Explainers of other libraries, as they are: objects of captum and of pytorch-grad-cam, and functions of the form
(model, inputs, targets, ...), as Quantus has them.

Each becomes an explainer (model, batch) -> maps. The metrics of sanity explain other models than the one that the object was
made for, copies with other weights: it is then remade for the copy, and an object that cannot be is refused, since its answers
would be those of the wrong model.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vxp import kinds
from vxp.core import Batch, Explainer, VxpError, doors

Asked = Callable[[nn.Module, Batch], object]


def adapted(request: Any, model: nn.Module, pool: str | None = None) -> Any:
    """What `vxp.explainers.bind` takes, for what was made for `model`; names and declared explainers as they are."""
    if isinstance(request, str | Explainer):
        return request
    if _is_captum(request):
        return _explainer(request, _captum(request, model), pool, signed=True)
    if _is_grad_cam(request):
        return _explainer(request, _grad_cam(request, model), pool, signed=False)
    if not callable(request):
        return request
    if {"inputs", "targets"} <= _parameters(request):
        return _explainer(request, _of_arrays(request), pool, signed=True)

    @functools.wraps(request)
    def explain(module: nn.Module, batch: Batch, **parameters: Any) -> Tensor:
        return _mapped(request(module, batch, **parameters), request, batch, pool)

    return explain


@contextlib.contextmanager
def at_rest(request: object) -> Iterator[None]:
    """The hooks of a pytorch-grad-cam object off: they would keep the activations of every row that the model is run on."""
    held: list[tuple[Any, int, Any]] = []
    if _is_grad_cam(request):
        for handle in request.activations_and_grads.handles:  # type: ignore[attr-defined]
            hooks = handle.hooks_dict_ref()
            if hooks is not None and handle.id in hooks:
                held.append((hooks, handle.id, hooks.pop(handle.id)))
    try:
        yield
    finally:
        for hooks, number, hook in held:
            hooks[number] = hook


def _is_captum(request: object) -> bool:
    return callable(getattr(request, "attribute", None))


def _is_grad_cam(request: object) -> bool:
    return hasattr(request, "target_layers") and hasattr(request, "activations_and_grads")


def _parameters(function: Any) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some callables have no signature to read
        return set()


def _explainer(tool: object, asked: Asked, pool: str | None, *, signed: bool) -> Explainer:
    function = tool.func if isinstance(tool, functools.partial) else tool
    name = getattr(function, "__name__", type(function).__name__).replace("_", "-").lower()

    def explain(module: nn.Module, batch: Batch) -> Tensor:
        return _mapped(asked(module, batch), tool, batch, pool)

    return Explainer(name, explain, {}, signed=signed, kinds=kinds.MAPS)


def _mapped(found: object, tool: object, batch: Batch, pool: str | None) -> Tensor:
    name = getattr(tool, "__name__", type(tool).__name__)
    return doors.maps(found, len(batch), pool, name=f"the maps of {name}", kind=kinds.of_map(batch.medium, len(batch.space)))


def _captum(tool: Any, model: nn.Module) -> Asked:

    def explain(module: nn.Module, batch: Batch) -> object:
        asked = tool if module is model else copy.deepcopy(tool, _counterparts(model, module))
        with _ran(module, type(tool).__name__), torch.enable_grad():
            return asked.attribute(batch.inputs.detach().clone().requires_grad_(), target=batch.targets)

    return explain


def _counterparts(model: nn.Module, module: nn.Module) -> dict[int, Any]:
    """What takes the place of the model and its parts in a copy, by identity."""
    pairs = [*zip(model.modules(), module.modules(), strict=True), *zip(model.parameters(), module.parameters(), strict=True)]
    return {id(one): other for one, other in pairs}


@contextlib.contextmanager
def _ran(module: nn.Module, name: str) -> Iterator[None]:
    """VxpError on exit where no part of this model ran: the object then asked another one."""
    seen: list[nn.Module] = []
    handles = [part.register_forward_pre_hook(lambda part, arguments: seen.append(part)) for part in module.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise VxpError(f"explainer {name} asked another model than the one it was to explain: make it from the module itself, "
                       "not from a function around it, or pass a callable (model, batch) -> maps that makes it anew")


def _grad_cam(tool: Any, model: nn.Module) -> Asked:

    def explain(module: nn.Module, batch: Batch) -> object:
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        twin = _grad_cam_of(tool, model, module)
        try:
            return twin(input_tensor=batch.inputs.detach().clone(),
                        targets=[ClassifierOutputTarget(target) for target in batch.targets.tolist()])
        finally:
            twin.activations_and_grads.release()

    return explain


def _grad_cam_of(tool: Any, model: nn.Module, module: nn.Module) -> Any:
    """The object with hooks of its own on this model."""
    if tool.model is not model:
        raise VxpError(f"explainer {type(tool).__name__} was made for another model: make it from the module that is scored, "
                       f"{type(tool).__name__}(model, target_layers)")
    parts = _counterparts(model, module)
    twin = copy.copy(tool)
    twin.model, twin.target_layers = module, [parts[id(layer)] for layer in tool.target_layers]
    twin.activations_and_grads = type(tool.activations_and_grads)(
        twin.model, twin.target_layers, tool.reshape_transform, tool.activations_and_grads.detach)
    return twin


def _of_arrays(function: Any) -> Asked:
    """A function (model, inputs, targets) of arrays of NumPy."""
    return lambda module, batch: function(model=module, inputs=batch.inputs.detach().cpu().numpy(),
                                          targets=batch.targets.cpu().numpy())
