"""Layer-wise relevance propagation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from vxp.core import Batch, VxpError, explainer
from vxp.models import evaluating

from vxp_explainers._common import check_at_least, check_one_of, leaf

COMPOSITES = ("epsilon-plus-flat", "epsilon-plus", "epsilon-alpha2-beta1-flat", "epsilon-alpha2-beta1", "epsilon-gamma-box")
GAMMA = 0.25
STABILISER = 1e-6
LINEAR = (_ConvNd, nn.Linear)

SUMS = {"add", "add_", "__add__", "__radd__", "__iadd__"}
AVERAGES = {"mean", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
            "adaptive_avg_pool3d"}
PASSED = {"relu", "relu_", "relu6", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "elu", "elu_", "celu", "selu", "gelu",
          "silu", "hardswish", "softplus", "tanh", "mish", "batch_norm"}
"""What is applied value by value: relevance goes through as it is. A batch normalisation is left here where it could not be
merged into a layer."""
IN_PLACE = {"add_", "__iadd__", "relu_", "hardtanh_", "leaky_relu_", "elu_"}
MOVED = {"flatten", "view", "reshape", "permute", "transpose", "contiguous", "squeeze", "unsqueeze", "unflatten", "cat",
         "concat", "chunk", "split", "unbind", "__getitem__", "dropout", "alpha_dropout", "pad", "clone", "to", "float",
         "double", "channel_shuffle", "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d", "narrow", "stack"}
"""What only moves or selects values: its gradient is its rule."""


@explainer("lrp", signed=True, resample="none", needs=("gradients",), passes=3, family="gradient",
           source="Bach et al. 2015; composites of Montavon et al. 2019 (zennit)")
def lrp(model: nn.Module, batch: Batch, *, composite: str = "epsilon-plus-flat", epsilon: float = 1e-6) -> Tensor:
    """The target's logit handed down layer by layer: a layer's output relevance is shared among its inputs by what each
    added to it, so that (biases aside) every layer's relevance sums to the logit.

    composite says by which rule: in fully connected layers always epsilon, in convolutions z-plus (`plus`), alpha 2 and
    beta 1, or gamma (1/4), and in the first layer that runs flat or box where named. Sums and average pools share in
    proportion; activations, and what only moves values, pass relevance through; max pools give it to the maximum. A batch
    normalisation is merged into the layer whose output it reads, found in one more forward pass, and is passed through
    where there is none. Needs zennit for the rules of layers and the merging. Returns [B, H, W] float32, summed over
    channels. Raises VxpError where zennit is not installed, for an unknown composite, a negative epsilon, a convolution or
    linear layer that runs twice in a forward, and an operation without a rule (products, attention, layer normalisation).

    Zennit finds activations, sums and pools by their modules, and the first layer by the order of definition. Here all of
    them are found as they run, so that modules used several times, residual sums written as `+` and pools written as
    functions get their rule as well.
    """
    check_one_of("lrp", "composite", composite, COMPOSITES)
    check_at_least("lrp", 0, epsilon=epsilon)
    if find_spec("zennit") is None:
        raise VxpError("explainer 'lrp' needs zennit: pip install 'vxp[lrp]'")
    with evaluating(model):
        order = _traced(model, batch)
        inputs = leaf(batch.inputs)
        with torch.enable_grad(), _ruled(model, order, composite, epsilon, batch):
            logits = _forward(model, inputs)
            start = torch.zeros_like(logits).scatter(1, batch.targets[:, None], 1.0) * logits.detach()
            (relevance,) = torch.autograd.grad(logits, inputs, start)
    return relevance.sum(1).float()


# ------------------------------------------------------------------------------------------------- rules of layers


@dataclass(frozen=True)
class _Order:
    """The linear layers in the order in which they ran, and (layer, batch normalisation) that follow each other."""

    linear: list[str]
    merged: list[tuple[str, str]]


@torch.no_grad()
def _traced(model: nn.Module, batch: Batch) -> _Order:
    """What runs in a forward pass. VxpError for a linear layer that runs twice, whose rule would take one input for both."""
    runs: list[str] = []
    merged: list[tuple[str, str]] = []
    last: tuple[str, object] = ("", None)

    def seen(name: str, module: nn.Module, arguments: tuple[Any, ...], output: object) -> None:
        nonlocal last
        runs.append(name)
        if isinstance(module, LINEAR):
            last = name, output
        elif arguments[0] is last[1] and module.affine and module.track_running_stats:
            merged.append((last[0], name))

    watched = {name: module for name, module in model.named_modules() if isinstance(module, (*LINEAR, _BatchNorm))}
    handles = [module.register_forward_hook(lambda m, a, out, name=name: seen(name, m, a, out))
               for name, module in watched.items()]
    try:
        model(batch.inputs.detach())
    finally:
        for handle in handles:
            handle.remove()
    linear = [name for name in runs if isinstance(watched[name], LINEAR)]
    twice = [name for name, times in Counter(linear).items() if times > 1]
    if twice:
        raise VxpError(f"explainer 'lrp': layer {twice[0]!r} runs several times in a forward pass, expected once: give every "
                       "use a module of its own")
    if not linear:
        raise VxpError("explainer 'lrp' found no convolution or linear layer in the model, expected at least one")
    return _Order(linear, merged)


@contextmanager
def _ruled(model: nn.Module, order: _Order, composite: str, epsilon: float, batch: Batch) -> Iterator[None]:
    """The model with zennit's rules at its linear layers and without its merged batch normalisations; as it was after."""
    from zennit.canonizers import NamedMergeBatchNorm
    from zennit.composites import NameMapComposite
    from zennit.rules import AlphaBeta, Epsilon, Flat, Gamma, ZBox, ZPlus

    modules = dict(model.named_modules())
    convolution = (Gamma(gamma=GAMMA) if "gamma" in composite else
                   AlphaBeta(alpha=2.0, beta=1.0) if "alpha2" in composite else ZPlus())
    rules: dict[str, Any] = {name: convolution if isinstance(modules[name], _ConvNd) else Epsilon(epsilon=epsilon)
                             for name in order.linear}
    if composite.endswith("flat"):
        rules[order.linear[0]] = Flat()
    elif composite.endswith("box"):
        low, high = (batch.normalization.to_inputs(torch.full_like(batch.inputs[:1], edge)) for edge in (0.0, 1.0))
        rules[order.linear[0]] = ZBox(low=low, high=high)
    norms = [modules[norm] for _, norm in order.merged]
    before = [norm.eps for norm in norms]
    named = NameMapComposite([([name], rule) for name, rule in rules.items()],
                             canonizers=[NamedMergeBatchNorm([([layer], norm) for layer, norm in order.merged])])
    try:
        with named.context(model):
            for norm in norms:
                norm.eps = 0.0  # once merged it is the identity, but for this
            yield
    finally:
        for norm, eps in zip(norms, before, strict=True):
            norm.eps = eps


# ---------------------------------------------------------------------------------------- rules of what else there is


def _forward(model: nn.Module, inputs: Tensor) -> Tensor:
    """The logits, with the rule of its kind for whatever runs outside the linear layers; VxpError where it has none."""
    rules = _Rules()
    handles = []
    try:
        for module in model.modules():
            if isinstance(module, LINEAR):
                # around the hooks of the layer's own rule
                handles.append(module.register_forward_pre_hook(rules.enter, prepend=True))
                handles.append(module.register_forward_hook(rules.leave))
        with rules:
            logits: Tensor = model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return logits


class _Rules(TorchFunctionMode):
    """Sees every function of torch that runs while it is active; `inside` counts the linear layers that it runs in."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0

    def enter(self, *told: object) -> None:
        self.inside += 1

    def leave(self, *told: object) -> None:
        self.inside -= 1

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None,
    ) -> Any:
        named, name = named or {}, getattr(function, "__name__", "")
        flows = [a for a in arguments if _flows(a)]
        if self.inside or not (flows or any(_flows(a) for a in named.values())):
            return function(*arguments, **named)
        if name in SUMS and len(flows) == 2:
            return _Shared.apply(partial(torch.add, **named), name in IN_PLACE, *flows)
        if name in SUMS:
            return function(*arguments, **named)  # a constant takes no relevance
        if name in AVERAGES:
            return _Shared.apply(lambda x: function(x, *arguments[1:], **named), False, arguments[0])
        if name in PASSED:
            # of a copy: what works in place by a flag hands its result on as well
            return _Passed.apply(lambda x: function(x.clone(), *arguments[1:], **named), name in IN_PLACE, arguments[0])
        output = function(*arguments, **named)
        if name not in MOVED and isinstance(output, Tensor) and output.grad_fn is not None:
            raise VxpError(f"explainer 'lrp' has no rule for {name.strip('_') or function!r}, which the model runs outside its "
                           "linear layers: use another explainer (chefer-lrp for transformers)")
        return output


def _flows(value: object) -> bool:
    """Whether relevance may flow to it: it depends on the inputs, or is a list of such."""
    if isinstance(value, list | tuple):
        return any(_flows(v) for v in value)
    return isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter)


class _Shared(torch.autograd.Function):
    """A function of tensors whose relevance R is shared by R_i = x_i * d f/d x_i * R/f."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], in_place: bool, *inputs: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*(x.clone() if in_place else x for x in inputs))
        return _written(ctx, function(*inputs), in_place, inputs[0])

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> Any:
        inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
        with torch.enable_grad():
            output = ctx.function(*inputs)
        sign = torch.where(output < 0, -1.0, 1.0)
        gradients = torch.autograd.grad(output, inputs, relevance[0] / (output.detach() + STABILISER * sign))
        return None, None, *(x.detach() * gradient for x, gradient in zip(inputs, gradients, strict=True))


class _Passed(torch.autograd.Function):
    """A function whose relevance is that of its input."""

    @staticmethod
    def forward(ctx: Any, function: Callable[[Tensor], Tensor], in_place: bool, value: Tensor) -> Tensor:
        return _written(ctx, function(value), in_place, value)

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> Any:
        return None, None, relevance[0]


def _written(ctx: Any, output: Tensor, in_place: bool, into: Tensor) -> Tensor:
    """The output, where it was to be: in a tensor of its own, or in the input."""
    if not in_place:
        return output
    ctx.mark_dirty(into)
    return into.copy_(output)
