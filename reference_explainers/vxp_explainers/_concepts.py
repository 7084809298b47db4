"""Concept activation vectors: what a layer says of the examples of concepts, and the directions that tell them apart.

What follows from a model and its examples alone is made once and kept for the last few of them, so that the next batch of a run
does not make it anew.
"""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from vxp.core import Bank, Batch, VxpError
from vxp.kinds import KindId
from vxp.models import evaluating
from vxp.random import key, uniforms

from vxp_explainers._common import cam_layer, check_at_least, check_one_of, gridded, rows, unused

KINDS: tuple[KindId, ...] = ("concepts",)
POOLS = ("none", "mean")
PENALTY = 1.0
"""Of the ridge regression, in units of the mean squared length of an example."""
FOLDS = 5
KEPT = 4
"""Models and banks that something is kept of."""

Made = TypeVar("Made")
Read = Callable[[Tensor, Tensor], Tensor]
"""A number per row of logits [N, C] and classes int64 [N]."""


# ----------------------------------------------------------------------------------------------------------- the examples


def bank_of(name: str, batch: Batch) -> Bank:
    """The examples of the batch's concepts. VxpError where it has none."""
    if batch.bank is None:
        raise VxpError(f"explainer {name!r} needs examples of concepts, and these items have none: give bank= "
                       "(--concepts DIR), or take a task that has concepts")
    return batch.bank


def checked(name: str, batch: Batch, pool: str, **positive: float) -> Bank:
    """The bank, where the parameters make sense; VxpError where they do not."""
    check_one_of(name, "pool", pool, POOLS)
    check_at_least(name, 0, **positive)
    return bank_of(name, batch)


def of_images(batch: Batch, images: Tensor, targets: Tensor | None = None) -> Batch:
    """A batch of other inputs [N, C, *space], with nothing known of them."""
    chosen = torch.zeros(len(images), dtype=torch.int64, device=images.device) if targets is None else targets
    return Batch(tuple(str(i) for i in range(len(images))), images, chosen, batch.normalization, batch.seed)


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Logits [N, C] float64 of inputs, without gradients."""
    with torch.no_grad():
        return torch.cat([model(images[part]).double() for part in rows(len(images), images.shape[2:])])


def centred(logits: Tensor, targets: Tensor) -> Tensor:
    """The logit of each row's class less the mean over the classes, which is all that a softmax sees."""
    return logits.gather(1, targets[:, None])[:, 0] - logits.mean(1)


# ------------------------------------------------------------------------------------------------------------ at the layer


def at_layer(model: nn.Module, batch: Batch, layer: str | None, pool: str, read: Read | None = None) -> tuple[Tensor, Tensor]:
    """What the layer says of every input, and the gradient of `read` by it, [N, D] each, float32: all positions one after
    another, or their mean (for the gradient, whose sum is the same). Without `read` the gradient is empty.

    VxpError for a layer that is unknown, not used or without spatial output.
    """
    name, module = cam_layer(model, batch, layer)
    said, gradients = [], []
    for part in rows(len(batch), batch.space):
        some = replace(of_images(batch, batch.inputs[part]), targets=batch.targets[part])
        activation, gradient = _passed(model, name, module, some, read)
        said.append(_flat(activation, pool, torch.mean))
        gradients.append(_flat(gradient, pool, torch.sum))
    return torch.cat(said), torch.cat(gradients)


def _flat(values: Tensor, pool: str, reduce: Callable[..., Tensor]) -> Tensor:
    return (reduce(values.flatten(2), 2) if pool == "mean" else values.flatten(1)).float()


def _passed(model: nn.Module, name: str, module: nn.Module, batch: Batch, read: Read | None) -> tuple[Tensor, Tensor]:
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        gridded(model, name, output, batch)
        # cut off from what comes before, and handed on as a copy: later modules may work in place
        outputs.append(output.detach().requires_grad_(read is not None))
        return outputs[-1].clone()

    handle = module.register_forward_hook(keep)
    try:
        with torch.enable_grad() if read is not None else torch.no_grad():
            logits = model(batch.inputs.detach())
            score = None if read is None else read(logits.double(), batch.targets).sum()
    finally:
        handle.remove()
    if not outputs:
        raise unused(name)
    activation = gridded(model, name, outputs[-1].detach(), batch)
    if score is None:
        return activation, activation[:0]
    (gradient,) = torch.autograd.grad(score, outputs[-1])
    return activation, gridded(model, name, gradient, batch)


def of_bank(model: nn.Module, batch: Batch, bank: Bank, layer: str | None, pool: str) -> tuple[Tensor, Tensor]:
    """What the layer says of the examples with the concept and without it, [K, n, D] float32 each."""
    on, off = (at_layer(model, of_images(batch, images.flatten(0, 1)), layer, pool)[0].unflatten(0, images.shape[:2])
               for images in (bank.on, bank.off))
    return on, off


# -------------------------------------------------------------------------------------------------------------- directions


def ridge(examples: Tensor, labels: Tensor, penalty: float) -> Tensor:
    """The directions [D, P] float64 of ridge regressions of labels [N, P], of +1 and -1, on examples [N, D] less their mean:
    in closed form, so that it depends on nothing but the examples."""
    values = examples.double()
    values = values - values.mean(0)
    products = values @ values.T
    size = products.diagonal().mean()
    if not size > 0:  # the layer says one thing of all of them
        return values.new_zeros(values.shape[1], labels.shape[1])
    shrunk = products + penalty * size * torch.eye(len(values), dtype=values.dtype, device=values.device)
    found: Tensor = values.T @ torch.linalg.solve(shrunk, labels.to(values))
    return found


def unit(directions: Tensor) -> Tensor:
    """Columns of length 1; those of length 0 as they are."""
    length = directions.norm(dim=0)
    return directions / torch.where(length > 0, length, torch.ones_like(length))


def labels(on: int, off: int, device: torch.device) -> Tensor:
    """+1 of examples that show a concept, then -1 of those that do not, float64 [on + off]."""
    return torch.cat([torch.ones(on, dtype=torch.float64), -torch.ones(off, dtype=torch.float64)]).to(device)


def permutation(seed: int, name: str, purpose: str, draw: int, n: int) -> Tensor:
    """A keyed order of n things, int64 [n]."""
    return uniforms(key(seed, name, purpose, "order"), draw, n)[0].argsort(stable=True)


def cross_validated(on: Tensor, off: Tensor, penalty: float) -> float:
    """The share of examples [n, D] of both kinds that a ridge regression tells right that was fitted without them: FOLDS folds
    by place, in which examples of one place are together. A value of 0 is right by half."""
    n = len(on)
    folds = min(FOLDS, n)
    of = torch.arange(n, device=on.device) % folds
    right = 0.0
    for fold in range(folds):
        left, held = of != fold, of == fold
        fitted = torch.cat([on[left], off[left]])
        direction = ridge(fitted, labels(int(left.sum()), int(left.sum()), on.device)[:, None], penalty)[:, 0]
        middle = fitted.double().mean(0) @ direction
        for examples, side in ((on[held], 1.0), (off[held], -1.0)):
            said = (examples.double() @ direction - middle) * side
            right += float((said > 0).double().sum() + (said == 0).double().sum() / 2)
    return right / (2 * n)


# ------------------------------------------------------------------------------------------------------------ what is kept


@dataclass(frozen=True, eq=False)
class _Kept:
    """Something made of a model and a bank, while the model is there and as it was."""

    model: weakref.ref[nn.Module]
    facts: tuple[object, ...]
    made: Any


_KEPT: list[_Kept] = []


def once(model: nn.Module, batch: Batch, bank: Bank, facts: Sequence[object], make: Callable[[], Made]) -> Made:
    """What `make` gives for this model, these examples and facts: made once for the last few of them."""
    found = (bank.names, bank.paired, _content(bank.on), _content(bank.off), batch.seed, *_weights(model), *facts)
    for one in _KEPT:
        if one.model() is model and one.facts == found:
            known: Made = one.made
            return known
    with evaluating(model):
        made = make()
    _KEPT[:] = [_Kept(weakref.ref(model), found, made), *(one for one in _KEPT if one.model() is not None)][:KEPT]
    return made


def _weights(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """Where the model's numbers lie and how often they were written."""
    return tuple((values.data_ptr(), values._version) for values in (*model.parameters(), *model.buffers()))


def _content(values: Tensor) -> tuple[object, ...]:
    return str(values.device), tuple(values.shape), zlib.crc32(values.detach().cpu().contiguous().numpy().data)


__all__ = ["KINDS", "PENALTY", "at_layer", "bank_of", "centred", "checked", "cross_validated", "labels", "logits_of", "of_bank",
           "of_images", "once", "permutation", "ridge", "unit"]
